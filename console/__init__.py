"""The user's side of every script: arguments, messages, errors, signals, and how TensorFlow is imported."""
