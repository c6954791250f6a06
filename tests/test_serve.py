"""The whole way through the service, with real requests: read, make a job, watch, correct, load."""

from __future__ import annotations

import html
import io
import json
import re
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pypdfium2")

from khmer_fast import formats
from khmer_fast.document import Document
from khmer_fast.formats.json import read as read_json
from khmer_fast.formats.json import read_page
from khmer_fast.page.page_reader import PageReader
from tests.support.pdfs import pdf_bytes
from tests.support.service import RunningService, wait_for

ROOT = Path(__file__).resolve().parents[1]
LINE = (ROOT / "examples" / "line.png").read_bytes()
PAGE = (ROOT / "examples" / "page.png").read_bytes()
NEW = "សាកល្បង ១២៣"
SMALL = {"text": "ក", "confidence": 1.0, "box": [0, 0, 9, 9]}


def text_pdf(pages: int) -> bytes:
    """Pages with three lines of Latin text."""
    return pdf_bytes(
        [
            b"BT /F1 24 Tf 20 300 Td (Page %d of this) Tj 0 -60 Td (Kingdom) Tj ET" % n
            for n in range(1, pages + 1)
        ]
    )


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with RunningService(tmp_path_factory.mktemp("serve") / "data") as service:
        yield service


@pytest.fixture(scope="module")
def reader():
    return PageReader(threads=1, n_best=5)


@pytest.fixture
def job(service) -> dict:
    """A job of the example page that was read."""
    made = service.make_job(PAGE, "letter.png")
    assert made.status_code == 201, made.text
    return service.finished(made.json()["id"])


def test_a_line_is_read_as_the_reader_reads_it(service, reader):
    answer = service.read(LINE, "line.png", layout="line")
    assert answer.status_code == 200 and answer.headers["content-type"] == "application/json"
    (line,) = read_json(answer.content).lines()
    (expected,) = PageReader(reader=reader.reader, layout="line").read(LINE).lines()
    assert line == expected


def test_a_page_is_read_as_the_page_reader_reads_it(service, reader):
    answer = service.read(PAGE, format="json")
    assert read_json(answer.content).pages == reader.read(PAGE).pages


@pytest.mark.parametrize("format", ["text", "markdown", "hocr", "alto", "csv"])
def test_small_files_are_answered_in_every_format(service, reader, format):
    answer = service.client.post(f"/v1/read?format={format}", files={"file": ("a.png", PAGE)})
    assert answer.headers["content-type"] == formats.FORMATS[format].media_type
    document = Document("a.png", reader.read(PAGE).pages)
    assert answer.content == formats.write(document, format)


def test_pages_of_a_pdf_are_chosen(service):
    answer = service.read(text_pdf(5), "law.pdf", pages="2,4-", format="json")
    assert [page.number for page in read_json(answer.content).pages] == [2, 4, 5]


def test_a_job_is_read_page_by_page(service):
    made = service.make_job(text_pdf(3), "../../etc/ច្បាប់.pdf")
    assert made.status_code == 201
    job = made.json()
    assert made.headers["location"] == f"/v1/jobs/{job['id']}"
    assert job["name"] == "ច្បាប់.pdf" and job["pages"] == 3
    assert [page["number"] for page in job["page_status"]] == [1, 2, 3]
    done = service.finished(job["id"])
    assert done["status"] == "done" and done["done"] == 3 and done["failed"] == 0
    assert all(p["revision"] == 1 and p["confidence"] > 0.5 for p in done["page_status"])
    assert service.client.get("/v1/jobs").json()["jobs"][0] == done
    page = read_page(_plain(service.client.get(f"/v1/jobs/{job['id']}/pages/2")))
    assert "Kingdom" in [line.text for line in page.lines()]


def _plain(answer) -> str:
    """A page's JSON without what the service adds."""
    record = answer.json()
    del record["revision"]
    return json.dumps(record)


def test_a_job_of_chosen_pages(service):
    job = service.make_job(text_pdf(6), "law.pdf", pages="5-6").json()
    assert [page["number"] for page in service.finished(job["id"])["page_status"]] == [5, 6]
    assert service.make_job(text_pdf(2), "law.pdf", pages="7-").json()["error"]["code"] == (
        "no_such_page"
    )
    assert service.make_job(text_pdf(2), "law.pdf", pages="x").status_code == 422


