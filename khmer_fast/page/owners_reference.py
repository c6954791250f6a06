"""What csrc/cpu/page_owners.cpp computes, in plain numpy: exactly the same. Letters of shapes are
those of pixels_reference.py."""

from __future__ import annotations

import numpy as np

from khmer_fast.page.pixels import FRAME, NOBODY, RULE, Columns
from khmer_fast.page.pixels_reference import label

SURE_CORE = 0.25  # letter heights squared of ink in a line's band that make a piece the line's
SLACK = 0.5  # letter heights that ink may overshoot the distances of its line
MARK_SLACK = 0.75  # the same for marks, which stand over or under a band
BESIDE = 0.8  # letter heights that ink may stand beside the end of its line
END_BESIDE = 1.3  # the same for signs before and after it,
END_UP, END_DOWN = 0.6, 1.1  # so far above and below its middle,
END_WIDE = 1.0  # so wide,
FIGURE = 6.0  # and before a line only if it is no longer
OFFSET_WEIGHT = 0.5  # of the network's own opinion, against gap and overshoot
MARK_REACH = 0.5  # letter heights to both sides of a mark in which its letter begins
WIDE_MARK = 4.0  # letter heights: what is wider and outside of the band is a rule
THIN = 0.5  # letter heights: what is narrower and overshoots its line is a bar
LONG = 2.0  # times a line's length: what is longer and touches that line alone is a rule
VOTED = 0.15  # letter heights squared of ink that belong to a line by the network's opinion alone
SPECK = 0.012  # letter heights squared: what is smaller and outside of the band is dirt
MOST_SHARED = 200  # lines that one piece may touch: else it is a frame


