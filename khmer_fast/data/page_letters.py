"""Official pages: letters with their heads, seals and signatures, and laws by articles."""

from __future__ import annotations

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import crest, divider, handwriting, seal, signature
from khmer_fast.data.page_pictures import icon, qr_code
from khmer_fast.data.page_prose import page_number, pitch_of, prose, titles
from khmer_fast.data.page_type import Run, Type

_STATE = "ព្រះរាជាណាចក្រកម្ពុជា"
_MOTTO = "ជាតិ សាសនា ព្រះមហាក្សត្រ"


def letterhead(page: Composer, x: float, y: float, width: float) -> float:
    """The kingdom's name and motto, and the ministry's at the left; returns the next baseline."""
    title = page.heading.at(size=page.heading.size * page.some(0.95, 1.25))
    small = page.heading.at(size=page.body.size * page.some(0.9, 1.1))
    pitch = page.letter(title) * page.some(2.6, 3.6)
    beside = page.chance(0.4)  # ministry and kingdom stand side by side
    centre = x + width * (page.some(0.68, 0.8) if beside else 0.5)
    if page.chance(0.3):
        level = round(page.some(60, 130))
        title, small = title.at(level=level), small.at(level=level)
    if not beside:
        if page.chance(0.35):
            radius = page.unit * page.some(18, 32)
            crest(page, centre, y + radius - page.letter(title), radius)
            y += 2 * radius + pitch * 0.5
        under = _kingdom(page, centre, y, title, pitch, width)
        if page.chance(0.8):
            room = page.some(-0.8, 0.8) * pitch
            return _ministry(page, x, under + room, width, small)
        return under
    low = page.some(0, 1.5) * pitch
    left = _ministry(page, x, y + low, width, small)
    return max(left, _kingdom(page, centre, y, title, pitch, width))


def _kingdom(
    page: Composer, centre: float, y: float, type: Type, pitch: float, width: float
) -> float:
    page.region("header")
    page.line(_STATE, centre, y, type, align="centre", kind="letterhead")
    second = type.at(size=type.size * page.some(0.85, 1.0))
    if page.chance(0.3):
        second = second.at(word_space=page.some(0.3, 1.0))
    page.line(_MOTTO, centre, y + pitch, second, align="centre", kind="letterhead")
    mark = y + 1.55 * pitch
    if page.chance(0.65):
        divider(page, centre, mark, page.unit * page.some(40, 110), type.level)
    else:
        half = page.some(0.03, 0.1) * width
        page.canvas.rule(
            centre - half, mark, centre + half, mark, 60, page.unit * page.some(0.5, 2)
        )
    return y + 2.4 * pitch


def _ministry(page: Composer, x: float, y: float, width: float, type: Type) -> float:
    """Offices one under the other, a crest above them, the letter's number below."""
    count = page.rng.randint(1, 3)
    offices = [page.fitting("letterhead", 0.42 * width, type) for _ in range(count)]
    page.region("header")
    wide = max(page.setter.width(text, type) for text in offices)
    middled = page.chance(0.6)
    at = x + wide / 2 if middled else x
    pitch = page.letter(type) * page.some(2.6, 3.2)
    if page.chance(0.4):
        radius = page.unit * page.some(18, 34)
        crest(page, x + wide / 2, y + radius - page.letter(type), radius)
        y += 2 * radius + 0.7 * pitch
    for text in offices:
        page.line(text, at, y, type, align="centre" if middled else "left", kind="letterhead")
        y += pitch
    if page.chance(0.5):
        number = page.body.at(level=type.level)
        if page.chance(0.5):
            text = page.rng.choice(("លេខ", "លេខ៖ ", "លេខ : ")) + "." * page.rng.randint(8, 36)
            end = page.line(text, x, y, number, kind="number")
            if page.chance(0.6):
                size = page.body.size
                handwriting(
                    page, x + 2.5 * size, y - 0.1 * size, max(size, end - x - 5 * size), size
                )
        else:
            text = page.digits(f"លេខ៖ {page.rng.randint(10, 9999)} ")
            page.line(
                text + page.rng.choice(("ប.រ.ក", "សជណ", "អនក្រ.បក")), x, y, number, kind="number"
            )
        y += pitch
    return y


