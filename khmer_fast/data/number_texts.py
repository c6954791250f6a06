"""Kinds of text with numbers and addresses: dates, amounts, telephones, tables, web and mail."""

from __future__ import annotations

import random

from khmer_fast.data.text_parts import SYLLABLES, Kind, Source, digits, fill, mix, script
from khmer_fast.data.words import words

MONTHS, LUNAR_MONTHS, DAYS = words("months"), words("lunar_months"), words("days")
ANIMALS, STEMS = words("animals"), words("stems")
PLACES, UNITS = words("places"), words("units")
ARTICLES, DOCUMENTS = words("articles"), words("documents")
DOMAINS, MAILS, ROLES, PATHS = words("domains"), words("mails"), words("roles"), words("paths")


def amount(rng: random.Random) -> str:
    count = rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9))
    number = int(digits(rng, count))
    mark = rng.choice((",", ",", ".", " ", ""))
    text = f"{number:,}".replace(",", mark)
    if rng.random() < 0.25:
        text += rng.choice(",.") + digits(rng, rng.randint(1, 2))
    return text


def date(rng: random.Random) -> str:
    day, month, year = rng.randint(1, 31), rng.randint(1, 12), rng.randint(1950, 2035)
    roll = rng.random()
    if roll < 0.35:
        mark = rng.choice(("", " ", " "))
        start = rng.choice(("ថ្ងៃទី", "ថ្ងៃទី", "ថ្ងៃ" + rng.choice(DAYS) + " ទី"))
        form = rng.choice((f"{day}", f"{day:02}"))
        return f"{start}{mark}{form} ខែ{mark}{rng.choice(MONTHS)} ឆ្នាំ{mark}{year}"
    if roll < 0.5:
        moon = rng.choice(("កើត", "រោច"))
        return (
            f"ថ្ងៃ{rng.choice(DAYS)} {rng.randint(1, 15)}{moon} ខែ{rng.choice(LUNAR_MONTHS)} "
            f"ឆ្នាំ{rng.choice(ANIMALS)} {rng.choice(STEMS)} ព.ស.{rng.randint(2530, 2575)}"
        )
    if roll < 0.65:
        return f"{rng.choice(PLACES)} ថ្ងៃទី {day:02} ខែ {rng.choice(MONTHS)} ឆ្នាំ {year}"
    mark = rng.choice("/-.")
    return f"{day:02}{mark}{month:02}{mark}{rng.choice((year, year % 100))}"


def phone(rng: random.Random) -> str:
    mark = rng.choice((" ", " ", "-", ".", ""))
    start = "0" + digits(rng, 2)
    rest = rng.choice((digits(rng, 6), mark.join((digits(rng, 3), digits(rng, 3)))))
    if rng.random() < 0.3:
        start = rng.choice(("(855) ", "+855 ", "(+855)", "855-")) + digits(rng, 2)
    text = f"{start}{mark}{rest}"
    return text + rng.choice(("", "", " / " + "0" + digits(rng, 8)))


def number(rng: random.Random) -> str:
    """One number with what belongs to it."""
    roll = rng.random()
    if roll < 0.22:
        return date(rng)
    if roll < 0.45:
        return amount(rng) + rng.choice(("", " ")) + rng.choice(UNITS)
    if roll < 0.58:
        return (
            rng.choice(("ទូរស័ព្ទ", "ទូរស័ព្ទលេខ", "លេខទូរស័ព្ទ៖", "Tel:", "ទូរស័ព្ទ :", "")) + " " + phone(rng)
        )
    if roll < 0.72:
        article = rng.choice(ARTICLES) + rng.choice(("", " ", "ទី", "ទី ")) + str(rng.randint(1, 400))
        return article + rng.choice(("", "", ".-", ".", "៖", " .-"))
    if roll < 0.82:
        year = str(rng.randint(1993, 2030))
        number = f"{digits(rng, rng.randint(2, 4))}/{rng.choice((year, year[2:]))}"
        return f"លេខ{rng.choice(('', ' ', '៖ '))}{number} {rng.choice(DOCUMENTS)}"
    if roll < 0.9:
        return f"{rng.randint(0, 23)}{rng.choice(':៖')}{rng.randint(0, 59):02}" + rng.choice(
            ("", " នាទី", " ព្រឹក", " ល្ងាច")
        )
    if roll < 0.95:
        return rng.choice(("(", "")) + amount(rng) + rng.choice((")", "%", " - " + amount(rng)))
    return digits(rng, rng.randint(1, 16))


