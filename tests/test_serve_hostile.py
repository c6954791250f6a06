"""What strangers send to a service: each gets a sentence, and the service goes on for others."""

from __future__ import annotations

import io
import itertools
import signal
import socket
import threading
import time
import zlib
from pathlib import Path

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("pypdfium2")

import httpx
from PIL import Image

from tests.support.pdfs import image_bytes, pdf_bytes, picture
from tests.support.service import RunningService, alive, wait_for

ROOT = Path(__file__).resolve().parents[1]
LINE = (ROOT / "examples" / "line.png").read_bytes()
PDF = pdf_bytes([b"BT /F1 24 Tf 20 300 Td (Kingdom) Tj ET"])


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    options = ["--max-bytes", "1", "--max-pages", "3", "--host-name", "ocr.example"]
    with RunningService(tmp_path_factory.mktemp("hostile") / "data", *options) as service:
        yield service


@pytest.fixture(autouse=True)
def it_goes_on(service):
    """After each test the same worker still reads, no file is left, and no traceback was logged."""
    workers = service.workers()
    yield
    assert service.read(LINE, "line.png", layout="line").status_code == 200
    assert service.workers() == workers
    known = {job["id"] for job in service.client.get("/v1/jobs").json()["jobs"]}
    wait_for(lambda: {path.name for path in (service.data / "jobs").iterdir()} == known, 10)
    assert "Traceback" not in service.log.read_text(), service.log.read_text()[-3000:]


def error(answer: httpx.Response, status: int, code: str) -> str:
    """The message of an error of this status and code."""
    assert answer.status_code == status, answer.text
    said = answer.json()["error"]
    assert said["code"] == code
    assert "Traceback" not in said["message"] and "/data/jobs" not in said["message"]
    return said["message"]


# ---- files ----


def encrypted() -> bytes:
    import pikepdf

    return pdf_bytes([b""], encryption=pikepdf.Encryption(owner="o", user="key"))


