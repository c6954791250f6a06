"""Large type and designed grounds: posters, covers, cards, certificates, styles of all kinds."""

from __future__ import annotations

from khmer_fast.data.page_composer import Composer
from khmer_fast.data.page_marks import corners, crest, divider, seal, signature
from khmer_fast.data.page_pictures import icon, photograph, qr_code, scene
from khmer_fast.data.page_type import Run, Type


def poster(page: Composer) -> None:
    """Few words in large type, on paper, colour or a picture."""
    ink = ground(page)
    x = page.some(0.05, 0.12) * page.width
    width = page.width - 2 * x
    y = page.some(0.06, 0.2) * page.height
    bottom = page.height * page.some(0.75, 0.97)
    align = page.rng.choice(("centre", "centre", "left"))
    at = page.width / 2 if align == "centre" else x
    while y < bottom - page.body.size:
        roll = page.rng.random()
        size = page.unit * page.rng.choice(
            (page.some(30, 100), page.some(18, 40), page.some(12, 20))
        )
        if roll < 0.2:
            high = page.some(0.15, 0.4) * page.height
            if y + high < bottom:
                photograph(page, (x, y - 0.03 * page.height, x + width, y + high))
                y += high + 0.08 * page.height
                continue
        if roll < 0.3:
            radius = page.unit * page.some(25, 60)
            if y + 2 * radius < bottom:
                crest(page, at if align == "centre" else x + radius, y + radius, radius, ink)
                y += 2 * radius + 1.2 * size
        type = page.heading.at(size=size, level=ink, hinted=False)
        if page.chance(0.3):
            type = type.at(level=page.coloured(ink))
        text = page.text(
            page.rng.choice(("heading", "running", "letterhead", "words")),
            page.rng.randint(3, 40),
            type,
        )
        pitch = page.letter(type) * page.some(2.3, 3.2)
        page.region("heading" if size > 18 * page.unit else "text")
        base = y + page.letter(type)
        for line in page.setter.wrap(text, type, width, 0, 0.5)[:4]:
            if base > bottom:
                break
            base = _poster_line(page, line, at, base, type, align, pitch)
        y = base + page.some(0, 0.8) * size
    if page.chance(0.3):
        page.canvas.outline(
            (
                0.02 * page.width,
                0.02 * page.width,
                0.98 * page.width,
                page.height - 0.02 * page.width,
            ),
            page.coloured(ink),
            3 * page.unit,
        )


def _poster_line(
    page: Composer, text: str, at: float, y: float, type: Type, align: str, pitch: float
) -> float:
    """One line; its words in two colours, on a band or with a shadow at times."""
    words = text.split(" ")
    runs = [Run(text, type)]
    roll = page.rng.random()
    if roll < 0.2 and len(words) > 1:
        other = type.at(level=page.coloured(type.level), bold=page.rng.choice((0, 2)))
        runs = [Run(words[0] + " ", type), Run(" ".join(words[1:]), other)]
    elif roll < 0.27:
        runs = [Run(text, type, shadow=page.coloured(type.level))]
    elif roll < 0.33:
        runs = [Run(text, type.at(level=255 - type.level), outline=type.level)]
    elif roll < 0.42:
        wide = page.setter.width(text, type)
        left = at - wide / 2 if align == "centre" else at
        pad = 0.3 * type.size
        ground = page.rng.choice((60, 110)) if type.level < 128 else page.rng.choice((225, 250))
        page.canvas.fill(
            (left - pad, y - 1.15 * type.size, left + wide + pad, y + 0.5 * type.size),
            ground,
            page.rng.choice((0.0, pad)),
        )
        runs = [Run(text, type.at(level=255 - type.level))]
        pitch *= 1.15
    page.line(runs, at, y, type, align=align, kind="poster")
    return y + pitch


