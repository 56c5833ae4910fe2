"""Files: atomic writes, `.model` files, checkpoints and run folders, and what in them may be trusted."""
