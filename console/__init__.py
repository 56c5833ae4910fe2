"""The user's side of every script: arguments, messages, errors, signals, and how TensorFlow is imported."""

from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent  # its folder
