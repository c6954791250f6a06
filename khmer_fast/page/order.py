"""Reading order and structure from where lines stand: columns, blocks beside each other, tables.

Where lines stand beside each other over a white gutter, what they are decides: columns and blocks
(letterheads, signers, addresses, cards) are read one after the other, rows (tables, names and
prices) across. What has no gutter is one column, which becomes regions (paragraphs.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from khmer_fast.page.articles import article_rows, find_articles
from khmer_fast.page.cards import box_rows, card_rows
from khmer_fast.page.grounds import apart, find_grounds
from khmer_fast.page.gutters import longest_run
from khmer_fast.page.lines import FoundLine
from khmer_fast.page.page_columns import find_page_columns
from khmer_fast.page.paragraphs import Row, rows_of, split_column
from khmer_fast.page.places import LevelPage, Place, level
from khmer_fast.page.plans import RegionPlan
from khmer_fast.page.questions import questions_and_answers
from khmer_fast.page.rules import Rules
from khmer_fast.page.side_by_side import (
    Beside,
    cell_rows,
    is_list,
    is_prose,
    part,
    reading_sequence,
)
from khmer_fast.page.tables import ruled_tables, unruled_table
from khmer_fast.page.white import bands_of, columns_of

MOST_LINES = 1500  # of more, no structure is looked for: they are read from top to bottom
_SECTION = 2.3  # times the white between rows
_PEELED = 8  # rows at a run's top and bottom that may be something else
_SPREAD = 1.2  # times the height: the width of an open book
_FOLD = 5.0  # letter heights of white between the pages of a book
_LONE = 12.0  # letter heights of a page's number at the foot, at most
_FOOT = 0.75  # of the page's height


def arrange(
    lines: Sequence[FoundLine], rules: Rules, page_size: tuple[int, int]
) -> list[RegionPlan]:
    """The regions of a page in reading order; page_size is (width, height) in pixels.

    Each line is in exactly one region, by its index.
    """
    page = level(lines, rules, page_size)
    if len(lines) > MOST_LINES:
        order = sorted(page.lines, key=lambda place: (place.bottom, place.left))
        return [RegionPlan("text", tuple(place.index for place in order))]
    reader = _Reader(page)
    places = list(page.lines)
    grounds = find_grounds(places, page)
    boxed = {place.index for box in apart(grounds, page.letter) for place in box.places}
    for table in ruled_tables(page):
        if sum(index in boxed for index in table.lines) > 0.5 * len(table.lines):
            continue  # cards in rows, each in a frame of its own
        places = reader.put(table.place(reader.next_index), [table.plan()], table.lines, places)
    if len(places) < len(lines):
        grounds = find_grounds(places, page)
    for ground in grounds:
        place = ground.place(reader.next_index)
        inside = {place.index for place in ground.places}
        reader.boxes[place.index] = ground.text_place(place.index)
        places = reader.put(place, reader.plans(ground.places), inside, places)
    sides = [_without_foot(side, page) for side in _pages(places, page)]
    numbered = all(foot for _, foot in sides)  # both pages of a book are, or it is no book's
    plans: list[RegionPlan] = []
    for body, foot in sides:
        plans += reader.plans(body)
        if numbered:
            plans += foot
    return plans if numbered else plans + [plan for _, foot in sides for plan in foot]


def _pages(places: list[Place], page: LevelPage) -> list[list[Place]]:
    """The two pages of an open book, or the page that it is."""
    if page.width < _SPREAD * page.height:
        return [places]
    middle = page.width / 2
    left = [place for place in places if place.middle < middle]
    right = [place for place in places if place.middle >= middle]
    if not (is_prose(_by_bottom(left)) and is_prose(_by_bottom(right))):
        return [places]
    edges = max(place.right for place in left), min(place.left for place in right)
    white = edges[1] - edges[0]
    return [left, right] if white > _FOLD * page.letter else [places]


def _by_bottom(places: list[Place]) -> list[Place]:
    return sorted(places, key=lambda place: place.bottom)


def _without_foot(places: list[Place], page: LevelPage) -> tuple[list[Place], list[RegionPlan]]:
    """The page's places, and its number at the foot as a region if it has one."""
    if len(places) < 2:
        return places, []
    last, other = sorted(places, key=lambda place: -place.bottom)[:2]
    alone = last.top - other.bottom > 2.5 * last.letter
    if alone and last.bottom > _FOOT * page.height and 0 < last.width < _LONE * last.letter:
        if last.index >= 0:
            foot = RegionPlan("footer", (last.index,))
            return [place for place in places if place is not last], [foot]
    return places, []


