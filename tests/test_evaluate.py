"""The verb `evaluate`, with a reader that stands in for the model."""

import json
import re
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from khmer_fast import cli
from khmer_fast.cli import evaluate as verb
from khmer_fast.errors import ImageError, KhmerFastError
from khmer_fast.evaluation import evaluate
from khmer_fast.evaluation.diagnosis import calibrate, reliability, repetition
from khmer_fast.evaluation.labels import Label, LabelError
from khmer_fast.evaluation.metrics import score
from khmer_fast.evaluation.predictions import Prediction, load_predictions, match_predictions
from khmer_fast.files.images import load_grey
from khmer_fast.text import Vocabulary
from khmer_fast.weights import save_weights
from python_ref.config import make_config
from python_ref.model import Model

LINES = [  # image, reference, kind, prediction
    ("a.png", "ព្រះរាជាណាចក្រកម្ពុជា", "scan", "ព្រះរាជាណាចក្រកម្ពុជា"),
    ("b.png", "ជាតិ សាសនា ព្រះមហាក្សត្រ", "scan", "ជាតិ សាសនា ព្រះមហាក្សត"),
    ("c.png", "", "photo", "ខខខខខខខខខខខខ"),
    ("d.png", "លេខ ១២៣ é", "photo", "លេខ ១២៤"),
]


@dataclass
class Part:
    text: str
    confidence: float


@dataclass
class FakeLine:
    text: str
    confidence: float
    characters: tuple
    truncated: bool
    box: tuple


class FakeReader:
    """Answers by file name; a broken image gives its error, as the real reader does."""

    def __init__(self, answers):
        self.answers = answers
        self.choice = type("Choice", (), {"device": "cpu", "backend": "fast", "dtype": "float32"})
        self.weights = type("Weights", (), {"charset": evaluate.DEFAULT_CHARSET})

    def read_many(self, images, on_error):
        assert on_error == "return"
        for image in images:
            try:
                height, width = load_grey(image).shape
            except ImageError as error:
                yield error
                continue
            text = self.answers[image.name]
            parts = tuple(Part(c, 0.9) for c in evaluate.canonical(text))
            yield FakeLine(text, 0.8, parts, text == "ខខខខខខខខខខខខ", (0, 0, width, height))


