"""Text lines by kind: what stands on Cambodia's paper, cut and mixed as typists do.

Every kind is a function (draw, length) -> raw text; `TextSource.line` brings it to canonical form,
keeps the longest stretch that can be drawn and read unambiguously, and cuts it to length.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from dataclasses import dataclass, field

from khmer_fast.data.corpus import Corpus
from khmer_fast.data.form_texts import FORM_KINDS
from khmer_fast.data.mixture import TextMixture
from khmer_fast.text import COENG, DEFAULT_CHARSET, canonical, clusters

CONSONANTS = "".join(chr(code) for code in range(0x1780, 0x17A3))
INDEPENDENT_VOWELS = "".join(chr(code) for code in range(0x17A5, 0x17B4))
VOWELS = "".join(chr(code) for code in range(0x17B6, 0x17C6))
SIGNS = "\u17c6\u17cb\u17cd\u17ce\u17cf\u17d0"
RARE_SIGNS = "\u17d1\u17d3\u17dd"
SHIFTERS = "\u17c9\u17ca"
ROBAT = "\u17cc"
KHMER_DIGITS = "០១២៣៤៥៦៧៨៩"
_TO_KHMER = str.maketrans("0123456789", KHMER_DIGITS)

_others = "".join(c for c in DEFAULT_CHARSET if not "\u1780" <= c <= "\u17d3" and c != "\u17dd")
# A cluster that every font draws without a dotted circle, and that can be read back; or any
# other character of the charset.
_drawable = re.compile(
    f"(?:[{CONSONANTS}{INDEPENDENT_VOWELS}]{ROBAT}?(?:{COENG}[{CONSONANTS}]){{0,3}}[{SHIFTERS}]?"
    f"[{VOWELS}]?(?:[{SIGNS}{RARE_SIGNS}](?![{SIGNS}{RARE_SIGNS}])|\u17c6\u17cb)?[\u17c7\u17c8]?"
    f"(?![\u17b6-\u17d3\u17dd])|[{re.escape(_others)}])+"
)
_break = re.compile("([\u200b \n\xa0]+|(?<=[។៕])(?!ល))")

MONTHS = "មករា កុម្ភៈ មីនា មេសា ឧសភា មិថុនា កក្កដា សីហា កញ្ញា តុលា វិច្ឆិកា ធ្នូ".split()
LUNAR_MONTHS = "មិគសិរ បុស្ស មាឃ ផល្គុន ចេត្រ ពិសាខ ជេស្ឋ អាសាឍ ស្រាពណ៍ ភទ្របទ អស្សុជ កត្តិក".split()
ANIMALS = "ជូត ឆ្លូវ ខាល ថោះ រោង ម្សាញ់ មមី មមែ វក រកា ច កុរ".split()
STEMS = "ឯកស័ក ទោស័ក ត្រីស័ក ចត្វាស័ក បញ្ចស័ក ឆស័ក សប្តស័ក អដ្ឋស័ក នព្វស័ក សំរឹទ្ធិស័ក".split()
DAYS = "ចន្ទ អង្គារ ពុធ ព្រហស្បតិ៍ សុក្រ សៅរ៍ អាទិត្យ".split()
PLACES = (
    "ភ្នំពេញ សៀមរាប បាត់ដំបង កំពង់ចាម កំពត កណ្តាល តាកែវ ព្រៃវែង ស្វាយរៀង ពោធិ៍សាត់ កំពង់ធំ "
    "កំពង់ស្ពឺ កំពង់ឆ្នាំង ក្រចេះ មណ្ឌលគិរី រតនគិរី ស្ទឹងត្រែង ព្រះវិហារ ប៉ៃលិន កែប កោះកុង ព្រះសីហនុ "
    "បន្ទាយមានជ័យ ឧត្តរមានជ័យ ត្បូងឃ្មុំ"
).split()
UNITS = (
    "រៀល ដុល្លារ ដុល្លារអាមេរិក នាក់ គ្រួសារ ហិកតា គីឡូម៉ែត្រ គីឡូក្រាម តោន ម៉ែត្រ ភាគរយ ឆ្នាំ ថ្ងៃ ម៉ោង ក្បាល លីត្រ % $ ៛"
).split()
ARTICLES = "មាត្រា ប្រការ ជំពូក កថាខណ្ឌ ចំណុច ផ្នែក វគ្គ ទំព័រ តារាង រូបភាព ឧបសម្ព័ន្ធ មេរៀន".split()
DOCUMENTS = "អនក្រ.បក ប្រ.ក ស.ស.រ សជណ នស/រកម ប.រ.ក សរ.ប្រក អយក លស ហវ.ប្រក".split()
FIELDS = (
    "ឈ្មោះ ភេទ អាយុ សញ្ជាតិ មុខរបរ អាសយដ្ឋាន ទូរស័ព្ទ ទូរសារ អ៊ីម៉ែល គេហទំព័រ លេខ "
    "ថ្ងៃខែឆ្នាំកំណើត ទីកន្លែង កាលបរិច្ឆេទ ប្រធានបទ កម្មវត្ថុ យោង ចំណាំ សរុប តម្លៃ"
).split()
MINISTRIES = (
    (
        "ព្រះបរមរាជវាំង ផែនការ បរិស្ថាន សុខាភិបាល ព័ត៌មាន ទេសចរណ៍ យុត្តិធម៌ មុខងារសាធារណៈ ការពារជាតិ "
        "កិច្ចការនារី អភិវឌ្ឍន៍ជនបទ រៀបចំដែនដី|នគរូបនីយកម្ម|និងសំណង់ អប់រំ|យុវជន|និងកីឡា សាធារណការ|និងដឹកជញ្ជូន "
        "កសិកម្ម|រុក្ខាប្រមាញ់|និងនេសាទ វប្បធម៌|និងវិចិត្រសិល្បៈ សេដ្ឋកិច្ច|និងហិរញ្ញវត្ថុ ធនធានទឹក|និងឧតុនិយម "
        "រ៉ែ|និងថាមពល ធម្មការ|និងសាសនា ការងារ|និងបណ្តុះបណ្តាលវិជ្ជាជីវៈ ពាណិជ្ជកម្ម អធិការកិច្ច "
        "សង្គមកិច្ច|អតីតយុទ្ធជន|និងយុវនីតិសម្បទា"
    )
    .replace("|", "\xa0")
    .split(" ")
)
STATE = (
    "ព្រះរាជាណាចក្រកម្ពុជា", "ព្រះរាជាណាចក្រកម្ពុជា", "ព្រះរាជាណាចក្រកម្ពុជា", "ព្រះរាជាណាចក្រ",
    "ជាតិ សាសនា ព្រះមហាក្សត្រ", "ជាតិ សាសនា ព្រះមហាក្សត្រ", "ជាតិ  សាសនា  ព្រះមហាក្សត្រ",
    "រាជរដ្ឋាភិបាលកម្ពុជា", "រាជរដ្ឋាភិបាល", "រដ្ឋសភា", "ព្រឹទ្ធសភា", "ក្រុមប្រឹក្សាធម្មនុញ្ញ",
    "ទីស្តីការគណៈរដ្ឋមន្ត្រី", "ទីស្តីការ", "ធនាគារជាតិនៃកម្ពុជា", "សេចក្តីជូនដំណឹង", "សេចក្តីណែនាំ",
    "សេចក្តីប្រកាសព័ត៌មាន", "សេចក្តីសម្រេច", "ប្រកាស", "អនុក្រឹត្យ", "ព្រះរាជក្រឹត្យ", "ព្រះរាជក្រម", "ច្បាប់",
    "លិខិតបង្គាប់ការ", "លិខិតបញ្ជាក់", "លិខិតអញ្ជើញ", "សារាចរណែនាំ", "សារាចរ", "កំណត់ហេតុ", "របាយការណ៍",
    "កិច្ចសន្យា", "ពាក្យស្នើសុំ", "បង្កាន់ដៃ", "ស្តីពី", "មាតិកា", "អារម្ភកថា", "សូមគោរពជូន", "សូមជម្រាបជូន",
    "បានឃើញរដ្ឋធម្មនុញ្ញនៃព្រះរាជាណាចក្រកម្ពុជា", "យើងខ្ញុំសូមគោរពជូន", "នាយករដ្ឋមន្ត្រី", "រដ្ឋលេខាធិការ",
    "ព្រះករុណា ព្រះបាទសម្តេច ព្រះបរមនាថ", "អភិបាលនៃគណៈអភិបាល", "សូមលោកអភិបាលមេត្តាទទួលនូវការគោរព",
    "ចម្លងជូន៖", "កន្លែងទទួល៖", "ដើម្បីជ្រាប", "ឯកសារ-កាលប្បវត្តិ", "ហត្ថលេខា និងត្រា",
)  # fmt: skip
OPENERS = (
    "ក្រសួង", "មន្ទីរ", "នាយកដ្ឋាន", "រដ្ឋបាល", "សាលា", "អគ្គនាយកដ្ឋាន", "វិទ្យាស្ថាន", "ក្រុមហ៊ុន",
    "អគ្គលេខាធិការដ្ឋាន", "ការិយាល័យ", "សាលារាជធានី", "សាលាខេត្ត", "សាលាដំបូង", "វិទ្យាល័យ", "សាកលវិទ្យាល័យ",
    "មន្ទីរពេទ្យ", "វត្ត", "សមាគម",
)  # fmt: skip
DOMAINS = "gov.kh com.kh edu.kh org.kh com org net info io".split()
MAILS = "gmail.com yahoo.com hotmail.com outlook.com".split()
ROLES = "info contact admin office hr sales support moi press".split()
PATHS = "news about index.html contact km en article?id= 2024/05 download/file.pdf product".split()
SYLLABLES = (
    "ka ko kim chan sok dara rith thy vann pich sam nang phal roth srey heng ly mey sovan "
    "bora leak makara tep seng chea mon net tech data bank news web cam asia home shop pay top pro "
    "in er on al tion is re st ex ed ment ing com an or ab di ma no tr pl qu wh z j x w v"
).split()
CLOSERS = (
    "។",
    "។",
    "។",
    "។",
    " ។",
    " ។",
    "៕",
    " ៕",
    "៖",
    " ៖",
    "!",
    "?",
    " ?",
    ",",
    "…",
    "។ល។",
    " ។ល។",
    ";",
    "៕៚",
    "៚",
)


@dataclass(frozen=True)
class Line:
    """A canonical text and the kind that made it."""

    text: str
    kind: str


@dataclass
class TextSource:
    """Draws lines of text; `dropped` counts what was cut away, by reason."""

    corpus: Corpus
    mixture: TextMixture
    dropped: Counter = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self._kinds = list(self.mixture.kinds)
        self._kind_weights = _cumulative(self.mixture.kinds.values())
        self._length_weights = _cumulative(entry.weight for entry in self.mixture.lengths)
        self._running_weights = _cumulative(self.corpus.running_weights)
        self._word_weights = _cumulative(self.corpus.word_weights)

    def line(self, rng: random.Random) -> Line:
        """One canonical line, of no more characters than the longest range of lengths; empty
        with the chance of a blank line."""
        if rng.random() < self.mixture.blank:
            return Line("", "blank")
        kind = rng.choices(self._kinds, cum_weights=self._kind_weights)[0]
        entry = rng.choices(self.mixture.lengths, cum_weights=self._length_weights)[0]
        return Line(self.text(rng, kind, rng.randint(entry.low, entry.high)), kind)

    def text(self, rng: random.Random, kind: str, length: int) -> str:
        """One canonical text of a kind, at most `length` characters and never empty."""
        for _ in range(20):
            text = self._clean(KINDS[kind](self, rng, length), length)
            if text:
                return text
        self.dropped["line"] += 1
        return rng.choice(CONSONANTS)

    def _clean(self, raw: str, length: int) -> str:
        """Canonical form, the longest drawable stretch of it, cut at a cluster to `length`."""
        text = canonical(raw)
        if not text or not _drawable.fullmatch(text):
            stretches = [match.group() for match in _drawable.finditer(text)]
            if not stretches:
                return ""
            self.dropped["stretch"] += 1
            text = max(stretches, key=len).strip()
        if len(text) > length:
            text = _cut(text, length)
        return text

    def running(self, rng: random.Random, length: int) -> str:
        """A window of running text, from a natural or unnatural place to another."""
        text = rng.choices(self.corpus.running, cum_weights=self._running_weights)[0]
        at = rng.randrange(len(text))
        window = text[at : at + 3 * length + 60]
        natural = rng.random() < self.mixture.natural_cut
        if natural:
            start = _break.search(window)
            window = window[start.end() :] if start else window
        if rng.random() < 0.9 or len(window.split("\n", 1)[0]) < length // 2:
            window = window.replace("\n", " ")
        else:
            window = window.split("\n", 1)[0]
        if not natural or rng.random() < 0.3:
            return _cut(canonical(window), length)
        pieces, total = [], 0
        for piece in _break.split(window):
            size = len(piece) - piece.count("\u200b")
            if pieces and total + size > length:
                break
            pieces.append(piece)
            total += size
        return "".join(pieces)

    def word(self, rng: random.Random) -> str:
        """One word, uniformly from a word list (so rare ones are common here)."""
        if not self.corpus.words:
            return cluster_word(rng)
        return rng.choice(rng.choices(self.corpus.words, cum_weights=self._word_weights)[0])

    def latin_run(self, rng: random.Random) -> str:
        """A Latin name, phrase or word as it stands in Khmer text."""
        if not self.corpus.latin or rng.random() < 0.15:
            return latin_word(rng)
        run = rng.choice(self.corpus.latin)
        if rng.random() < 0.6:
            words = run.split()
            run = " ".join(words[: rng.randint(1, 3)])
        return run.strip(" ()[]\"',;:-")


def _cumulative(weights) -> list[float]:
    total, sums = 0.0, []
    for weight in weights:
        total += weight
        sums.append(total)
    return sums


def _cut(text: str, length: int) -> str:
    """At most `length` characters of a canonical text, whole clusters, no space at the ends."""
    if len(text) <= length:
        return text.strip(" ")
    total, kept = 0, []
    for cluster in clusters(text):
        total += len(cluster)
        if total > length and kept:
            break
        kept.append(cluster)
    return "".join(kept).strip(" ")


def legal_cluster(rng: random.Random) -> str:
    """A random cluster that Khmer spelling allows: every consonant meets every subscript."""
    if rng.random() < 0.06:
        return rng.choice(INDEPENDENT_VOWELS)
    text = rng.choice(CONSONANTS)
    roll = rng.random()
    if roll < 0.04:
        text += ROBAT
    elif roll < 0.62:
        first = rng.choice(CONSONANTS)
        text += COENG + first
        if roll < 0.12 and first != "រ":
            text += COENG + rng.choice("យរវល")
    if rng.random() < 0.08:
        text += rng.choice(SHIFTERS)
    if rng.random() < 0.6:
        text += rng.choice(VOWELS)
    roll = rng.random()
    if roll < 0.12:
        text += rng.choice(SIGNS)
    elif roll < 0.16:
        text += rng.choice("\u17c7\u17c8")
    elif roll < 0.165:
        text += rng.choice(RARE_SIGNS)
    return text


def cluster_word(rng: random.Random) -> str:
    """One to four random clusters."""
    return "".join(legal_cluster(rng) for _ in range(rng.randint(1, 4)))


def latin_word(rng: random.Random) -> str:
    """A pronounceable Latin word, in one of the usual cases."""
    word = "".join(rng.choice(SYLLABLES) for _ in range(rng.randint(1, 4)))
    return rng.choice((word, word, word.capitalize(), word.upper()))


def digits(rng: random.Random, count: int) -> str:
    """`count` Arabic digits."""
    return "".join(rng.choices("0123456789", k=count))


def _script(rng: random.Random, text: str, khmer: float = 0.6) -> str:
    """The text with its digits in Khmer with a chance of `khmer`."""
    return text.translate(_TO_KHMER) if rng.random() < khmer else text


def _amount(rng: random.Random) -> str:
    count = rng.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9))
    number = int(digits(rng, count))
    mark = rng.choice((",", ",", ".", " ", ""))
    text = f"{number:,}".replace(",", mark)
    if rng.random() < 0.25:
        text += rng.choice(",.") + digits(rng, rng.randint(1, 2))
    return text


def _date(rng: random.Random) -> str:
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


def _phone(rng: random.Random) -> str:
    mark = rng.choice((" ", " ", "-", ".", ""))
    start = "0" + digits(rng, 2)
    rest = rng.choice((digits(rng, 6), mark.join((digits(rng, 3), digits(rng, 3)))))
    if rng.random() < 0.3:
        start = rng.choice(("(855) ", "+855 ", "(+855)", "855-")) + digits(rng, 2)
    text = f"{start}{mark}{rest}"
    return text + rng.choice(("", "", " / " + "0" + digits(rng, 8)))


def _number(rng: random.Random) -> str:
    """One number with what belongs to it."""
    roll = rng.random()
    if roll < 0.22:
        return _date(rng)
    if roll < 0.45:
        return _amount(rng) + rng.choice(("", " ")) + rng.choice(UNITS)
    if roll < 0.58:
        return (
            rng.choice(("ទូរស័ព្ទ", "ទូរស័ព្ទលេខ", "លេខទូរស័ព្ទ៖", "Tel:", "ទូរស័ព្ទ :", ""))
            + " "
            + _phone(rng)
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
        return rng.choice(("(", "")) + _amount(rng) + rng.choice((")", "%", " - " + _amount(rng)))
    return digits(rng, rng.randint(1, 16))


def _url(rng: random.Random) -> str:
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


def _fill(parts, length: int, between) -> str:
    """Parts until `length` characters are reached; `parts` and `between` are called for each."""
    text = parts()
    while len(text) < length:
        text += between() + parts()
    return text


def _mix(source: TextSource, rng: random.Random, length: int, insert) -> str:
    """Running text with something inserted at a space or an end."""
    inserted = insert()
    rest = max(1, length - len(inserted) - 2)
    at = rng.choice((0, rest, rng.randint(0, rest)))
    gap = rng.choice((" ", " ", " ", ""))
    left = source.running(rng, at) if at else ""
    right = source.running(rng, rest - at) if rest > at else ""
    return left + gap + inserted + gap + right


def _running(source: TextSource, rng: random.Random, length: int) -> str:
    return source.running(rng, length)


def _sentence_end(source: TextSource, rng: random.Random, length: int) -> str:
    return source.running(rng, max(1, length - 2)) + rng.choice(CLOSERS)


def _words(source: TextSource, rng: random.Random, length: int) -> str:
    mark = rng.choice(("", "", " ", " ", ", ", " និង", "-", " / "))
    return _fill(lambda: source.word(rng), length, lambda: mark)


def _single_word(source: TextSource, rng: random.Random, length: int) -> str:
    del length
    return source.word(rng)


def _clusters(source: TextSource, rng: random.Random, length: int) -> str:
    del source
    space = rng.choice((0.0, 0.3, 1.0))
    return _fill(lambda: cluster_word(rng), length, lambda: " " if rng.random() < space else "")


def _numbers(source: TextSource, rng: random.Random, length: int) -> str:
    del source
    mark = rng.choice((" ", " ", ", ", " និង ", " ដល់ ", "  "))
    return _script(
        rng, _fill(lambda: _number(rng), length if rng.random() < 0.5 else 1, lambda: mark)
    )


def _number_in_text(source: TextSource, rng: random.Random, length: int) -> str:
    return _mix(source, rng, length, lambda: _script(rng, _number(rng), 0.7))


def _table_cell(source: TextSource, rng: random.Random, length: int) -> str:
    del source, length
    return _script(
        rng,
        rng.choice(("", "", "$", "-", "(")) + _amount(rng) + rng.choice(("", "", "%", " ៛", ")")),
    )


def _list_item(source: TextSource, rng: random.Random, length: int) -> str:
    number = _script(rng, str(rng.randint(1, 40)), 0.7)
    mark = rng.choice((
        f"{number}.", f"{number}.", f"{number})", f"{number}-", f"({number})", f"{number}/",
        rng.choice(CONSONANTS) + ".", rng.choice(CONSONANTS) + ")", f"{rng.choice(CONSONANTS)}-",
        "-", "-", "- ", "–", "*", "»", f"{number}.{_script(rng, str(rng.randint(1, 9)))}",
        rng.choice("abcdABCD") + ".", rng.choice(("i", "ii", "iv", "v", "I", "IV")) + ".",
    ))  # fmt: skip
    return mark + rng.choice(("", " ", " ")) + source.running(rng, max(1, length - len(mark) - 1))


def _letterhead(source: TextSource, rng: random.Random, length: int) -> str:
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


def _heading(source: TextSource, rng: random.Random, length: int) -> str:
    roll = rng.random()
    if roll < 0.2:
        return _letterhead(source, rng, length)
    if roll < 0.4:
        return rng.choice(OPENERS) + source.word(rng)
    if roll < 0.55:
        return (
            rng.choice(ARTICLES)
            + "ទី"
            + _script(rng, str(rng.randint(1, 30)), 0.9)
            + rng.choice((" ", "៖ ", ". "))
            + source.running(rng, min(length, 30))
        )
    return source.running(rng, min(length, 45))


def _latin_in_text(source: TextSource, rng: random.Random, length: int) -> str:
    def insert() -> str:
        run = source.latin_run(rng)
        return rng.choice((run, run, f"({run})", f"({run})", f'"{run}"', f"“{run}”", run + ","))

    return _mix(source, rng, length, insert)


def _latin(source: TextSource, rng: random.Random, length: int) -> str:
    return _fill(
        lambda: source.latin_run(rng), length, lambda: rng.choice((" ", " ", " ", ", ", ". "))
    )


def _address(source: TextSource, rng: random.Random, length: int) -> str:
    def part() -> str:
        roll = rng.random()
        if roll < 0.3:
            name = rng.choice(
                ("", "អ៊ីម៉ែល៖ ", "E-mail: ", "Email: ", "e-mail : ", "គេហទំព័រ៖ ", "web: ", "Website: ")
            )
            return name + _url(rng)
        if roll < 0.55:
            name = rng.choice(("ទូរស័ព្ទ៖ ", "Tel: ", "ទូរស័ព្ទ : ", "Fax: ", "ទូរសារ ", "H/P: "))
            return name + _script(rng, _phone(rng), 0.4)
        if roll < 0.75:
            low = rng.choice(("ភូមិ", "ឃុំ", "សង្កាត់", "ស្រុក", "ខណ្ឌ")) + source.word(rng)
            return f"{low} {rng.choice(('ខេត្ត', 'រាជធានី'))}{rng.choice(PLACES)}"
        house = _script(rng, digits(rng, rng.randint(1, 3)), 0.5)
        street = _script(rng, digits(rng, rng.randint(2, 3)), 0.5)
        house = rng.choice(("ផ្ទះលេខ ", "អគារលេខ", "#", "No. ")) + house
        return f"{house} {rng.choice(('ផ្លូវលេខ', 'ផ្លូវ ', 'St. '))}{street}"

    return _fill(
        part,
        length if rng.random() < 0.6 else 1,
        lambda: rng.choice((" ", ", ", " / ", " | ", "  ")),
    )


def _url_in_text(source: TextSource, rng: random.Random, length: int) -> str:
    return _mix(source, rng, length, lambda: _url(rng))


def _enclosed(source: TextSource, rng: random.Random, length: int) -> str:
    left, right = rng.choice((
        ("(", ")"), ("(", ")"), ("( ", " )"), ("«", "»"), ("« ", " »"), ("“", "”"), ('"', '"'),
        ("‘", "’"), ("[", "]"), ("'", "'"), ("– ", " –"), ("— ", " —"),
    ))  # fmt: skip
    inner = rng.randint(1, max(1, length - 2))
    inside = source.running(rng, min(inner, 40)) if rng.random() < 0.7 else source.word(rng)
    return _mix(source, rng, length, lambda: left + inside + right)


def _repetition(source: TextSource, rng: random.Random, length: int) -> str:
    def insert() -> str:
        return source.word(rng) + rng.choice(("ៗ", "ៗ", " ៗ", "ៗ "))

    return _mix(source, rng, length, insert)


def _field(source: TextSource, rng: random.Random, length: int) -> str:
    mark = rng.choice(("៖", "៖ ", " ៖ ", ": ", " : ", ":"))
    if rng.random() < 0.15:
        return rng.choice(FIELDS) + mark + "." * rng.randint(3, 24)
    return rng.choice(FIELDS) + mark + source.running(rng, max(1, min(length, 60) - 10))


def _enumeration(source: TextSource, rng: random.Random, length: int) -> str:
    """Points counted inside a sentence, as decrees and reports do: `(១).` or `២)`."""
    form = rng.choice(("({})", "({}).", "({}). ", "{}) ", "{})", "{}- ", "{}. ", "({}) "))
    script = rng.random()
    at = rng.randint(1, 9)
    parts, total = [source.running(rng, rng.randint(4, 30))], 0
    while total < length:
        point = form.format(at)
        parts.append(
            (point.translate(_TO_KHMER) if script < 0.85 else point)
            + source.running(rng, rng.randint(6, 40))
        )
        total = sum(map(len, parts))
        at += 1
    return " ".join(parts)


def _abbreviation(source: TextSource, rng: random.Random, length: int) -> str:
    def insert() -> str:
        mark = rng.choice((".", ".", ".", ". "))
        text = mark.join(rng.choices(CONSONANTS, k=rng.randint(2, 5))) + rng.choice((".", ".", ""))
        return rng.choice((text, f"({text})", f"( {text} )"))

    return _mix(source, rng, length, insert)


def _religious(source: TextSource, rng: random.Random, length: int) -> str:
    start = rng.choice(("", "៙ ", "៙", "« ", ""))
    end = rng.choice(("៚", " ៚", "៕", "៕៚", " ។ ៚", "៕~", "។៚"))
    return start + source.running(rng, max(1, length - 5)) + end


def _symbols(source: TextSource, rng: random.Random, length: int) -> str:
    def part() -> str:
        roll = rng.random()
        if roll < 0.3:
            return "".join(rng.choices(_others.replace(" ", ""), k=rng.randint(1, 5)))
        if roll < 0.5:
            return (
                "".join(rng.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZ", k=rng.randint(1, 5)))
                + rng.choice(("", "-"))
                + digits(rng, rng.randint(1, 4))
            )
        if roll < 0.7:
            return _script(rng, digits(rng, rng.randint(1, 8)), 0.5)
        return source.word(rng)

    return _fill(part, min(length, 40), lambda: " ")


def _spaced_letters(source: TextSource, rng: random.Random, length: int) -> str:
    """Running text whose spaces stand where typists also put them: around signs, or nowhere."""
    text = source.running(rng, length)
    roll = rng.random()
    if roll < 0.4:
        return text.replace(" ", "")
    if roll < 0.7:
        return re.sub(" ?([។៖ៗ?!])", r" \1 ", text)
    return re.sub(" ?([។៖ៗ?!]) ?", r"\1", text)


def _repeated_words(source: TextSource, rng: random.Random, length: int) -> str:
    """A few words over and over: attention must keep its place where a line resembles itself."""
    words = [source.word(rng) for _ in range(rng.randint(1, 5))]
    gap = rng.choice(["", "", "\u200b", " ", " ", ", ", " និង", "-", " ៖ "])
    text = rng.choice(words)
    while len(text) < length:
        text += (gap if rng.random() < 0.9 else " ") + rng.choice(words)
    return text


KINDS = {
    "running": _running,
    "sentence_end": _sentence_end,
    "words": _words,
    "single_word": _single_word,
    "clusters": _clusters,
    "numbers": _numbers,
    "number_in_text": _number_in_text,
    "table_cell": _table_cell,
    "list_item": _list_item,
    "heading": _heading,
    "letterhead": _letterhead,
    "latin_in_text": _latin_in_text,
    "latin": _latin,
    "address": _address,
    "url_in_text": _url_in_text,
    "enclosed": _enclosed,
    "repetition": _repetition,
    "repeated_words": _repeated_words,
    "field": _field,
    "abbreviation": _abbreviation,
    "enumeration": _enumeration,
    "religious": _religious,
    "symbols": _symbols,
    "spacing": _spaced_letters,
    **FORM_KINDS,
}
