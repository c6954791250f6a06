"""The model in plain PyTorch: the specification of every kernel. Imports torch and nothing else."""
