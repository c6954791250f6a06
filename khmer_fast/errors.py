"""Errors that khmer_fast raises for input it cannot use, and names of strangers in their words."""


class KhmerFastError(Exception):
    """A message for the user: what was expected, what came, and what to do."""


class FileError(KhmerFastError):
    """A file of pages that cannot be opened, or a page of it that cannot be shown."""


class PasswordError(FileError):
    """A PDF that is encrypted, and the password that was given (or none) does not open it."""


class ImageError(FileError):
    """A file or object that cannot be read as an image, or cannot be read as a line."""


class WeightsError(KhmerFastError):
    """Weights that are missing, damaged, foreign or made for other code."""


class OptionError(KhmerFastError, ValueError):
    """An argument outside of what it may be, or that this build or machine cannot serve."""


class BulkError(KhmerFastError):
    """Sources, an output folder or results of a bulk run that cannot be used."""


class FormatError(KhmerFastError):
    """A document that a format cannot hold, or bytes that do not say a document."""


def printable(text: object, most: int | None = None) -> str:
    """A stranger's words (a file's name, a label, metadata) for a terminal, a log or JSON.

    What would move the cursor, start a line, turn the direction of writing or break UTF-8 stands
    as an escape: `\\x1b`, `\\n`, `\\u202e`, and `\\xff` for a byte of a name that is not UTF-8.
    With `most`, what is longer is cut, and its end says so.
    """
    words = str(text)
    cut = most is not None and len(words) > most
    shown = "".join(c if c.isprintable() else _escape(c) for c in words[:most])
    return f"{shown}... ({len(words):,} characters)" if cut else shown


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8, as os.fsdecode gives it
        return f"\\x{code - 0xDC00:02x}"
    return ascii(character)[1:-1]
