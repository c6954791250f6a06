"""Kinds of text made of sentences and words: running text, lists, headings, names, signs."""

from __future__ import annotations

import random
import re

from khmer_fast.data.text_parts import (
    CONSONANTS,
    OTHERS,
    TO_KHMER,
    Kind,
    Source,
    cluster_word,
    digits,
    fill,
    mix,
    script,
)
from khmer_fast.data.words import words

ARTICLES, CLOSERS, FIELDS = words("articles"), words("closers"), words("fields")
MINISTRIES, OPENERS, PLACES = words("ministries"), words("openers"), words("places")
STATE = words("state")


def running(source: Source, rng: random.Random, length: int) -> str:
    return source.running(rng, length)


def sentence_end(source: Source, rng: random.Random, length: int) -> str:
    return source.running(rng, max(1, length - 2)) + rng.choice(CLOSERS)


def several_words(source: Source, rng: random.Random, length: int) -> str:
    mark = rng.choice(("", "", " ", " ", ", ", " និង", "-", " / "))
    return fill(lambda: source.word(rng), length, lambda: mark)


def single_word(source: Source, rng: random.Random, length: int) -> str:
    del length
    return source.word(rng)


def several_clusters(source: Source, rng: random.Random, length: int) -> str:
    del source
    space = rng.choice((0.0, 0.3, 1.0))
    return fill(lambda: cluster_word(rng), length, lambda: " " if rng.random() < space else "")


def list_item(source: Source, rng: random.Random, length: int) -> str:
    number = script(rng, str(rng.randint(1, 40)), 0.7)
    mark = rng.choice((
        f"{number}.", f"{number}.", f"{number})", f"{number}-", f"({number})", f"{number}/",
        rng.choice(CONSONANTS) + ".", rng.choice(CONSONANTS) + ")", f"{rng.choice(CONSONANTS)}-",
        "-", "-", "- ", "–", "*", "»", f"{number}.{script(rng, str(rng.randint(1, 9)))}",
        rng.choice("abcdABCD") + ".", rng.choice(("i", "ii", "iv", "v", "I", "IV")) + ".",
    ))  # fmt: skip
    return mark + rng.choice(("", " ", " ")) + source.running(rng, max(1, length - len(mark) - 1))


def letterhead(source: Source, rng: random.Random, length: int) -> str:
    """What stands at the head of letters: mottos, offices, places."""
    del source, length
    roll = rng.random()
    if roll < 0.55:
        return rng.choice(STATE)
    ministry = rng.choice(MINISTRIES)
    if roll < 0.75:
        return rng.choice(("ក្រសួង", "ក្រសួង", "រដ្ឋមន្ត្រីក្រសួង", "មន្ទីរ", "ទីស្តីការក្រសួង")) + ministry
    place = rng.choice(("ខេត្ត", "រាជធានី", "ស្រុក", "ក្រុង")) + rng.choice(PLACES)
    if roll < 0.9:
        return (
            rng.choice(("រដ្ឋបាល", "សាលា", f"មន្ទីរ{ministry}", "សាលាដំបូង", "ស្នងការដ្ឋាននគរបាល")) + place
        )
    return f"{rng.choice(STATE)} {place}"


def heading(source: Source, rng: random.Random, length: int) -> str:
    roll = rng.random()
    if roll < 0.2:
        return letterhead(source, rng, length)
    if roll < 0.4:
        return rng.choice(OPENERS) + source.word(rng)
    if roll < 0.55:
        return (
            rng.choice(ARTICLES)
            + "ទី"
            + script(rng, str(rng.randint(1, 30)), 0.9)
            + rng.choice((" ", "៖ ", ". "))
            + source.running(rng, min(length, 30))
        )
    return source.running(rng, min(length, 45))


def latin_in_text(source: Source, rng: random.Random, length: int) -> str:
    def insert() -> str:
        run = source.latin_run(rng)
        return rng.choice((run, run, f"({run})", f"({run})", f'"{run}"', f"“{run}”", run + ","))

    return mix(source, rng, length, insert)


def latin(source: Source, rng: random.Random, length: int) -> str:
    return fill(
        lambda: source.latin_run(rng), length, lambda: rng.choice((" ", " ", " ", ", ", ". "))
    )


