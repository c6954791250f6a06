"""Printed lines to running text: where a paragraph goes on, where a line was ended on purpose."""

from __future__ import annotations

import re
from collections.abc import Sequence

from khmer_fast.document import Line, Region
from khmer_fast.formats.words import line_text

_MARKER = re.compile(
    r"(?P<bullet>[-–—•●○◦▪■□*])\s+"
    r"|(?P<number>[0-9]{1,3}[.)])\s+"
    r"|[(]?(?:[០-៩]{1,3}|[ក-អ]|[a-zA-Z])[.)\-–៖]\s*"
)
_KHMER_LETTER = re.compile("[\u1780-\u17d3\u17dd]")


def joined(lines: Sequence[Line]) -> str:
    """Lines as one text. Khmer letters meet without a space (words have none between them); a
    Latin word that was hyphenated at the end of a line is put together."""
    text = ""
    for line in lines:
        following = line_text(line)
        if not text or not following:
            text += following
        elif _KHMER_LETTER.match(text[-1]) and _KHMER_LETTER.match(following):
            text += following
        elif re.search("[a-z]-$", text) and re.match("[a-z]", following):
            text = text[:-1] + following
        else:
            text += " " + following
    return text


def paragraph(region: Region) -> list[str]:
    """A region's text: one string for each stretch between line ends that were meant.

    A line ends on purpose if it leaves more than a quarter of the region's width free at the
    right, more than three times its height: the next line's first word would have fitted.
    """
    stretches: list[list[Line]] = [[]]
    left, _, right, _ = region.box
    for line in region.lines:
        if not line_text(line):
            continue
        stretches[-1].append(line)
        free = right - line.box[2]
        if free > (right - left) / 4 and free > 3 * (line.box[3] - line.box[1]):
            stretches.append([])
    return [joined(lines) for lines in stretches if lines]


def separate_lines(region: Region) -> list[str]:
    """A heading's or letterhead's text: each printed line stays one."""
    return [text for line in region.lines if (text := line_text(line))]


def items(region: Region) -> list[str]:
    """A list's items: one begins at each line that begins with a bullet, a number or a letter."""
    groups: list[list[Line]] = []
    for line in region.lines:
        text = line_text(line)
        if text and (not groups or _MARKER.match(text)):
            groups.append([line])
        elif text:
            groups[-1].append(line)
    return [joined(group) for group in groups]


def split_marker(item: str) -> tuple[str, str]:
    """A list item's bullet or number ("•", "1.") and the rest; other markers stay in the text."""
    match = _MARKER.match(item)
    marker = match and (match["bullet"] or match["number"])
    return (marker, item[match.end() :]) if match and marker else ("", item)