def test_the_same_request_makes_one_job(service):
    headers = {"Idempotency-Key": "upload-1"}
    answers = [
        service.client.post("/v1/jobs", files={"file": ("a.png", LINE)}, headers=headers)
        for _ in range(2)
    ]
    assert [answer.status_code for answer in answers] == [201, 200]
    assert answers[0].json()["id"] == answers[1].json()["id"]


def test_a_job_is_removed(service, job):
    folder = service.data / "jobs" / job["id"]
    assert folder.is_dir()
    assert service.client.delete(f"/v1/jobs/{job['id']}").status_code == 204
    assert not folder.exists()
    for method, path in (
        ("GET", ""), ("DELETE", ""), ("GET", "/events"), ("GET", "/pages/1"), ("GET", "/result"),
        ("GET", "/pages/1/image"), ("GET", "/corrections"),
    ):  # fmt: skip
        answer = service.client.request(method, f"/v1/jobs/{job['id']}{path}")
        assert answer.status_code == 404, path
        assert answer.json()["error"]["code"] == "not_found"


def test_a_job_is_removed_while_it_waits_and_is_read(service):
    jobs = [service.make_job(text_pdf(8), "law.pdf").json()["id"] for _ in range(2)]
    for id in reversed(jobs):
        assert service.client.delete(f"/v1/jobs/{id}").status_code == 204
    wait_for(lambda: "khmer_fast_queue_pages 0.0" in service.client.get("/metrics").text)
    assert service.read(LINE, layout="line").status_code == 200
    assert not any((service.data / "jobs" / id).exists() for id in jobs)


# ---- corrections ----


def page_of(service, job):
    return service.client.get(f"/v1/jobs/{job['id']}/pages/1")


def put(service, job, page, revision):
    headers = {} if revision is None else {"If-Match": f'"{revision}"'}
    return service.client.put(f"/v1/jobs/{job['id']}/pages/1", json=page, headers=headers)


def test_a_page_is_corrected(service, job):
    answer = page_of(service, job)
    assert answer.headers["etag"] == '"1"'
    page = answer.json()
    first = page["regions"][0]["lines"][0]
    first["text"] = NEW
    kept = put(service, job, page, 1)
    assert kept.status_code == 200 and kept.headers["etag"] == '"2"'
    assert kept.json() == page_of(service, job).json()
    line = kept.json()["regions"][0]["lines"][0]
    assert line["text"] == NEW and line["confidence"] == 1.0 and line["flags"] == []
    assert "".join(c["text"] for c in line["characters"]) == NEW
    assert [word["text"] for word in line["words"]] == NEW.split()
    left, top, right, bottom = line["box"]
    for word in line["words"]:
        assert left <= word["box"][0] < word["box"][2] <= right
    assert service.job(job["id"])["page_status"][0]["revision"] == 2
    for format in ("text", "docx", "pdf", "markdown", "alto"):
        result = service.client.get(f"/v1/jobs/{job['id']}/result?format={format}")
        assert result.status_code == 200
        assert result.headers["content-disposition"].startswith("attachment")
        if format in ("text", "markdown"):
            assert result.text.startswith(NEW)
        elif format == "docx":
            with zipfile.ZipFile(io.BytesIO(result.content)) as archive:
                runs = re.findall("<w:t[^>]*>([^<]*)", archive.read("word/document.xml").decode())
            assert NEW in html.unescape("".join(runs))
        elif format == "pdf":
            assert result.content.startswith(b"%PDF-")


def test_lines_are_split_joined_moved_and_added(service, job):
    page = page_of(service, job).json()
    first, second = [line for region in page["regions"] for line in region["lines"]][:2]
    middle = (first["box"][0] + first["box"][2]) // 2
    half = dict(first, text="ខ", box=[middle, *first["box"][1:]], words=[], characters=[])
    first = dict(first, text="ក", box=[*first["box"][:2], middle, first["box"][3]])
    missed = dict(text="គ", confidence=1.0, box=[1, 2, 30, 40])
    page["regions"] = [
        {"kind": "text", "box": [1, 2, 900, 900], "lines": [second, half, first, missed]}
    ]
    kept = put(service, job, page, 1)
    assert kept.status_code == 200, kept.text
    assert [line["text"] for line in kept.json()["regions"][0]["lines"]] == [
        second["text"], "ខ", "ក", "គ",
    ]  # fmt: skip