def enclosed(source: Source, rng: random.Random, length: int) -> str:
    left, right = rng.choice((
        ("(", ")"), ("(", ")"), ("( ", " )"), ("«", "»"), ("« ", " »"), ("“", "”"), ('"', '"'),
        ("‘", "’"), ("[", "]"), ("'", "'"), ("– ", " –"), ("— ", " —"),
    ))  # fmt: skip
    inner = rng.randint(1, max(1, length - 2))
    inside = source.running(rng, min(inner, 40)) if rng.random() < 0.7 else source.word(rng)
    return mix(source, rng, length, lambda: left + inside + right)


def repetition(source: Source, rng: random.Random, length: int) -> str:
    def insert() -> str:
        return source.word(rng) + rng.choice(("ៗ", "ៗ", " ៗ", "ៗ "))

    return mix(source, rng, length, insert)


def form_field(source: Source, rng: random.Random, length: int) -> str:
    mark = rng.choice(("៖", "៖ ", " ៖ ", ": ", " : ", ":"))
    if rng.random() < 0.15:
        return rng.choice(FIELDS) + mark + "." * rng.randint(3, 24)
    return rng.choice(FIELDS) + mark + source.running(rng, max(1, min(length, 60) - 10))


def enumeration(source: Source, rng: random.Random, length: int) -> str:
    """Points counted inside a sentence, as decrees and reports do: `(១).` or `២)`."""
    form = rng.choice(("({})", "({}).", "({}). ", "{}) ", "{})", "{}- ", "{}. ", "({}) "))
    script = rng.random()
    at = rng.randint(1, 9)
    parts, total = [source.running(rng, rng.randint(4, 30))], 0
    while total < length:
        point = form.format(at)
        parts.append(
            (point.translate(TO_KHMER) if script < 0.85 else point)
            + source.running(rng, rng.randint(6, 40))
        )
        total = sum(map(len, parts))
        at += 1
    return " ".join(parts)


def abbreviation(source: Source, rng: random.Random, length: int) -> str:
    def insert() -> str:
        mark = rng.choice((".", ".", ".", ". "))
        text = mark.join(rng.choices(CONSONANTS, k=rng.randint(2, 5))) + rng.choice((".", ".", ""))
        return rng.choice((text, f"({text})", f"( {text} )"))

    return mix(source, rng, length, insert)


def religious(source: Source, rng: random.Random, length: int) -> str:
    start = rng.choice(("", "៙ ", "៙", "« ", ""))
    end = rng.choice(("៚", " ៚", "៕", "៕៚", " ។ ៚", "៕~", "។៚"))
    return start + source.running(rng, max(1, length - 5)) + end


def symbols(source: Source, rng: random.Random, length: int) -> str:
    def part() -> str:
        roll = rng.random()
        if roll < 0.3:
            return "".join(rng.choices(OTHERS.replace(" ", ""), k=rng.randint(1, 5)))
        if roll < 0.5:
            return (
                "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(1, 5)))
                + rng.choice(("", "-"))
                + digits(rng, rng.randint(1, 4))
            )
        if roll < 0.7:
            return script(rng, digits(rng, rng.randint(1, 8)), 0.5)
        return source.word(rng)

    return fill(part, min(length, 40), lambda: " ")


def spaced_letters(source: Source, rng: random.Random, length: int) -> str:
    """Running text whose spaces stand where typists also put them: around signs, or nowhere."""
    text = source.running(rng, length)
    roll = rng.random()
    if roll < 0.4:
        return text.replace(" ", "")
    if roll < 0.7:
        return re.sub(" ?([។៖ៗ?!])", r" \1 ", text)
    return re.sub(" ?([។៖ៗ?!]) ?", r"\1", text)


def repeated_words(source: Source, rng: random.Random, length: int) -> str:
    """A few words over and over: attention must keep its place where a line resembles itself."""
    words = [source.word(rng) for _ in range(rng.randint(1, 5))]
    gap = rng.choice(["", "", "\u200b", " ", " ", ", ", " និង", "-", " ៖ "])
    text = rng.choice(words)
    while len(text) < length:
        text += (gap if rng.random() < 0.9 else " ") + rng.choice(words)
    return text


SENTENCE_KINDS: dict[str, Kind] = {
    "running": running,
    "sentence_end": sentence_end,
    "words": several_words,
    "single_word": single_word,
    "clusters": several_clusters,
    "list_item": list_item,
    "heading": heading,
    "letterhead": letterhead,
    "latin_in_text": latin_in_text,
    "latin": latin,
    "enclosed": enclosed,
    "repetition": repetition,
    "repeated_words": repeated_words,
    "field": form_field,
    "abbreviation": abbreviation,
    "enumeration": enumeration,
    "religious": religious,
    "symbols": symbols,
    "spacing": spaced_letters,
}