def ground(page: Composer) -> int:
    """Paint the page; returns the level of ink that can be read on it."""
    roll = page.rng.random()
    whole = (0, 0, page.width, page.height)
    if roll < 0.35:
        return page.rng.randint(0, 70)
    if roll < 0.6:
        level = page.rng.choice((20, 60, 90, 120, 190, 215, 235))
        page.canvas.fill(whole, level)
    elif roll < 0.8:
        base = page.rng.choice((50, 90, 200, 225))
        level = base
        page.canvas.gradient(
            whole, (base - page.some(0, 40), base + page.some(0, 30)), page.chance(0.5)
        )
    else:
        level = picture_ground(page, whole)
    return page.rng.randint(225, 255) if level < 140 else page.rng.randint(0, 50)


def picture_ground(page: Composer, box: tuple[float, float, float, float]) -> int:
    """A picture made dark or pale enough to write on; returns its mean level."""
    x0, y0, x1, y1 = (round(v) for v in box)
    picture = scene(page, max(4, y1 - y0), max(4, x1 - x0)).astype(float)
    dark = page.chance(0.5)
    share = page.some(0.25, 0.55)
    picture = picture * share + (0 if dark else 255 * (1 - share))
    page.canvas.paste(picture.astype("uint8"), x0, y0)
    return round(float(picture.mean()))


def cover(page: Composer) -> None:
    """A title page: a few centred lines, a crest, a year at the foot."""
    width = 0.8 * page.width
    centre = page.width / 2
    if page.chance(0.4):
        if page.chance(0.5):
            corners(page, 0.04 * page.width, page.some(0.1, 0.25) * page.width, 50)
        else:
            inset = 0.05 * page.width
            page.canvas.outline(
                (inset, inset, page.width - inset, page.height - inset), 30, 3 * page.unit
            )
            inset += 5 * page.unit
            page.canvas.outline(
                (inset, inset, page.width - inset, page.height - inset), 30, page.unit
            )
    y = page.some(0.1, 0.2) * page.height
    if page.chance(0.5):
        radius = page.unit * page.some(25, 50)
        crest(page, centre, y + radius, radius)
        y += 2.6 * radius
    for _ in range(page.rng.randint(2, 5)):
        size = page.unit * page.some(14, 44)
        type = page.heading.at(size=size)
        page.region("heading")
        text = page.text(
            page.rng.choice(("heading", "letterhead", "single_word")), page.rng.randint(4, 50), type
        )
        for line in page.setter.wrap(text, type, width, 0, 0.5)[:3]:
            if y < 0.85 * page.height:
                page.line(line, centre, y, type, align="centre", kind="title")
                y += page.letter(type) * page.some(2.5, 3.4)
        y += page.some(0.5, 4) * size
        if page.chance(0.2) and y < 0.8 * page.height:
            divider(page, centre, y - 0.8 * size, page.unit * page.some(60, 160))
            y += size
    if page.chance(0.7):
        page.region("footer")
        text = page.digits(str(page.rng.randint(1985, 2030)))
        if page.chance(0.6):
            text = page.fitting("numbers", width, page.body)
        page.line(text, centre, page.height * page.some(0.9, 0.95), align="centre", kind="date")


def card(page: Composer) -> None:
    """A card or sign: name, small lines, icons, on colour at times; fills its picture."""
    if page.chance(0.5):
        ink = ground(page)
    else:
        ink = page.rng.randint(0, 60)
    size = page.height / page.some(11, 20)
    body = page.body = page.body.at(size=size, level=ink)
    head = page.heading.at(size=size * page.some(1.2, 2), level=ink)
    x = page.some(0.05, 0.1) * page.width
    right = page.width - x
    y = 2.2 * size
    if page.chance(0.5):
        band = page.rng.choice((40, 90, 150))
        page.canvas.fill((0, 0, page.width, y + 0.4 * size), band)
        head = head.at(level=250 if band < 140 else 10, size=1.1 * size)
        y = 1.5 * size
    page.region("heading")
    page.line(page.fitting("heading", right - x - 4 * size, head), x, y, head, kind="title")
    if page.chance(0.5):
        crest(page, right - size, y + 0.2 * size, 1.3 * size)
    y += 2.6 * size
    if page.chance(0.3) and page.width > 24 * size:
        photograph(page, (x, y, x + 5 * size, y + 6.5 * size))
        x += 6.5 * size
    page.region("list")
    marks = page.chance(0.3)
    pitch = page.letter(body) * page.some(2.2, 3.0)
    number = 1
    while y < page.height - 0.8 * size:
        text = page.running(page.rng.randint(10, 140), body)
        if page.chance(0.6):
            text = page.digits(f"{number}. ") + text
            number += 1
        left = x
        if marks:
            icon(page, x, y - 0.8 * size, 0.9 * size, ink)
            left += 1.4 * size
        y = page.paragraph(
            text, left, y, right - left, pitch=pitch, bottom=page.height - 0.7 * size, align="left"
        )