def assign_ink(
    ink: np.ndarray,  # uint8 [Y, X]
    labels: np.ndarray,  # int32 [Y, X]
    boxes: np.ndarray,  # int32 [C, 4]
    areas: np.ndarray,  # int32 [C]
    offset: np.ndarray,  # float32 [Y/4, X/4], px down to the middle of an ink pixel's own band
    columns: Columns,
) -> np.ndarray:  # uint16 [Y, X]: 0 paper, line + 1, NOBODY or FRAME
    """Gives every piece of ink to a line or to nobody, and cuts those that touch two lines."""
    count = len(areas)
    y, x = np.nonzero(labels)
    piece = labels[y, x] - 1
    # 1. where the network thinks that each piece's line is: its ink's mean middle
    opinion = np.bincount(
        piece, (y + 0.5) + offset[y // 4, x // 4].astype(np.float64), minlength=count
    ) / np.maximum(areas, 1)
    # 2. ink of each piece in each line's band, and the columns of the band that have any
    core: list[list[tuple[int, int]]] = [[] for _ in range(count)]
    lettered = np.zeros(len(columns.middle), bool)
    for line in range(len(columns.left)):
        from_y, to_y = core_rows(columns, line, np.arange(*columns.inner[line]), ink.shape[0])
        inside = np.zeros(count, np.int64)
        for column, top, bottom in zip(range(*columns.inner[line]), from_y, to_y, strict=True):
            found = labels[top:bottom, column]
            np.add.at(inside, found[found > 0] - 1, 1)
            lettered[columns.at(line, column)] = (found > 0).any()
        for c in np.flatnonzero(inside).tolist():
            core[c].append((line, int(inside[c])))
    # 3. each piece to a line, to nobody, or cut
    owners = np.zeros(ink.shape, np.uint16)
    for c in range(count):
        left, top, right, bottom = (int(v) for v in boxes[c])
        mine = labels[top:bottom, left:right] == c + 1
        place = owners[top:bottom, left:right]
        place[mine] = NOBODY
        if ink[top:bottom, left:right][mine][0] == RULE:
            place[mine] = FRAME
            continue
        sure = [line for line, n in core[c] if n >= SURE_CORE * float(columns.letter[line]) ** 2]
        if not sure and core[c]:
            sure = [max(core[c], key=lambda entry: (entry[1], -entry[0]))[0]]
        cored = bool(sure)
        if not sure:
            nearest = nearest_line(boxes[c], int(areas[c]), opinion[c], lettered, columns)
            if nearest is None:
                continue
            sure = [nearest]
        if len(sure) == 1:
            sure = with_voted(mine, left, top, sure[0], offset, columns)
        if len(sure) > 1 or (cored and overshoots(boxes[c], columns, sure[0])):
            if len(sure) > MOST_SHARED or (len(sure) == 1 and is_rule(boxes[c], columns, sure[0])):
                place[mine] = FRAME
                continue
            place[mine] = cut_piece(mine, left, top, sure, offset, columns)[mine]
        else:
            place[mine] = sure[0] + 1
    # 4. what stands beyond a line's columns is not the line's
    for line in range(len(columns.left)):
        first, end = span(columns, line)
        for beyond in (owners[:, :first], owners[:, end:]):
            beyond[beyond == line + 1] = NOBODY
    return owners


def core_rows(columns: Columns, line: int, x: np.ndarray, Y: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows from, to (exclusive) of a line's band at page columns x, within the page."""
    middle = columns.middle[columns.at(line, x)].astype(np.float64)
    half = float(columns.letter[line]) / 2
    return (
        np.clip(np.floor(middle - half + 0.5).astype(np.int64), 0, Y),
        np.clip(np.floor(middle + half + 0.5).astype(np.int64), 0, Y),
    )


def nearest_line(
    box: np.ndarray,  # int32 [4]
    area: int,
    opinion: float,
    lettered: np.ndarray,  # bool [M], whether a line's band has ink there
    columns: Columns,
) -> int | None:
    """The line whose band is nearest to a piece that touches none, or None if none is near. What
    stands over or under a band is a mark of letters that stand there, too."""
    left, top, right, bottom = (int(v) for v in box)
    best, cheapest = None, np.inf
    for line in range(len(columns.left)):
        letter = float(columns.letter[line])
        from_x, to_x = (int(v) for v in columns.inner[line])
        beside = max(from_x - right, left - to_x, 0)
        if beside > END_BESIDE * letter or area < SPECK * letter * letter:
            continue
        at = columns.at(line, (left + right) // 2)
        middle, above, below = (
            float(a[at]) for a in (columns.middle, columns.above, columns.below)
        )
        up, down = top - middle, bottom - middle
        end_mark = is_end_mark(box, columns, line, up, down)
        if beside > BESIDE * letter and not end_mark:
            continue
        gap = max(up - letter / 2, -letter / 2 - down, 0.0)
        overshoot = max(-above - up, 0.0) + max(down - below, 0.0)
        if overshoot > MARK_SLACK * letter or (gap > 0 and right - left > WIDE_MARK * letter):
            continue
        reach = int(MARK_REACH * letter)
        first, last = (columns.at(line, x) for x in (left - reach, right - 1 + reach))
        if gap > 0 and not end_mark and not lettered[first : last + 1].any():
            continue
        cost = gap + overshoot + beside + OFFSET_WEIGHT * abs(opinion - middle)
        cost /= np.sqrt(letter)
        if cost < cheapest:
            best, cheapest = line, cost
    return best


def is_end_mark(box: np.ndarray, columns: Columns, line: int, up: float, down: float) -> bool:
    """Whether a piece beside a line is a sign before or after it: a comma, the minus of a figure.
    What stands before a longer line is a list's mark."""
    letter = float(columns.letter[line])
    from_x, to_x = (int(v) for v in columns.inner[line])
    level = up >= -END_UP * letter and down <= END_DOWN * letter
    after, before = int(box[0]) >= to_x, int(box[2]) <= from_x
    figure = to_x - from_x <= FIGURE * letter
    narrow = int(box[2]) - int(box[0]) <= END_WIDE * letter
    return level and narrow and (after or before and figure)


def overshoots(box: np.ndarray, columns: Columns, line: int) -> bool:
    """Whether a piece reaches further up, down or along than its line's ink does."""
    left, top, right, bottom = (int(v) for v in box)
    width = int(columns.begin[line + 1] - columns.begin[line])
    if left < columns.left[line] or right > columns.left[line] + width:
        return True
    at = columns.at(line, np.arange(left, right))
    middle = columns.middle[at].astype(np.float64)
    slack = SLACK * float(columns.letter[line])
    return bool(
        top < (middle - columns.above[at]).min() - slack
        or bottom > (middle + columns.below[at]).max() + slack
    )


def is_rule(box: np.ndarray, columns: Columns, line: int) -> bool:
    """Whether a piece that overshoots its only line is a bar beside it or a rule through it."""
    width = int(box[2] - box[0])
    from_x, to_x = (int(v) for v in columns.inner[line])
    return width <= THIN * float(columns.letter[line]) or width >= LONG * (to_x - from_x)


def opinions(top: int, left: int, shape: tuple[int, int], offset: np.ndarray) -> np.ndarray:
    """Middle of its own line that the network sees from each pixel of a box: float64 [y, x]."""
    y, x = top + np.arange(shape[0])[:, None], left + np.arange(shape[1])
    return (y + 0.5) + offset[y // 4, x // 4].astype(np.float64)


def with_voted(
    mine: np.ndarray,  # bool [y, x] of the piece's box
    left: int,
    top: int,
    line: int,
    offset: np.ndarray,
    columns: Columns,
) -> list[int]:
    """The line that a piece seems to belong to, and those that part of it belongs to by the
    network's opinion of its pixels; ascending."""
    height, width = mine.shape
    x = np.arange(left, left + width)
    opinion = opinions(top, left, mine.shape, offset)
    own = np.abs(opinion - columns.middle[columns.at(line, x)].astype(np.float64))
    lines = [line]
    for other in range(len(columns.left)):
        letter = float(columns.letter[other])
        first, end = span(columns, other)
        middle = float(columns.middle[columns.at(other, left + width // 2)])
        near = middle - 1.5 * letter <= top + height and middle + 1.5 * letter >= top
        if other == line or not near or left >= end or left + width <= first:
            continue
        distance = np.abs(opinion - columns.middle[columns.at(other, x)].astype(np.float64))
        votes = mine & (distance < letter / 2) & (distance < own) & (x >= first) & (x < end)
        if np.count_nonzero(votes) >= VOTED * (letter * letter):
            lines.append(other)
    return sorted(lines)


def span(columns: Columns, line: int) -> tuple[int, int]:
    """Page columns from, to (exclusive) which a line's columns reach."""
    first = int(columns.left[line])
    return first, first + int(columns.begin[line + 1] - columns.begin[line])


def cut_piece(
    mine: np.ndarray,  # bool [y, x] of the piece's box
    left: int,
    top: int,
    lines: list[int],
    offset: np.ndarray,
    columns: Columns,
) -> np.ndarray:  # uint16 [y, x], owners
    """Each pixel to the line whose distances reach it best; then what was cut off is given back."""
    height, width = mine.shape
    x = np.arange(left, left + width)
    y = np.arange(top, top + height)[:, None] + 0.5
    nearest = np.full(mine.shape, np.inf)
    share = np.full(mine.shape, len(lines) + 1, np.uint8)  # index in lines + 1, then nobody
    anchored_pixel = np.zeros(mine.shape, bool)
    opinion = opinions(top, left, mine.shape, offset)
    for k, line in enumerate(lines):
        at = columns.at(line, x)
        letter = float(columns.letter[line])
        middle, above, below = (
            a[at].astype(np.float64) for a in (columns.middle, columns.above, columns.below)
        )
        u = y - middle
        reach = np.where(u < 0, above, below)
        first, end = span(columns, line)
        allowed = (np.abs(u) <= reach + SLACK * letter) & (x >= first) & (x < end)
        distance = np.abs(u) / reach + OFFSET_WEIGHT * (np.abs(opinion - middle) / letter)
        better = mine & allowed & (distance < nearest)
        nearest[better] = distance[better]
        share[better] = k + 1
    share[~mine] = 0
    # pieces of a share are the line's where they stand in its band, or all in all seem to be its
    for k, line in enumerate(lines):
        from_x, to_x = columns.inner[line]
        from_y, to_y = core_rows(columns, line, x, top + height)
        rows = np.arange(top, top + height)[:, None]
        core = (rows >= from_y) & (rows < to_y) & (x >= from_x) & (x < to_x)
        anchored_pixel |= core & (share == k + 1)
    pieces, boxes, areas = label(share)
    anchored = np.zeros(len(boxes) + 1, bool)
    anchored[pieces[anchored_pixel]] = True
    result = np.zeros(mine.shape, np.uint16)
    for p, box in enumerate(boxes):
        inside = pieces == p + 1
        own = int(share[inside][0])
        if own <= len(lines):
            letter = float(columns.letter[lines[own - 1]])
            part = np.cumsum(opinion[inside])[-1] / areas[p]
            centre = (int(box[0]) + int(box[2])) // 2 + left
            away = [abs(part - float(columns.middle[columns.at(line, centre)])) for line in lines]
            others = min([away[k] for k in range(len(lines)) if k != own - 1], default=np.inf)
            if areas[p] >= VOTED * (letter * letter) and away[own - 1] < others / 2:
                anchored[p + 1] = True
    for p, box in enumerate(boxes):
        inside = pieces == p + 1
        own = int(share[inside][0])
        kind = own
        if not anchored[p + 1]:
            contacts = np.zeros(len(lines), np.int64)
            for r, c in zip(*np.nonzero(inside), strict=True):
                near = (slice(max(r - 1, 0), r + 2), slice(max(c - 1, 0), c + 2))
                touched = anchored[pieces[near]] & (share[near] <= len(lines))
                np.add.at(contacts, share[near][touched] - 1, 1)
            best = int(contacts.argmax())
            letter = float(columns.letter[lines[best]])
            small = box[3] - box[1] <= letter and box[2] - box[0] <= 2 * letter
            if contacts[best] > 0 and (own <= len(lines) or small):
                kind = best + 1
        result[inside] = FRAME if kind == len(lines) + 1 else lines[kind - 1] + 1
    return result


def unread_ink(
    owners: np.ndarray,  # uint16 [Y, X]
    ink: np.ndarray,  # uint8 [Y, X]
    labels: np.ndarray,  # int32 [Y, X]
    pieces: int,
) -> np.ndarray:
    """Pixels of each piece that are NOBODY's, and FRAME's, rules aside: int32 [pieces, 2]."""
    counts = [
        np.bincount(labels[(owners == nobodys) & (ink != RULE)], minlength=pieces + 1)[1:]
        for nobodys in (NOBODY, FRAME)
    ]
    return np.stack(counts, 1).astype(np.int32)


def paint_mask(owners: np.ndarray) -> np.ndarray:
    """Where crops are painted over with paper: ink of frames and rules, and paper beside it that
    has no other ink beside it. uint16 [Y, X] -> uint8 [Y, X], 0 or 1."""
    Y, X = owners.shape
    padded = np.pad(owners, 1).astype(np.int64)
    around = np.stack([padded[i : i + Y, j : j + X] for i in range(3) for j in range(3)])
    beside = (around == FRAME).any(0) & ((around == 0) | (around == FRAME)).all(0)
    return ((owners == FRAME) | ((owners == 0) & beside)).astype(np.uint8)


def band_ink(owners: np.ndarray, columns: Columns) -> np.ndarray:
    """Of each line's band: runs of the line's ink along its middle and a quarter of a letter above
    and below it, the most of the three; pixels of its ink; and of other ink. uint16 [Y, X] -> int32
    [L, 3]."""
    counts = np.zeros((len(columns.left), 3), np.int32)
    for line in range(len(columns.left)):
        x = np.arange(*columns.inner[line])
        middle = columns.middle[columns.at(line, x)].astype(np.float64)
        for part in (-0.25, 0.0, 0.25):
            y = np.floor(middle + part * float(columns.letter[line])).astype(int)
            inked = (y >= 0) & (y < len(owners))
            inked[inked] = owners[y[inked], x[inked]] == line + 1
            runs = np.count_nonzero(inked[1:] & ~inked[:-1]) + int(inked[:1].sum())
            counts[line, 0] = max(counts[line, 0], runs)
        for column, top, bottom in zip(x, *core_rows(columns, line, x, len(owners)), strict=True):
            ink = owners[top:bottom, column]
            own = np.count_nonzero(ink == line + 1)
            counts[line, 1:] += own, np.count_nonzero(ink) - own
    return counts


def line_extents(
    owners: np.ndarray,  # uint16 [Y, X]
    ink: np.ndarray,  # uint8 [Y, X]
    columns: Columns,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """First and last + 1 row of each line's ink by column, int32 [M] (Y and 0 where there is none),
    and each line's pixels DARKER and LIGHTER than paper, int32 [L, 2]."""
    Y = owners.shape[0]
    top = np.full(len(columns.middle), Y, np.int32)
    bottom = np.zeros(len(columns.middle), np.int32)
    counts = np.zeros((len(columns.left), 2), np.int32)
    for y, x in zip(*np.nonzero((owners > 0) & (owners < FRAME)), strict=True):
        line = int(owners[y, x]) - 1
        at = columns.begin[line] + x - columns.left[line]
        top[at], bottom[at] = min(top[at], y), max(bottom[at], y + 1)
        counts[line, ink[y, x] - 1] += 1
    return top, bottom, counts