def letter(page: Composer) -> None:
    """An official letter: head, titles, paragraphs, date, seal and signature, foot."""
    x = page.some(0.06, 0.12) * page.width
    width = page.width - x - page.some(0.05, 0.1) * page.width
    y = letterhead(page, x, page.some(0.05, 0.1) * page.height, width)
    if page.chance(0.1):
        _text_stamp(page, x + page.some(0.0, 0.75) * width, page.some(0.05, 0.3) * page.height)
    if page.chance(0.9):
        y = titles(page, x + width / 2, y + page.body.size, width)
        if page.chance(0.3):
            divider(page, x + width / 2, y - page.body.size, page.unit * page.some(50, 120))
            y += page.body.size
    foot = page.height * page.some(0.9, 0.94)
    bottom = page.height * page.some(0.5, 0.78)
    y = prose(page, x, y + page.body.size, width, bottom)
    if page.chance(0.8):
        y = _closing(page, x, y + page.body.size, width, foot - 2 * page.body.size)
    if y < foot and page.chance(0.5):
        _contacts(page, x, max(foot, y + page.body.size), width)
    elif page.chance(0.6):
        page_number(page, x, width, page.height * page.some(0.95, 0.975))


def _text_stamp(page: Composer, x: float, y: float) -> None:
    """A stamp of words in a frame, which can be read: `copy`, a number, a date."""
    type = page.heading.at(level=page.rng.choice((30, 90, 130)), slant=0.0)
    text = page.rng.choice(("ច្បាប់ចម្លង", "ចម្លង", "ច្បាប់ដើម", "ប្រញាប់", "សម្ងាត់"))
    pad = 0.5 * type.size
    box = (
        x - pad, y - 1.2 * type.size, x + page.setter.width(text, type) + pad, y + 0.7 * type.size
    )  # fmt: skip
    if page.inked(box) or box[2] > page.width:
        return
    page.region("stamp")
    page.line(text, x, y, type, kind="stamp")
    page.canvas.outline(box, type.level, page.some(1, 2) * page.unit, page.some(0, 4) * page.unit)


def _closing(page: Composer, x: float, y: float, width: float, bottom: float) -> float:
    """Dates at the right, one or two signers, the seal half over their lines."""
    pitch = page.letter(page.body) * page.some(2.5, 3.2)
    centre = x + width * page.some(0.65, 0.78)
    page.region("text")
    top = y
    for _ in range(page.rng.randint(1, 2)):
        text = page.fitting("numbers", 0.55 * width, page.body)
        page.line(text, centre, y, align="centre", kind="date")
        if page.chance(0.15):  # filled in by hand
            handwriting(page, centre, y, 3 * page.body.size, page.body.size)
        y += pitch
    columns = [centre]
    if page.chance(0.3):
        columns = [x + width * 0.22, centre]
    end = y
    names = page.chance(0.7)
    space = page.some(3, 6) * pitch
    for middle in columns:
        base = y
        page.region("text")
        for _ in range(page.rng.randint(1, 2)):
            text = page.fitting("letterhead", 0.4 * width, page.heading)
            page.line(text, middle, base, page.heading, align="centre", kind="signature")
            base += pitch
        if base + space < bottom and names:
            name = page.heading.at(level=page.rng.choice((page.heading.level, 110)))
            text = page.fitting("single_word", 0.2 * width, name)
            text += " " + page.fitting("single_word", 0.2 * width, name)
            page.line(text, middle, base + space, name, align="centre", kind="signature")
        end = max(end, base + (space if names else 0))
    if page.chance(0.6):
        radius = page.unit * page.some(32, 58)
        seal(page, centre - page.some(0, 1.2) * radius, top + page.some(1, 3.5) * pitch, radius)
    if page.chance(0.5):
        signature(page, centre, y + 0.6 * space, page.unit * page.some(60, 130))
    if page.chance(0.12):
        side = page.unit * page.some(50, 80)
        if y + side < bottom:
            qr_code(page, x, y, side)
    return end + pitch


def _contacts(page: Composer, x: float, y: float, width: float) -> None:
    """An address under a rule at the foot, in one block or two, with small icons at times."""
    type = page.body.at(
        size=page.body.size * page.some(0.62, 0.8), level=page.rng.choice((0, 70, 100))
    )
    pitch = page.letter(type) * page.some(2.5, 3)
    page.canvas.rule(x, y - 2 * type.size, x + width, y - 2 * type.size, type.level, page.unit)
    if page.chance(0.4):
        page.region("footer")
        for k in range(page.rng.randint(1, 2)):
            text = page.fitting("address", 0.95 * width, type, least=20)
            page.line(text, x + width / 2, y + k * pitch, type, align="centre", kind="address")
        return
    icons = page.chance(0.4)
    for left, room in ((x, 0.48 * width), (x + 0.66 * width, 0.33 * width)):
        page.region("footer")
        for k in range(page.rng.randint(1, 3)):
            if y + k * pitch > page.height - 0.3 * type.size:
                break
            shift = 1.4 * type.size if icons else 0.0
            if icons:
                icon(page, left, y + k * pitch - 0.9 * type.size, type.size, type.level)
            text = page.fitting("address", room - shift, type)
            page.line(text, left + shift, y + k * pitch, type, kind="address")


