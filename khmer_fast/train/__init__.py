"""The trainer: loop, loss, samples, checkpoints, history, health."""
