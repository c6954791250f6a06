"""Errors that khmer_fast raises for input it cannot use."""


class KhmerFastError(Exception):
    """A message for the user: what was expected, what came, and what to do."""