def law(page: Composer) -> None:
    """A law: a running head with gaps, chapters in headings, articles with raised words."""
    x = page.some(0.07, 0.13) * page.width
    width = page.width - x - page.some(0.06, 0.12) * page.width
    y = page.some(0.05, 0.1) * page.height
    if page.chance(0.4):
        y = _gazette_head(page, x, y, width)
    if page.chance(0.5):
        y = titles(page, x + width / 2, y + page.body.size, width)
    bottom = page.height * page.some(0.8, 0.93)
    type = page.body
    pitch = pitch_of(page, type)
    indent = page.some(0, 5) * type.size
    number = page.rng.randint(1, 400)
    own_line = page.chance(0.6)
    head = page.heading if page.chance(0.5) else type.at(bold=max(1, type.bold))
    while y < bottom:
        if page.chance(0.15):
            y = titles(page, x + width / 2, y + 0.5 * pitch, width, most=2)
        runs = _article(page, head, number, own_line and page.chance(0.5))
        number += 1
        page.region("heading" if own_line else "text")
        if own_line:
            page.line(runs, x, y, head, kind="article")
            y += pitch
            page.region("text")
        else:
            end = page.line(runs, x, y, head, kind="article")
            y += pitch if end > x + 0.6 * width or page.chance(0.5) else 1.0 * pitch
        for _ in range(page.rng.randint(1, 3)):
            text = page.running(page.rng.randint(30, 350), type)
            y = page.paragraph(
                text, x, y, width, pitch=pitch, bottom=bottom, indent=indent, loose=0.2
            )
        y += page.some(0, 0.8) * pitch
    if page.chance(0.7):
        page_number(page, x, width, page.height * page.some(0.95, 0.98))


def _article(page: Composer, type: Type, number: int, titled: bool) -> list[Run]:
    """`មាត្រា ៤ ថ្មី.-`: the word and the figure after the number are small and raised."""
    name = page.rng.choice(("មាត្រា", "មាត្រា", "ប្រការ", "ចំណុច"))
    runs = [Run(page.digits(f"{name} {number}"), type)]
    if page.chance(0.5):
        small = type.at(size=type.size * page.some(0.55, 0.8))
        word = page.rng.choice(
            ("ថ្មី", "ថ្មី", "ស្ទួន", "ថ្មី(២)", page.digits(str(page.rng.randint(1, 9))))
        )
        gap = page.rng.choice(("", " "))
        runs.append(Run(gap + word, small, lift=page.some(0.25, 0.7)))
    runs.append(Run(page.rng.choice((".-", " .-", "៖", ".", "_")), type))
    if titled:
        runs.append(Run(" " + page.text("heading", page.rng.randint(5, 30), type), type))
    return runs


def _gazette_head(page: Composer, x: float, y: float, width: float) -> float:
    """The gazette's running head: its parts far apart between two rules."""
    rng = page.rng
    type = page.body.at(size=page.body.size * page.some(0.85, 1.0), bold=rng.choice((0, 1)))
    parts = [
        page.digits(f"ឆ្នាំទី {rng.randint(1, 30)}"),
        page.digits(f"លេខ {rng.randint(1, 99)}"),
        page.fitting("numbers", 0.4 * width, type),
        page.digits(f"ទំព័រ {rng.randint(1, 3000)}"),
    ]
    total = sum(page.setter.width(part, type) for part in parts)
    gap = (width - total) / (len(parts) - 1)
    page.region("header")
    pen = x
    if gap > 2.5 * type.size:
        for part in parts:
            pen = page.line(part, pen, y, type, kind="running head") + gap
    else:
        page.line(" ".join(parts), x, y, type, align="justify", width=width, kind="running head")
    rule = y + 0.7 * type.size
    page.canvas.rule(x, rule, x + width, rule, 0, page.unit)
    if page.chance(0.5):
        page.canvas.rule(x, rule + 3 * page.unit, x + width, rule + 3 * page.unit, 0, 0.6)
    return y + 3.5 * type.size
