"""Gymnasium environments: making, checking and stepping them; observations, legal actions, symmetries."""