class _Reader:
    """Cuts a page. What is finished stands in it as one place of a negative index."""

    def __init__(self, page: LevelPage):
        self.page = page
        self.finished: dict[int, list[RegionPlan]] = {}
        self.boxes: dict[int, Place] = {}  # what stands on grounds, among what is finished

    @property
    def next_index(self) -> int:
        """The index of what is finished next."""
        return -1 - len(self.finished)

    def put(
        self, place: Place, plans: list[RegionPlan], lines: Iterable[int], places: Sequence[Place]
    ) -> list[Place]:
        """Places with one for finished plans instead of those of its lines."""
        self.finished[place.index] = plans
        gone = set(lines)
        return [other for other in places if other.index not in gone] + [place]

    def plans(self, places: Sequence[Place]) -> list[RegionPlan]:
        """The regions of places in reading order."""
        return [
            plan
            for column in self.read(places)
            for plan in split_column(column, self.finished, self.page)
        ]

    def read(self, places: Sequence[Place]) -> list[list[Row]]:
        """Columns of rows, one after the other as they are read."""
        if not places:
            return []
        rows = box_rows(places, self.boxes)
        if rows:
            return [column for row in rows for block in row for column in self.read(block)]
        text = [self.boxes.get(place.index, place) for place in places]
        articles = [article for row in article_rows(text, self.page) for article in row]
        if articles:
            blocks = [part for article in articles for part in (article.head, *article.columns)]
            return [column for block in blocks for column in self.read(block)]
        through = find_page_columns(places)
        sections = card_rows(places) if through is None or not through.lists else []
        if len(sections) > 1:
            return [column for section in sections for column in self.read(section)]
        if through is not None:
            read_one = self._list if through.lists else self.read
            middle = [column for side in through.columns for column in read_one(side)]
            return [*self.read(through.above), *middle, *self.read(through.below)]
        places = sorted(places, key=lambda place: (place.bottom, place.left))
        run = longest_run(places, self.page)
        if run is None:
            return [rows_of(places)]
        above, beside, below = _most_columns(run.places)
        inside = {place.index for place in run.places}
        first = next(i for i, place in enumerate(places) if place.index in inside)
        before = [*places[:first], *above]
        after = [place for place in places[first:] if place.index not in inside]
        columns = columns_of(beside)
        articles = find_articles(before, columns)
        heads = {place.index for article in articles for place in article.head}
        before = [place for place in before if place.index not in heads]
        if articles:
            blocks = [part for article in articles for part in (article.head, *article.columns)]
            read = [column for block in blocks for column in self.read(block)]
        elif asked := questions_and_answers(columns):
            pairs = [(rows_of(q), _rows_across(columns_of(a), self.page)) for q, a in asked]
            read = [[row for pair in pairs for part in pair for row in part]]
        else:
            read = self._beside(columns, before[-1] if before else None)
        return [*self.read(before), *read, *self.read(below), *self.read(after)]

    def _beside(self, columns: Sequence[Sequence[Place]], above: Place | None) -> list[list[Row]]:
        """Columns of a run in reading order; rows stay together, as a table where they are one."""
        if len(columns) < 2:
            return [rows_of(columns[0])]
        groups = part(columns, self.page, above)
        if len(groups) == 1:
            return self._across(groups[0], groups[0].places)
        blocks = reading_sequence([group.places for group in groups], self.page)
        return [column for block in blocks for column in self.read(block)]

    def _across(self, group: Beside, places: Sequence[Place]) -> list[list[Row]]:
        """What is read row by row; parts of it that have other columns are read by themselves."""
        if is_list(group.columns):
            return [rows_of(places)]
        columns = []
        for section in _joined(_sections(places), len(group.columns)):
            parts = columns_of(section)
            if len(section) < len(places) and len(parts) != len(group.columns):
                columns += self.read(section)
                continue
            columns.append(self._table_or_rows(parts))
        return columns

    def _list(self, places: Sequence[Place]) -> list[list[Row]]:
        """Names and their prices, row by row; tables where there are enough of them."""
        return [
            self._table(columns_of(section)) or rows_of(section) for section in _sections(places)
        ]

    def _table_or_rows(self, columns: Sequence[Sequence[Place]]) -> list[Row]:
        """What is read across, as a table where it is one."""
        return self._table(columns) or _rows_across(columns, self.page)

    def _table(self, columns: Sequence[Sequence[Place]]) -> list[Row]:
        """The row of a table if columns are one."""
        table = unruled_table(columns, self.page)
        if table is None:
            return []
        place = table.place(self.next_index)
        self.finished[place.index] = [table.plan()]
        return [[place]]


