"""Environments of your own, shown: each in one short file."""
