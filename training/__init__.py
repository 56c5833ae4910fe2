"""What happens around the training loop: windows, evaluation, models, checkpoints, callbacks, progress."""