def url(rng: random.Random) -> str:
    name = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 3)))
    if rng.random() < 0.2:
        name += rng.choice("-_") + rng.choice(SYLLABLES)
    domain = name + "." + rng.choice(DOMAINS)
    roll = rng.random()
    if roll < 0.4:
        user = (
            rng.choice(ROLES)
            if rng.random() < 0.4
            else rng.choice(SYLLABLES)
            + rng.choice(("", ".", "_", ""))
            + rng.choice(SYLLABLES)
            + rng.choice(("", digits(rng, 2)))
        )
        return user + "@" + (rng.choice(MAILS) if rng.random() < 0.4 else domain)
    start = rng.choice(
        ("www.", "www.", "http://", "https://", "https://www.", "facebook.com/", "t.me/")
    )
    end = "/" + rng.choice(PATHS) if rng.random() < 0.3 else ""
    return start + domain + end


def numbers(source: Source, rng: random.Random, length: int) -> str:
    del source
    mark = rng.choice((" ", " ", ", ", " និង ", " ដល់ ", "  "))
    return script(rng, fill(lambda: number(rng), length if rng.random() < 0.5 else 1, lambda: mark))


def number_in_text(source: Source, rng: random.Random, length: int) -> str:
    return mix(source, rng, length, lambda: script(rng, number(rng), 0.7))


def table_cell(source: Source, rng: random.Random, length: int) -> str:
    del source, length
    return script(
        rng,
        rng.choice(("", "", "$", "-", "(")) + amount(rng) + rng.choice(("", "", "%", " ៛", ")")),
    )


def address(source: Source, rng: random.Random, length: int) -> str:
    def part() -> str:
        roll = rng.random()
        if roll < 0.3:
            name = rng.choice(
                ("", "អ៊ីម៉ែល៖ ", "E-mail: ", "Email: ", "e-mail : ", "គេហទំព័រ៖ ", "web: ", "Website: ")
            )
            return name + url(rng)
        if roll < 0.55:
            name = rng.choice(("ទូរស័ព្ទ៖ ", "Tel: ", "ទូរស័ព្ទ : ", "Fax: ", "ទូរសារ ", "H/P: "))
            return name + script(rng, phone(rng), 0.4)
        if roll < 0.75:
            low = rng.choice(("ភូមិ", "ឃុំ", "សង្កាត់", "ស្រុក", "ខណ្ឌ")) + source.word(rng)
            return f"{low} {rng.choice(('ខេត្ត', 'រាជធានី'))}{rng.choice(PLACES)}"
        house = script(rng, digits(rng, rng.randint(1, 3)), 0.5)
        street = script(rng, digits(rng, rng.randint(2, 3)), 0.5)
        house = rng.choice(("ផ្ទះលេខ ", "អគារលេខ", "#", "No. ")) + house
        return f"{house} {rng.choice(('ផ្លូវលេខ', 'ផ្លូវ ', 'St. '))}{street}"

    return fill(
        part,
        length if rng.random() < 0.6 else 1,
        lambda: rng.choice((" ", ", ", " / ", " | ", "  ")),
    )


def url_in_text(source: Source, rng: random.Random, length: int) -> str:
    return mix(source, rng, length, lambda: url(rng))


NUMBER_KINDS: dict[str, Kind] = {
    "numbers": numbers,
    "number_in_text": number_in_text,
    "table_cell": table_cell,
    "address": address,
    "url_in_text": url_in_text,
}