def png_bomb() -> bytes:
    """A PNG that claims 60,000 x 60,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return len(data).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")

    size = (60_000).to_bytes(4, "big") * 2 + bytes([8, 0, 0, 0, 0])
    pixels = zlib.compress(bytes(10**6), 9)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", size) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def zip_bomb() -> bytes:
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb", bytes(50 * 2**20))
    return file.getvalue()


BAD_FILES = {
    "empty": b"",
    "text": b"no picture at all",
    "html": b"<html><script>alert(1)</script>",
    "truncated.png": LINE[: len(LINE) // 2],
    "truncated.pdf": PDF[:200],
    "bomb.png": png_bomb(),
    "bomb.zip": zip_bomb(),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_are_refused_at_once(service, name):
    error(service.read(BAD_FILES[name], name), 422, "unreadable_file")


@pytest.mark.parametrize("name", BAD_FILES)
def test_bad_files_become_no_job_or_a_failed_one(service, name):
    answer = service.make_job(BAD_FILES[name], name)
    if answer.status_code == 201:  # its head is whole: only reading tells
        job = service.finished(answer.json()["id"])
        assert job["status"] == "failed" and job["page_status"][0]["error"]
        assert "/data/jobs" not in job["page_status"][0]["error"]
        place = f"/v1/jobs/{job['id']}"
        error(service.client.get(f"{place}/pages/1"), 409, "page_failed")
        error(service.client.get(f"{place}/result"), 409, "no_pages")
        error(service.client.get(f"{place}/pages/1/image"), 422, "unreadable_file")
    else:
        error(answer, 422, "unreadable_file")


def test_encrypted_pdfs_ask_for_their_password(service):
    for send in (service.read, service.make_job):
        said = error(send(encrypted(), "law.pdf"), 422, "password_needed")
        assert "--password" not in said
        error(send(encrypted(), "law.pdf", password="wrong"), 422, "password_needed")
        assert send(encrypted(), "law.pdf", password="key").status_code in (200, 201)


def test_too_large_and_too_many(service):
    big = image_bytes(picture(3000, 2000).convert("RGB"), "BMP")
    error(service.make_job(big, "big.bmp"), 413, "too_large")
    chunked = service.client.post(  # without a length that gives it away
        "/v1/jobs", content=itertools.chain([part_head()], (b"x" * 2**16 for _ in range(64))),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
    )  # fmt: skip
    error(chunked, 413, "too_large")
    error(service.make_job(pdf_bytes([b""] * 4), "law.pdf"), 413, "too_many_pages")
    assert service.make_job(pdf_bytes([b""] * 4), "law.pdf", pages="2-4").status_code == 201
    error(service.read(pdf_bytes([b""] * 21), "law.pdf"), 413, "too_many_pages")
    page = f"/v1/jobs/{'0' * 24}/pages/1"
    long = service.client.put(page, content=b" " * (21 * 2**20), headers={"If-Match": '"1"'})
    error(long, 413, "too_large")


def test_pages_of_a_damaged_file_fail_alone(service):
    good, other = picture(300, 80, 1), picture(300, 80, 2)
    file = io.BytesIO()
    good.save(file, "TIFF", save_all=True, append_images=[other], compression="tiff_lzw")
    data = bytearray(file.getvalue())
    data[-400:-300] = bytes(100)
    answer = service.make_job(bytes(data), "two.tif")
    if answer.status_code == 201:
        job = service.finished(answer.json()["id"])
        assert job["page_status"][0]["status"] in ("done", "failed")


# ---- names and texts ----


@pytest.mark.parametrize(
    "name, shown",
    [
        ("../../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("<img src=x onerror=alert(1)>.png", "<img src=x onerror=alert(1)>.png"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("x" * 1000, "x" * 200 + "... (1,000 characters)"),
        ("/", "document"),
    ],
)
def test_names_are_shown_and_never_used(service, name, shown):
    job = service.make_job(LINE, name).json()
    assert job["name"] == shown
    folder = service.data / "jobs" / job["id"]
    service.finished(job["id"])
    result = service.client.get(f"/v1/jobs/{job['id']}/result?format=hocr")
    assert result.headers["content-disposition"].startswith("attachment")
    assert "\n" not in result.headers["content-disposition"]
    wait_for(lambda: [path.name for path in folder.iterdir()] == ["original"])
    assert "<img" not in result.text and "<script" not in result.text


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/../../etc/passwd",
        "/static//etc/passwd", "/v1/jobs/..%2f..%2fjobs.sqlite", "/v1/jobs/../../jobs.sqlite",
        "/v1/jobs/%00", "/v1/jobs/x'%20OR%201=1--/pages/1", "/static/%00",
    ],
)  # fmt: skip
def test_paths_lead_nowhere(service, path):
    with socket.create_connection(("127.0.0.1", service.port), 5) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        said = connection.recv(2**16)
    assert said.split()[1] in (b"404", b"400"), said[:300]
    assert b"import" not in said and b"root:" not in said


def test_answers_cannot_be_taken_for_pages(service):
    for answer in (
        service.client.get("/v1/jobs"),
        service.read(LINE, format="hocr"),
        service.client.get("/nothing"),
        service.client.get("/health", headers={"Host": "evil.example"}),
    ):
        assert answer.headers["x-content-type-options"] == "nosniff"
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy and "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy


# ---- who asks ----


@pytest.mark.parametrize(
    "host, ours",
    [
        ("localhost:1", True), ("127.0.0.1:80", True), ("[::1]:8000", True), ("ocr.example", True),
        ("192.168.1.7:8000", True), ("evil.example", False), ("localhost.evil.example", False),
        ("", False), ("[", False), ("ocr.example.", False), ("a@localhost@evil", False),
    ],
)  # fmt: skip
def test_only_our_own_names(service, host, ours):
    answer = service.client.get("/v1/jobs", headers={"Host": host})
    if ours:
        assert answer.status_code == 200
    else:
        error(answer, 421, "foreign_host")


@pytest.mark.parametrize(
    "headers, allowed",
    [
        ({}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://localhost.evil.example"}, False),
        ({"Origin": "http://localhost:81"}, False),
        ({"Origin": "null"}, False),
    ],
)
def test_other_sites_may_not_ask(service, headers, allowed):
    headers = {"Host": "localhost", **headers}
    for method, path in (
        ("POST", "/v1/read"), ("POST", "/v1/jobs"), ("DELETE", "/v1/jobs/x"), ("GET", "/v1/jobs"),
        ("PUT", "/v1/jobs/x/pages/1"), ("POST", "/v1/jobs/x/pages/1/read"),
    ):  # fmt: skip
        answer = service.client.request(method, path, headers=headers)
        if allowed:
            assert answer.status_code != 403
        else:
            error(answer, 403, "cross_site")
    assert "access-control-allow-origin" not in answer.headers


def test_with_a_key_nobody_asks_without_it(tmp_path):
    (tmp_path / "key").write_text("open sesame\n")
    options = ["--api-key-file", str(tmp_path / "key")]
    service = RunningService(tmp_path / "data", *options)
    try:
        service.wait_ready()
        get = service.client.get
        assert get("/health").status_code == 200
        for path in ("/", "/v1/jobs", "/metrics", "/openapi.json", "/static/x"):
            answer = get(path)
            error(answer, 401, "key_needed")
            assert answer.headers["www-authenticate"].startswith("Basic")
            error(get(path, headers={"Authorization": "Bearer open"}), 401, "key_needed")
            error(get(path, headers={"Authorization": "Basic !"}), 401, "key_needed")
        assert get("/v1/jobs", headers={"Authorization": "Bearer open sesame"}).status_code == 200
        assert get("/v1/jobs", headers={"X-API-Key": "open sesame"}).status_code == 200
        assert get("/v1/jobs", auth=("anyone", "open sesame")).status_code == 200
        assert "sesame" not in service.log.read_text()
    finally:
        service.kill()


# ---- how they ask ----


def connected(service, text: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", service.port), 40)
    connection.sendall(text)
    return connection


def part_head() -> bytes:
    return b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'


def upload_head(length: int) -> bytes:
    return (
        b"POST /v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n"
        b"Content-Type: multipart/form-data; boundary=b\r\n\r\n" % length
    ) + part_head()


def test_oversized_headers_are_refused(service):
    with connected(service, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000) as one:
        assert one.recv(100).split()[1] in (b"400", b"431")


@pytest.mark.parametrize("text", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET\r\n\r\n", b"\x00" * 999])
def test_what_is_no_http_is_refused(service, text):
    with connected(service, text + b"\r\n\r\n") as one:
        assert one.recv(100).split()[1] == b"400"


def test_slow_clients_wait_alone(service):
    began = time.monotonic()
    silent = connected(service, b"")
    dribbling = connected(service, b"GET / HTTP/1.1\r\n")
    stuck = connected(service, upload_head(5000))
    while time.monotonic() - began < 8:  # a byte a second is not fast enough for a head
        dribbling.sendall(b"X")
        assert service.read(LINE, "line.png").status_code == 200
        time.sleep(1)
    time.sleep(max(began + 11 - time.monotonic(), 0))
    with pytest.raises(OSError):  # it was reset
        silent.sendall(b"G")
        time.sleep(0.2)
        silent.sendall(b"G")
    dribbling.settimeout(10)
    with pytest.raises(OSError):
        while True:
            dribbling.sendall(b"X")
            time.sleep(0.2)
            assert time.monotonic() - began < 20
    assert stuck.recv(2000).split()[1] == b"408"
    for one in (silent, dribbling, stuck):
        one.close()


def test_an_upload_whose_client_went_away_is_cancelled(service):
    before = service.client.get("/v1/jobs").json()
    for _ in range(3):
        one = connected(service, upload_head(500_000) + b"x" * 100_000)
        time.sleep(0.2)
        one.close()
    time.sleep(0.5)
    assert service.client.get("/v1/jobs").json() == before


def test_nobody_reads_for_a_client_that_went_away(service):
    """Requests behind a busy worker are forgotten when their clients leave."""
    page = (ROOT / "examples" / "page.png").read_bytes()
    request = httpx.Request("POST", service.url + "/v1/read", files={"file": ("a.png", page)})
    body = request.read()
    head = (
        f"POST /v1/read HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n"
        f"Content-Type: {request.headers['content-type']}\r\n\r\n"
    ).encode()
    crowd = [connected(service, head + body) for _ in range(20)]
    time.sleep(0.3)
    for one in crowd:
        one.close()
    began = time.monotonic()
    assert service.read(LINE, "line.png", layout="line").status_code == 200
    wait_for(lambda: "khmer_fast_queue_requests 0.0" in service.client.get("/metrics").text)
    assert time.monotonic() - began < 60


def test_a_full_queue_says_when_to_come_again(tmp_path):
    page = (ROOT / "examples" / "page.png").read_bytes()
    answers: list[httpx.Response] = []
    with RunningService(tmp_path / "data", "--max-waiting", "2") as service:
        threads = [
            threading.Thread(target=lambda: answers.append(service.read(page))) for _ in range(12)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {answer.status_code for answer in answers} == {200, 429}
    refused = [answer for answer in answers if answer.status_code == 429]
    assert error(refused[0], 429, "queue_full")
    assert 1 <= int(refused[0].headers["retry-after"]) <= 600


def test_forms_without_what_they_need(service):
    for answer in (
        service.client.post("/v1/jobs"),
        service.client.post("/v1/jobs", data={"file": "no file"}),
        service.client.post("/v1/read", files={"file": ("a", LINE)}, data={"layout": "round"}),
        service.client.post("/v1/read?format=exe", files={"file": ("a", LINE)}),
        service.client.get(f"/v1/jobs/{service.make_job(LINE).json()['id']}/result?format=exe"),
    ):
        error(answer, 422, "invalid")
    broken = service.client.post(
        "/v1/jobs", content=b"--x", headers={"Content-Type": "multipart/form-data"}
    )
    assert broken.status_code in (400, 422) and broken.json()["error"]["message"]
    error(service.client.get("/nothing"), 404, "not_found")
    error(service.client.patch("/v1/jobs"), 405, "method_not_allowed")


def test_two_servers_do_not_share_a_folder(service):
    import subprocess
    import sys

    run = subprocess.run(
        [sys.executable, "-m", "khmer_fast", "serve", "--port", "0", "--data", str(service.data)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert run.returncode == 1 and "another khmer-fast serve" in run.stderr


def test_it_stops_when_told_and_takes_its_workers_along(tmp_path):
    service = RunningService(tmp_path / "data")
    service.wait_ready()
    workers = service.workers()
    assert len(workers) == 1
    with service.client.stream(
        "GET", "/v1/jobs/" + service.make_job(LINE).json()["id"] + "/events"
    ):
        assert service.stop() in (0, -signal.SIGTERM)
    wait_for(lambda: not any(map(alive, workers)), 10)


def test_a_picture_of_all_allowed_pixels_is_read(service):
    """As many pixels as a page may have, in a small file."""
    white = image_bytes(Image.new("1", (8000, 8000), 1), "PNG")
    assert service.read(white, "white.png").status_code == 200
    black = image_bytes(Image.new("1", (9000, 9000), 1), "PNG")
    assert "pixels" in error(service.read(black, "large.png"), 422, "unreadable_file")
