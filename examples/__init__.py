"""Examples of your own code: environments and networks, each in one short file."""