def styles(page: Composer) -> None:
    """Words in styles of all kinds, on grounds of all kinds, side by side and below one another."""
    page.canvas.fill((0, 0, page.width, page.height), page.rng.choice((255, 245, 235, 215)))
    gap = 0.02 * page.width
    y = gap
    while y < page.height - 0.08 * page.height:
        count = page.rng.choice((1, 1, 2, 2, 3))
        wide = (page.width - gap * (count + 1)) / count
        high = min(page.some(0.06, 0.28) * page.height, page.height - y - gap)
        for k in range(count):
            left = gap + k * (wide + gap)
            _style_box(page, (left, y, left + wide, y + high))
        y += high + gap


def _style_box(page: Composer, box: tuple[float, float, float, float]) -> None:
    """A box of a designed ground, with large words or a paragraph in it."""
    x0, y0, x1, y1 = box
    roll = page.rng.random()
    level = int(
        page.canvas.grey[min(int(y0) + 1, page.height - 1), min(int(x0) + 1, page.width - 1)]
    )
    radius = page.rng.choice((0.0, 0.02 * page.width))
    if roll < 0.25:
        level = page.rng.choice((0, 40, 80, 120, 170, 200, 255))
        page.canvas.fill(box, level, radius)
    elif roll < 0.5:
        level = page.rng.choice((60, 90, 170, 210))
        spread = page.some(20, 60)
        page.canvas.gradient(box, (level - spread, level + spread), page.chance(0.5))
    elif roll < 0.7:
        level = picture_ground(page, box)
    ink = page.rng.randint(215, 255) if level < 150 else page.rng.randint(0, 80)
    pad = 0.06 * (x1 - x0)
    width = x1 - x0 - 2 * pad
    page.region("text")
    type = (page.heading if page.chance(0.5) else page.body).at(level=ink, hinted=False)
    if page.chance(0.5):  # large words
        size = min(page.some(0.3, 0.55) * (y1 - y0), page.unit * 75)
        type = type.at(size=size)
        text = page.fitting(page.rng.choice(("heading", "words", "single_word")), width, type)
        at = (x0 + x1) / 2
        page.line(
            _decked(page, text, type, level),
            at,
            (y0 + y1) / 2 + 0.35 * size,
            type,
            align="centre",
            kind="style",
        )
        return
    type = type.at(size=page.body.size * page.some(0.8, 1.4))
    pitch = page.letter(type) * page.some(2.1, 2.9)
    y = y0 + pitch
    page.emphasis, before = 0.5, page.emphasis
    underlined = page.chance(0.2)
    shadow = (0 if ink > 128 else 200) if page.chance(0.3) else None
    lines = page.setter.wrap(page.running(300, type), type, width, 0, 0.3)
    justified = page.chance(0.5)
    for line in lines:
        if y > y1 - 0.6 * pitch:
            break
        runs = page.styled(line, type)
        if underlined or shadow is not None:
            runs = [Run(line, type, underline=underlined, shadow=shadow)]
        page.line(
            runs,
            x0 + pad,
            y,
            type,
            align="justify" if justified else "left",
            width=width,
            kind="style",
        )
        y += pitch
    page.emphasis = before