def _rows_across(columns: Sequence[Sequence[Place]], page: LevelPage) -> list[Row]:
    """Rows over columns, the lines of each cell one after the other; tables by themselves."""
    rows: list[Row] = []
    for cells in cell_rows(columns, page.horizontal):
        row: Row = []
        for cell in sorted(cells, key=lambda cell: cell.column):
            for place in cell.lines:
                if place.index < 0:
                    rows += [row, [place]] if row else [[place]]
                    row = []
                else:
                    row.append(place)
        if row:
            rows.append(row)
    return rows


def _most_columns(
    places: Sequence[Place],
) -> tuple[list[Place], list[Place], list[Place]]:
    """A run without the rows at its top and bottom that cross gutters of all of its others.

    Above, between and below: where the rows between times their gutters are most.
    """
    bands, _ = bands_of(places)

    def gain(first: int, last: int) -> int:
        inside = [place for band in bands[first:last] for place in band]
        return (last - first) * (len(columns_of(inside)) - 1) if inside else 0

    first, last = 0, len(bands)
    if last > 2:
        first = max(range(min(_PEELED, last)), key=lambda k: (gain(k, last), -k))
        ends = range(max(first + 1, last - _PEELED), last + 1)
        last = max(ends, key=lambda k: (gain(first, k), k))
    above, between, below = (
        [place for band in some for place in band]
        for some in (bands[:first], bands[first:last], bands[last:])
    )
    return above, between, below


def _sections(places: Sequence[Place]) -> list[list[Place]]:
    """Places parted at white that is far wider than that between their other rows."""
    bands, whites = bands_of(places)
    usual = sorted(whites)[len(whites) // 4] if len(whites) > 1 else 0.0
    sections = [bands[0]]
    for white, band in zip(whites, bands[1:], strict=True):
        letter = max(place.letter for place in band)
        if white > max(_SECTION * usual, 3 * letter):
            sections.append(list(band))
        else:
            sections[-1] = sections[-1] + band
    return sections


def _joined(sections: list[list[Place]], count: int) -> list[list[Place]]:
    """Sections of `count` columns that have their edges in the same places, made one."""
    joined: list[list[Place]] = []
    for section in sections:
        if joined and _same_columns(joined[-1], section, count):
            joined[-1] = joined[-1] + section
        else:
            joined.append(section)
    return joined


def _same_columns(a: Sequence[Place], b: Sequence[Place], count: int) -> bool:
    """Whether two sections have `count` columns each, with an edge or the middle in common."""
    of_a, of_b = columns_of(a), columns_of(b)
    if len(of_a) != count or len(of_b) != count:
        return False
    for one, other in zip(of_a, of_b, strict=True):
        letter = max(place.letter for place in other)
        left = min(p.left for p in one) - min(p.left for p in other)
        right = max(p.right for p in one) - max(p.right for p in other)
        if min(abs(left), abs(right), abs(left + right) / 2) > 0.5 * letter:
            return False
    return True
