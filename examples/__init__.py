"""Examples of your own code: environments, opponents and networks, each in one short file."""