def _decked(page: Composer, text: str, type: Type, ground: int) -> list[Run]:
    """Large words with one of the ornaments that word processors and browsers offer."""
    roll = page.rng.randrange(8)
    dark = type.level < 128
    if roll == 7:  # letters of one level in a border of another
        edge = type.level
        return [Run(text, type.at(level=page.rng.choice((ground, 255 - edge))), outline=edge)]
    if roll == 0:
        return [Run(text, type, shadow=page.rng.choice((90, 150, 190) if dark else (0, 30)))]
    if roll == 1:
        return [Run(text, type, underline=True)]
    if roll == 2:
        return [Run(text, type, strike=True)]
    if roll == 3:
        return [Run(text, type, highlight=page.rng.choice((200, 225, 245) if dark else (0, 60)))]
    if roll == 4:
        return [Run(text, type.at(bold=4))]
    if roll == 5:
        half = len(text) // 2
        words = text.split(" ")
        if len(words) > 1:
            half = len(words) // 2
            first, second = " ".join(words[:half]) + " ", " ".join(words[half:])
            return [
                Run(first, type),
                Run(second, type.at(level=page.coloured(type.level), size=0.9 * type.size)),
            ]
        return [Run(text, type)]
    return [Run(text, type.at(slant=0.25))]


def certificate(page: Composer) -> None:
    """A framed certificate: ornaments, a crest, centred lines of many sizes, seal and signature."""
    inset = page.some(0.02, 0.05) * page.width
    page.canvas.outline((inset, inset, page.width - inset, page.height - inset), 60, 4 * page.unit)
    corners(page, inset + 6 * page.unit, page.some(0.08, 0.15) * page.width, 80)
    centre, width = page.width / 2, page.width * 0.75
    y = 0.14 * page.height
    crest(page, centre, y, page.unit * page.some(25, 40))
    y += 0.1 * page.height
    for k in range(page.rng.randint(5, 9)):
        size = page.unit * (page.some(22, 36) if k == 0 else page.some(10, 18))
        type = (page.heading if page.chance(0.5) else page.body).at(size=size)
        if y > 0.78 * page.height:
            break
        page.region("heading" if k == 0 else "text")
        kind = page.rng.choice(("heading", "running", "numbers", "letterhead"))
        page.line(
            page.fitting(kind, width, type), centre, y, type, align="centre", kind="certificate"
        )
        y += page.letter(type) * 3
    for at in (0.25, 0.72):
        page.region("text")
        page.line(
            page.fitting("letterhead", 0.35 * page.width, page.body),
            at * page.width,
            0.84 * page.height,
            align="centre",
            kind="signature",
        )
    seal(page, 0.72 * page.width, 0.86 * page.height, page.unit * page.some(30, 50))
    signature(page, 0.25 * page.width, 0.89 * page.height, page.unit * 90)
    if page.chance(0.5):
        qr_code(page, 2 * inset, page.height - 2 * inset - 50 * page.unit, 50 * page.unit)


def menu(page: Composer) -> None:
    """A restaurant's card: names and prices in two columns, pictures, headings on bands."""
    ink = ground(page) if page.chance(0.4) else 20
    page.body = page.body.at(level=ink)
    y = 0.08 * page.height
    title = page.heading.at(size=page.unit * page.some(24, 40), level=ink)
    page.region("heading")
    page.line(
        page.fitting("heading", 0.8 * page.width, title),
        page.width / 2,
        y,
        title,
        align="centre",
        kind="title",
    )
    top = y + 3 * page.body.size
    for k in range(2):
        x = (0.06 + 0.48 * k) * page.width
        width = 0.4 * page.width
        y = top
        while y < 0.93 * page.height:
            head = page.heading.at(level=ink)
            page.region("heading")
            page.line(page.fitting("single_word", width, head), x, y, head, kind="heading")
            y += page.letter(head) * 3
            page.region("table")
            for row in range(page.rng.randint(3, 9)):
                if y > 0.95 * page.height:
                    break
                page.line(
                    page.fitting("words", 0.65 * width, page.body), x, y, cell=(row, 0), kind="cell"
                )
                page.line(
                    page.fitting("table_cell", 0.3 * width, page.body),
                    x + width,
                    y,
                    align="right",
                    cell=(row, 1),
                    kind="cell",
                )
                y += page.letter(page.body) * 2.8
            if page.chance(0.4) and y + 0.12 * page.height < 0.93 * page.height:
                photograph(page, (x, y - page.body.size, x + width, y + 0.1 * page.height))
                y += 0.14 * page.height
            y += page.body.size
