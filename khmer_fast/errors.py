"""Errors that khmer_fast raises for input it cannot use."""


class KhmerFastError(Exception):
    """A message for the user: what was expected, what came, and what to do."""


class ImageError(KhmerFastError):
    """A file or object that cannot be read as an image, or cannot be read as a line."""


class WeightsError(KhmerFastError):
    """Weights that are missing, damaged, foreign or made for other code."""


class OptionError(KhmerFastError, ValueError):
    """An argument outside of what it may be, or that this build or machine cannot serve."""


class FileError(KhmerFastError):
    """A file of pages that cannot be opened, or a page of it that cannot be shown."""


class FormatError(KhmerFastError):
    """A document that a format cannot hold, or bytes that do not say a document."""
