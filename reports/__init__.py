"""Look at finished runs: their curves, what looks wrong with them, plots and web pages."""
