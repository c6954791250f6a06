"""What stands on forms, tables and cards: leaders, rules of dashes, machine-readable lines, times.

Kinds of `texts.py`, in a file of their own: functions (source, rng, length) -> raw text.
"""

from __future__ import annotations

import random
from typing import Protocol

from khmer_fast.recognize.machine_readable import check_digit

MACHINE_READABLE = "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789<"
KHMER_DIGITS = str.maketrans("0123456789", "០១២៣៤៥៦៧៨៩")
LABELS = (
    "ឈ្មោះ នាម គោត្តនាម ភេទ អាយុ សញ្ជាតិ ជាតិ មុខរបរ តួនាទី អង្គភាព លេខ លេខទូរស័ព្ទ ទីលំនៅ ភូមិ ឃុំ ស្រុក ខេត្ត "
    "ថ្ងៃទី ខែ ឆ្នាំ កើតនៅ ធ្វើនៅ ហត្ថលេខា ចំនួន តម្លៃ សរុប ទឹកប្រាក់ បរិមាណ ឯកតា លេខរៀង ពីថ្ងៃទី ដល់ថ្ងៃទី "
    "យោងលិខិត កម្មវត្ថុ ជូនចំពោះ គណនី ធនាគារ ទំព័រ ជំពូក មាត្រា"
).split()
_UNITS = "kg g m cm mm km L ml m2 pcs km/h".split()
_PARTS_OF_DAY = ("", "", "", " ព្រឹក", " ល្ងាច", " រសៀល", " យប់", " នាទី")


class Words(Protocol):
    """What these kinds need of a TextSource."""

    def word(self, rng: random.Random) -> str:
        """One word."""

    def running(self, rng: random.Random, length: int) -> str:
        """A window of running text."""


def machine_readable(source: Words, rng: random.Random, length: int) -> str:
    """A line of a passport's or identity card's machine-readable zone, fictional."""
    del source, length
    letters, digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZ", "0123456789"

    def name() -> str:
        return "".join(rng.choices(letters, k=rng.randint(2, 9)))

    country = rng.choice(("KHM", "KHM", "KHM", "".join(rng.choices(letters, k=3))))
    if rng.random() < 0.5:  # a passport's one letter or two before digits, or digits alone
        series = "".join(rng.choices(letters, k=rng.randint(0, 2)))
        number = series + "".join(rng.choices(digits, k=9 - len(series)))
    else:
        number = "".join(rng.choices(digits + letters, weights=(3,) * 10 + (1,) * 26, k=9))
    date = [f"{rng.randint(0, 99):02}{rng.randint(1, 12):02}{rng.randint(1, 31):02}" for _ in "12"]
    birth, expiry = (day + check_digit(day) for day in date)
    form = rng.randrange(5)
    if form == 0:  # passport, upper line
        text, width = (
            f"P<{country}{name()}<<{name()}{'<' + name() if rng.random() < 0.3 else ''}",
            44,
        )
    elif form == 1:  # passport, lower line
        person = number + check_digit(number)
        rest = "<" * 14 + rng.choice("0<")  # no personal number, whose check digit is either
        return f"{person}{country}{birth}{rng.choice('MF')}{expiry}{rest}" + check_digit(
            person + birth + expiry + rest
        )
    elif form == 2:  # card, three lines
        text, width = f"{rng.choice(('ID', 'I<', 'AC'))}{country}{number}{check_digit(number)}", 30
    elif form == 3:
        start = f"{birth}{rng.choice('MF')}{expiry}{country}"
        # its last digit is of the first line, too
        return (start + "<" * 30)[:29] + str(rng.randint(0, 9))
    else:
        text, width = f"{name()}<<{name()}", 30
    return (text + "<" * width)[:width]


def _run(rng: random.Random) -> str:
    """A short leader; long ones are cut out of a line before it is read."""
    count = round(3 * (14 / 3) ** rng.random())
    return rng.choice(("." * count, "." * count, "…" * (count // 3 + 1), "-" * count, "_" * count))


def leader(source: Words, rng: random.Random, length: int) -> str:
    """Labels with leaders between them, as forms and tables of contents have."""
    text = rng.choice(LABELS)
    while True:
        text += rng.choice(("៖", ":", "", " ", "៖ ")) + _run(rng)
        if len(text) >= length or rng.random() < 0.5:
            break
        text += rng.choice(("", " ")) + (
            rng.choice(LABELS) if rng.random() < 0.8 else source.word(rng)
        )
    if rng.random() < 0.3:
        text += _digits(rng, rng.randint(1, 3))
    return text


def _digits(rng: random.Random, count: int) -> str:
    number = "".join(rng.choices("0123456789", k=count))
    return number.translate(KHMER_DIGITS) if rng.random() < 0.6 else number


def times(source: Words, rng: random.Random, length: int) -> str:
    """Times and ratios with colons, alone or in running text."""
    colon = rng.choice((":", ":", ":", "៖", "."))
    text = f"{rng.randint(0, 23)}{colon}{rng.randint(0, 59):02}"
    if rng.random() < 0.4:
        text += (
            rng.choice(("-", " - ", " ដល់ ", "–"))
            + f"{rng.randint(0, 23)}{colon}{rng.randint(0, 59):02}"
        )
    if rng.random() < 0.65:
        text = text.translate(KHMER_DIGITS)
    text = rng.choice(("", "", "ម៉ោង ", "ម៉ោង", "វេលាម៉ោង ", "នៅម៉ោង")) + text
    text += rng.choice(_PARTS_OF_DAY)
    if length < 20 or rng.random() < 0.4:
        return text
    return source.running(rng, length - len(text) - 1) + " " + text


def short_cell(source: Words, rng: random.Random, length: int) -> str:
    """What a cell of a table holds: a number, one to three clusters, a unit, a mark."""
    del length
    roll = rng.random()
    if roll < 0.22:
        return _digits(rng, rng.choice((1, 1, 1, 2, 2, 3, 4)))
    if roll < 0.42:
        number = 10 ** rng.randint(1, 8) * rng.random()
        amount = f"{number:,.{rng.choice((0, 0, 0, 1, 2))}f}"
        if "." not in amount:
            amount = amount.replace(",", rng.choice((",", ",", ".", " ")))
        amount += rng.choice(("", "", "", "%", "$", " ៛", "៛"))
        return amount.translate(KHMER_DIGITS) if rng.random() < 0.5 else amount
    if roll < 0.62:
        word = source.word(rng)
        return word[: rng.randint(1, 6)]
    if roll < 0.8:
        return source.word(rng)
    if roll < 0.86:
        return rng.choice(LABELS) + rng.choice(("", "", "៖", ":"))
    if roll < 0.9:
        return _digits(rng, rng.randint(1, 4)) + rng.choice(("", " ")) + rng.choice(_UNITS)
    if roll < 0.95:
        return rng.choice(
            ("-", "–", "*", "x", "X", "OK", "N/A", "ល.រ", "ល", "ត", "គ", "ស.រ.", "No.")
        )
    return (
        f"{_digits(rng, 2)}{rng.choice('/-.')}{_digits(rng, 2)}{rng.choice('/-.')}{_digits(rng, 4)}"
    )


FORM_KINDS = {
    "leader": leader,
    "machine_readable": machine_readable,
    "times": times,
    "short_cell": short_cell,
}