def test_only_the_stored_revision_is_corrected(service, job):
    page = page_of(service, job).json()
    assert put(service, job, page, None).status_code == 428
    assert put(service, job, page, 7).status_code == 412
    assert put(service, job, page, 1).status_code == 200
    late = put(service, job, page, 1)
    assert late.status_code == 412 and late.headers["etag"] == '"2"'
    assert late.json()["error"]["code"] == "other_revision"


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda page: page.update(number=2), "page.number"),
        (lambda page: page.update(width=5), "page.width"),
        (lambda page: page.update(colour="red"), "colour"),
        (lambda page: page["regions"][0].update(kind="poem"), "poem"),
        (lambda page: page["regions"][0]["lines"][0].update(text=7), "text"),
        (lambda page: page["regions"][0]["lines"][0].update(box=[5, 5, 1, 9]), "left <= right"),
        (lambda page: page["regions"][0]["lines"][0].update(box=[0, 0, 10**6, 9]), "on the page"),
        (lambda page: page["regions"][0]["lines"][0].update(confidence=1.5), "confidence"),
        (lambda page: page["regions"][0]["lines"][0].update(text="ក" * 20_000), "characters"),
        (lambda page: page["regions"][0].update(lines=[SMALL] * 5_001), "lines"),
    ],
)
def test_what_is_no_correction_is_refused(service, job, change, word):
    page = page_of(service, job).json()
    change(page)
    refused = put(service, job, page, 1)
    assert refused.status_code == 422 and refused.json()["error"]["code"] == "invalid_page"
    assert word in refused.json()["error"]["message"]
    assert page_of(service, job).json()["revision"] == 1


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b"[" * 100_000, b'{"number": NaN}'])
def test_what_is_no_page_is_refused(service, job, body):
    refused = service.client.put(
        f"/v1/jobs/{job['id']}/pages/1", content=body, headers={"If-Match": '"1"'}
    )
    assert refused.status_code == 422, refused.text


# ---- pictures ----


def test_the_picture_of_a_page(service, job):
    from PIL import Image

    answer = service.client.get(f"/v1/jobs/{job['id']}/pages/1/image?width=300")
    assert answer.headers["content-type"] == "image/jpeg"
    page = page_of(service, job).json()
    small = Image.open(io.BytesIO(answer.content))
    assert small.width == 300
    assert abs(small.height - page["height"] * 300 / page["width"]) <= 1
    whole = service.client.get(f"/v1/jobs/{job['id']}/pages/1/image")
    assert Image.open(io.BytesIO(whole.content)).size == (page["width"], page["height"])
    for width in ("0", "-1", "x", "1e9", "99999"):
        answer = service.client.get(f"/v1/jobs/{job['id']}/pages/1/image?width={width}")
        assert answer.status_code == 422
    assert service.client.get(f"/v1/jobs/{job['id']}/pages/2/image").status_code == 404


def test_a_page_that_lay_is_shown_upright(service):
    from PIL import Image

    file = io.BytesIO()
    Image.open(io.BytesIO(PAGE)).transpose(Image.Transpose.ROTATE_270).save(file, "PNG")
    job = service.finished(service.make_job(file.getvalue(), "turned.png").json()["id"])
    page = page_of(service, job).json()
    assert page["rotation"] == 90 and page["height"] > page["width"]
    picture = service.client.get(f"/v1/jobs/{job['id']}/pages/1/image?width=400").content
    upright = Image.open(io.BytesIO(PAGE)).convert("L")
    size = Image.open(io.BytesIO(picture)).size
    difference = [
        abs(a - b)
        for a, b in zip(
            upright.resize(size, Image.Resampling.BOX).tobytes(),
            Image.open(io.BytesIO(picture)).tobytes(),
            strict=True,
        )
    ]
    assert sum(difference) / len(difference) < 4