@pytest.fixture
def folder(tmp_path):
    rows = ["image\ttext\tkind"]
    for i, (name, text, kind, _) in enumerate(LINES):
        pixels = np.full((20 + 10 * i, 200), 255, np.uint8)
        pixels[8:12, 5:150] = 0
        Image.fromarray(pixels).save(tmp_path / name)
        rows.append(f"{name}\t{text}\t{kind}")
    (tmp_path / "labels.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return tmp_path


@pytest.fixture
def fake_reader(monkeypatch):
    answers = {name: prediction for name, _, _, prediction in LINES}
    monkeypatch.setattr(verb, "open_reader", lambda args: FakeReader(answers))


def run(capsys, *arguments):
    code = cli.main(["evaluate", *map(str, arguments)])
    return code, *capsys.readouterr()


def test_json_has_the_keys_of_the_specification(folder, fake_reader, capsys):
    code, out, _ = run(capsys, folder, "--json", "--confusions", 3, "--worst", 2)
    assert code == 0
    found = json.loads(out)
    expected = score([line[1] for line in LINES], [line[3] for line in LINES]).as_json()
    assert {key: found[key] for key in expected} == expected
    assert found["seconds"] > 0 and found["load_seconds"] >= 0
    assert found["lines_per_second"] == pytest.approx(4 / found["seconds"])
    assert found["unknown_characters"] == {"é": 1}
    assert [row["group"] for row in found["tables"]["kind"]] == ["photo", "scan"]
    assert sum(row["lines"] for row in found["tables"]["height"]) == 4  # of the lines' ink
    assert found["tables"]["length"][0]["group"] == "0"
    assert found["tables"]["length"][0]["cer"] is None
    assert [line["image"] for line in found["worst"]] == ["c.png", "d.png"]
    assert len(found["confusions"]["characters"]) == 3
    assert found["confusions"]["clusters"][0] == {"reference": "", "prediction": "ខ", "count": 12}
    assert found["hallucination"] == {
        "blank_lines": 1,
        "blank_lines_with_text": 1,
        "characters_on_blank_lines": 12,
        "insertions": found["insertions"],
        "insertions_per_1000": pytest.approx(1000 * found["insertions"] / found["characters"]),
        "loops": ["c.png"],
        "truncated": ["c.png"],
    }
    assert found["calibration"]["lines"]["expected_calibration_error"] == pytest.approx(0.55)


def test_text_answer(folder, fake_reader, capsys):
    code, out, _ = run(capsys, folder, "--confusions", 2, "--worst", 1)
    assert code == 0
    assert "by kind" in out and "by height" in out and "U+00E9" in out and "c.png" in out
    assert "expected error 55.00 % over 4 lines (perfect confidences would show" in out
    assert "clusters (perfect" in out


def test_bad_lines_stop_or_are_skipped_and_counted(folder, fake_reader, capsys):
    (folder / "b.png").write_bytes(b"no image")
    with open(folder / "labels.tsv", "a", encoding="utf-8") as file:
        file.write("gone.png\tក\tscan\n")
    code, out, err = run(capsys, folder)
    assert code == 1 and not out and "labels.tsv:6" in err and "gone.png" in err
    code, out, err = run(capsys, folder, "--skip-bad", "--json", "--html", folder / "r.html")
    found = json.loads(out)
    assert code == 0 and found["lines"] == 3
    assert [bad["where"].rpartition(":")[2] for bad in found["skipped"]] == ["6", "3"]
    assert "labels.tsv:3" in err and "labels.tsv:3" in (folder / "r.html").read_text("utf-8")


def test_all_lines_bad_is_an_error(folder, fake_reader, capsys):
    for name, *_ in LINES:
        (folder / name).write_bytes(b"no image")
    assert run(capsys, folder, "--skip-bad")[0] == 1


def test_usage_errors(capsys):
    with pytest.raises(SystemExit) as error:
        cli.main(["evaluate"])
    assert error.value.code == 2


def test_a_real_reader(folder, capsys):
    weights = folder / "tiny.safetensors"
    config = make_config("tiny", Vocabulary().size)
    torch.manual_seed(0)
    save_weights(weights, Model(config).state_dict(), config)
    options = ("--weights", weights, "--backend", "reference", "--beam", 1, "--json")
    code, out, _ = run(capsys, folder, *options)
    found = json.loads(out)
    assert code == 0 and found["lines"] == 4 and found["seconds"] > 0
    assert found["reader"]["backend"] == "reference"
    assert found["calibration"]["clusters"]["count"] > 0
    assert sum(row["lines"] for row in found["tables"]["height"]) == 4  # of the lines' ink


class Checker(HTMLParser):
    """Collects what a page loads and whether its tags are balanced."""

    def __init__(self):
        super().__init__()
        self.open, self.loads, self.images = [], [], 0

    def handle_starttag(self, tag, attrs):
        attrs = dict(attrs)
        self.loads += [attrs[name] for name in ("src", "href") if name in attrs]
        self.images += tag == "img"
        if tag not in ("meta", "img", "rect", "path", "circle", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in ("rect", "path", "circle"):
            assert self.open.pop() == tag


def test_report_stands_alone(folder, fake_reader, capsys):
    report = folder / "report.html"
    assert run(capsys, folder, "--html", report)[0] == 0
    page = report.read_text("utf-8")
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    assert checker.images == 3  # the exact line is none of the worst
    assert all(source.startswith("data:image/jpeg;base64,") for source in checker.loads)
    assert "<script" not in page and "@import" not in page and "url(" not in page
    assert '<span class="replace"><span>ត្រ</span><span>ត</span></span>' in page


def test_report_escapes_what_the_data_says(folder, capsys):
    (folder / "labels.tsv").write_text(
        "image\ttext\tkind\na.png\t<b>&\t<script>\n", encoding="utf-8"
    )
    (folder / "p.json").write_text('[{"image": "a.png", "text": "<script>alert(1)"}]')
    report = folder / "r.html"
    assert run(capsys, folder, "--predictions", folder / "p.json", "--html", report)[0] == 0
    assert "<script" not in report.read_text("utf-8")


def test_report_into_a_missing_folder_is_an_error(folder, fake_reader, capsys):
    assert run(capsys, folder, "--html", folder / "none" / "r.html")[0] == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_report_that_cannot_be_written_takes_no_scores_with_it(folder, fake_reader, capsys):
    code, out, err = run(capsys, folder, "--html", "/dev/full")
    assert code == 1 and "CER" in out and "/dev/full: cannot be written" in err


PREDICTIONS = {name: prediction for name, _, _, prediction in LINES}


@pytest.mark.parametrize(
    "document",
    [
        "image\ttext\n" + "".join(f"{n}\t{p}\n" for n, p in PREDICTIONS.items()),
        "text\tconfidence\timage\n" + "".join(f"{p}\t0.5\t{n}\n" for n, p in PREDICTIONS.items()),
        json.dumps(PREDICTIONS),
        json.dumps([{"image": n, "text": p} for n, p in PREDICTIONS.items()]),
        json.dumps([{"file": f"/far/{n}", "lines": [{"text": p}]} for n, p in PREDICTIONS.items()]),
        json.dumps({"results": [{"image": n, "prediction": p} for n, p in PREDICTIONS.items()]}),
    ],
)
def test_predictions_of_any_program(folder, capsys, document):
    (folder / "p").write_text(document, encoding="utf-8")
    code, out, _ = run(capsys, folder, "--predictions", folder / "p", "--json")
    assert code == 0
    found = json.loads(out)
    expected = score([line[1] for line in LINES], [line[3] for line in LINES])
    assert found["cer"] == expected.cer and found["seconds"] is None


@pytest.mark.parametrize(
    "document",
    [
        "[]",
        "{",
        "[1]",
        '[{"text": "a"}]',
        '[{"image": "a"}]',
        '[{"image": "a", "text": "b", "confidence": 2}]',
        '{"results": 5}',
        '[{"image": "a", "lines": 5}]',
        '[{"image": "a", "lines": [5]}]',
        '[{"image": "a", "text": "b", "characters": [5]}]',
        '[{"image": "a", "text": "b", "characters": [{"text": "b", "confidence": null}]}]',
        "image\tlabel\n",
    ],
)
def test_predictions_that_are_none(tmp_path, document):
    (tmp_path / "p").write_text(document)
    with pytest.raises(KhmerFastError, match=re.escape(str(tmp_path / "p"))):
        load_predictions(tmp_path / "p")


def test_missing_and_failed_predictions_are_bad_lines(folder, capsys):
    items = [{"image": "a.png", "text": "ក"}, {"file": "b.png", "error": "broken"}]
    (folder / "p.json").write_text(json.dumps(items))
    code, _, err = run(capsys, folder, "--predictions", folder / "p.json")
    assert code == 1 and "labels.tsv:3" in err and "broken" in err and "labels.tsv:4" in err


def test_file_names_that_stand_for_two_images_do_not_match(tmp_path):
    labels = [Label(tmp_path / "x" / "1.png", "", name="x/1.png", where="1"),
              Label(tmp_path / "y" / "1.png", "", name="y/1.png", where="2")]  # fmt: skip
    found = match_predictions(labels, [Prediction("/z/1.png", "ក")])
    assert [problem.where for problem in found] == ["1", "2"]
    with pytest.raises(KhmerFastError, match="two"):
        match_predictions(labels, [Prediction("x/1.png", "ក"), Prediction("x/1.png", "ខ")])


def test_compare(folder, capsys):
    for name, spoil in (("a", "ងងង"), ("b", "")):
        texts = {image: text + spoil for image, text in PREDICTIONS.items()}
        (folder / "p.json").write_text(json.dumps(texts))
        _, out, _ = run(capsys, folder, "--predictions", folder / "p.json", "--json")
        (folder / f"{name}.json").write_text(out)
    code, out, _ = run(capsys, "--compare", folder / "a.json", folder / "b.json", "--json")
    found = json.loads(out)
    assert code == 0 and found["verdict"] == "b" and found["interval"][1] < 0
    assert found["lines"] == 4
    code, out, _ = run(capsys, "--compare", folder / "b.json", folder / "b.json")
    assert code == 0 and "undecided" in out
    (folder / "c.json").write_text(
        '{"results": [{"image": "a", "reference": "", "prediction": ""}]}'
    )
    assert run(capsys, "--compare", folder / "a.json", folder / "c.json")[0] == 1
    assert run(capsys, "--compare", folder / "a.json", folder / "labels.tsv")[0] == 1


def test_reliability_of_honest_and_of_vain_confidence():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(size=20_000)
    honest = reliability(confidence, rng.uniform(size=20_000) < confidence)
    assert honest.expected_calibration_error < 0.02
    assert sum(count for _, _, count in honest.bins) == honest.count == 20_000
    vain = reliability([1.0] * 10, [True] * 6 + [False] * 4)
    assert vain.expected_calibration_error == pytest.approx(0.4)
    assert vain.bins == ((1.0, 0.6, 10),)
    assert vain.error_by_chance == 0 and honest.error_by_chance < 0.02


def test_few_lines_show_a_calibration_error_by_chance():
    coins = reliability([0.5] * 100, [True] * 50 + [False] * 50)
    assert coins.expected_calibration_error == 0
    deviation = (2 / np.pi) ** 0.5 * 0.05  # mean of |heads - 50| / 100, by the normal distribution
    assert coins.error_by_chance == pytest.approx(deviation, rel=0.15)


def evaluate_texts(lines):
    labels = [Label(None, reference, name=str(i)) for i, (reference, _, _) in enumerate(lines)]
    found = [Prediction("", text, confidence) for _, text, confidence in lines]
    return evaluate.evaluate("data", labels, found)


def test_setting_unsure_lines_aside():
    lines = [("កខគឃង", "កខគឃង", 0.9)] * 18 + [("កខគឃង", "ក", 0.1), ("កខគឃង", "កខគឃ", 0.2)]
    found = calibrate(evaluate_texts(lines).results)
    assert (found.set_aside, found.share_of_errors_set_aside, found.cer_of_the_rest) == (2, 1.0, 0)
    assert found.curve[0] == (0.05, 0.0) and found.curve[-1] == (1.0, pytest.approx(0.05))
    assert calibrate(evaluate_texts([("ក", "ក", None)]).results) is None


def test_an_empty_set_is_an_error():
    with pytest.raises(KhmerFastError):
        evaluate.evaluate("data", [], [])


@pytest.mark.parametrize(
    ("text", "length"), [("", 0), ("កកក", 0), ("កកកក", 4), ("សាសាសាសាសា", 10), ("១២៣៤៥", 0)]
)
def test_repetition(text, length):
    assert repetition(text) == length


def test_repetition_of_the_reference_is_no_loop():
    found = evaluate_texts([("មាតិកា" + "." * 30, "មាតិកា" + "." * 33, None)])
    assert found.hallucination.loops == ()


def test_label_errors_are_for_the_user():
    assert issubclass(LabelError, KhmerFastError)
