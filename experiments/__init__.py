"""What makes the figures in the documentation; run as `python -m experiments.NAME`."""
