"""Looking at an agent: an episode step by step, its playback, the keys, drawing, and the screens that show it."""