def test_a_box_is_read(service, job):
    line = page_of(service, job).json()["regions"][0]["lines"][0]
    left, top, right, bottom = line["box"]
    box = [left - 8, top - 4, right + 8, bottom + 4]
    answer = service.client.post(f"/v1/jobs/{job['id']}/pages/1/read", json={"box": box})
    assert answer.status_code == 200
    assert answer.json()["text"] == line["text"]
    assert abs(answer.json()["box"][0] - left) < 12
    for wrong in ([5, 5, 5, 9], [-1, 0, 5, 5], [0, 0, 5], [1, 2, "x", 4], [0, 0, 10**9, 5]):
        answer = service.client.post(f"/v1/jobs/{job['id']}/pages/1/read", json={"box": wrong})
        assert answer.status_code == 422, wrong
    outside = service.client.post(
        f"/v1/jobs/{job['id']}/pages/1/read", json={"box": [9000, 9000, 9100, 9100]}
    )
    assert outside.status_code == 422


# ---- events ----


def events(service, id: str, count: int, last: int | None = None) -> list[tuple[str, int, dict]]:
    """The first events of a job: kind, id, data."""
    headers = {} if last is None else {"Last-Event-ID": str(last)}
    found, fields = [], {}
    with service.client.stream("GET", f"/v1/jobs/{id}/events", headers=headers) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for row in answer.iter_lines():
            if row:
                name, _, value = row.partition(": ")
                fields[name] = value
            elif "event" in fields:
                found.append((fields["event"], int(fields["id"]), json.loads(fields["data"])))
                fields = {}
            if len(found) == count:
                break
    return found


def test_progress_is_told_as_it_comes(service):
    id = service.make_job(text_pdf(3), "law.pdf").json()["id"]
    told = events(service, id, 1)
    assert told[0][0] == "job" and told[0][2]["id"] == id
    service.finished(id)
    again = events(service, id, 4, last=0)
    assert [kind for kind, _, _ in again] == ["page", "page", "page", "job"]
    assert {data["number"] for kind, _, data in again if kind == "page"} == {1, 2, 3}
    assert again[-1][2]["status"] == "done"
    last = again[-2][1]
    page = service.client.get(f"/v1/jobs/{id}/pages/2").json()
    page["regions"][0]["lines"][0]["text"] = "ក"
    changed = service.client.put(f"/v1/jobs/{id}/pages/2", json=page, headers={"If-Match": '"1"'})
    assert changed.status_code == 200
    ((kind, _, data),) = events(service, id, 1, last=last)
    assert kind == "page" and data["number"] == 2 and data["revision"] == 2


# ---- the service itself ----


def test_it_tells_how_it_is(service):
    assert service.client.get("/health").json() == {"status": "ok"}
    assert service.client.get("/ready").json()["ready"] is True
    service.read(LINE, "line.png")
    service.read(b"nothing", "line.png")
    said = service.client.get("/metrics").text
    for name in (
        'khmer_fast_pages_total{status="done"}', "khmer_fast_queue_pages 0.0",
        'khmer_fast_stage_seconds_count{stage="read"}', "khmer_fast_workers_ready 1.0",
        'khmer_fast_errors_total{code="unreadable_file"}',
    ):  # fmt: skip
        assert name in said, name


def test_it_describes_itself(service):
    schema = service.client.get("/openapi.json").json()
    assert {"/v1/read", "/v1/jobs", "/v1/jobs/{id}/pages/{number}"} <= schema["paths"].keys()
    examples = schema["components"]["schemas"]["Job"]["examples"]
    assert examples[0]["page_status"]
    named = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)))
    assert {"Page", "Line", "Job"} <= named <= schema["components"]["schemas"].keys()


def test_logs_hold_no_text_and_no_names(service, job):
    wait_for(lambda: '"/v1/jobs/{id}"' in service.log.read_text())
    said = service.log.read_text()
    for line in said.splitlines():
        json.loads(line)
    assert "letter" not in said and "ជាតិ" not in said and NEW not in said
