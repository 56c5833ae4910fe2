"""How the replay memory stores transitions (frames) and draws them (samplers)."""
