"""A running service and a headless browser on it, for the tests of the web page."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")
STARTED = 60.0  # seconds, at most, until a service answers


class Service:
    """`khmer-fast serve` in a process, with one worker and its jobs in `folder`."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, 0
        self.start()

    def start(self) -> None:
        """Starts it, again at the port that it had."""
        self.log = (self.folder.parent / "service.log").open("ab")
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "khmer_fast", "serve", "--workers", "1",
                "--port", str(self.port), "--data", str(self.folder),
            ],
            cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE, stderr=self.log, text=True,
        )  # fmt: skip
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("khmer-fast: http://"), f"expected the address, got {line!r}"
        self.port = int(line.rstrip("/\n").rpartition(":")[2])
        until = time.monotonic() + STARTED
        while not self._answers():
            assert time.monotonic() < until, f"no answer after {STARTED:.0f} s"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}health", timeout=5):
                return True
        except OSError:
            return False

    @property
    def address(self) -> str:
        """Where the page is, with the last slash."""
        return f"http://127.0.0.1:{self.port}/"

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        self.process.send_signal(how)
        self.process.wait(30)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.log.close()

    def call(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Any:
        """The JSON of an answer of `v1/PATH`."""
        data = None if body is None else json.dumps(body).encode()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(f"{self.address}v1/{path}", data, named, method=method)
        if data is not None:
            request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def change(self, path: str, change: Any) -> None:
        """Stores a page that `change` has edited in place."""
        page = self.call(path)
        revision = page.pop("revision")
        change(page)
        self.call(path, "PUT", page, If_Match=f'"{revision}"')


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service for the tests of a file."""
    for extra in ("fastapi", "uvicorn", "python_multipart", "prometheus_client"):
        pytest.importorskip(extra, reason="the service needs the extra `serve`")
    running = Service(tmp_path_factory.mktemp("service") / "jobs")
    yield running
    running.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven by playwright."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="needs pip install playwright")
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield running
        running.close()


@contextmanager
def tab(browser: Any, service: Service | str, **options: Any) -> Iterator[Any]:
    """An English page of the browser, which must ask no host but the service (or an address).

    Refusals of the service that a test provokes (412, or an answer that is not there) are none.
    """
    address = service if isinstance(service, str) else service.address
    context = browser.new_context(**{"locale": "en", "accept_downloads": True} | options)
    context.set_default_timeout(40_000)
    page = context.new_page()
    wrong: list[str] = []
    page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
    page.on("console", lambda m: wrong.append(m.text) if "Content Security" in m.text else None)
    page.on("request", lambda r: None if _own(r.url, address) else wrong.append(r.url))
    try:
        yield page
    finally:
        context.close()
    assert not wrong, wrong


def _own(url: str, address: str) -> bool:
    return url.startswith((address, "blob:", "data:"))


def opened(page: Any, service: Service, job: str, number: int = 1) -> None:
    """Shows a page of a document."""
    page.goto(f"{service.address}#/{job}/{number}")
    page.wait_for_selector(".text .line")


def saved(page: Any) -> None:
    """Waits until the edits are stored."""
    page.wait_for_selector(".save-state.saved")


def texts(service: Service, job: str, number: int = 1) -> list[str]:
    """The lines that the service has stored, those of tables left out."""
    page = service.call(f"jobs/{job}/pages/{number}")
    return [line["text"] for region in page["regions"] for line in region["lines"]]


def values(page: Any) -> list[str]:
    """The lines as they are shown."""
    return page.eval_on_selector_all(".text textarea", "all => all.map(area => area.value)")


def until(condition: Callable[[], bool], seconds: float = 40) -> None:
    """Waits for a condition: `wait_for_function` needs eval, which the page forbids."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still not so after {seconds:.0f} s"
        time.sleep(0.05)


def area(page: Any) -> Any:
    """The text area of the line at the cursor."""
    return page.locator(".text .line.active textarea")


def type_text(page: Any, text: str) -> None:
    """Replaces the line at the cursor by the keyboard."""
    page.keyboard.press("Control+A")
    page.keyboard.insert_text(text)


def download(page: Any, name: str) -> bytes:
    """The file that a command of the menu of downloads gives."""
    page.get_by_role("button", name="Download").click()
    with page.expect_download() as waiting:
        page.get_by_role("menuitem", name=name).click()
    return Path(waiting.value.path()).read_bytes()


def docx_text(data: bytes) -> str:
    """The paragraphs of a Word document."""
    docx = pytest.importorskip("docx")
    return "\n".join(paragraph.text for paragraph in docx.Document(io.BytesIO(data)).paragraphs)


def pdf_text(data: bytes) -> str:
    """The text that pdfium finds in a PDF."""
    pdfium = pytest.importorskip("pypdfium2")
    document = pdfium.PdfDocument(data)
    return "\n".join(page.get_textpage().get_text_range() for page in document)


def no_put(route: Any) -> None:
    """A route by which nothing can be saved."""
    route.abort() if route.request.method == "PUT" else route.continue_()


@pytest.fixture(scope="session")
def two_pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PDF of two scanned pages."""
    images = [Image.open(ROOT / "examples" / name).convert("L") for name in ("page.png",) * 2]
    second = images[1].crop((0, 700, 1188, 1754))
    path = tmp_path_factory.mktemp("pdf") / "two pages.pdf"
    images[0].save(path, save_all=True, append_images=[second], resolution=150)
    return path


@pytest.fixture(scope="session")
def axe() -> str:
    """axe-core's source: the file that KHMER_FAST_AXE names, or that of axe-playwright-python."""
    if named := os.environ.get("KHMER_FAST_AXE"):
        return Path(named).read_text("utf-8")
    package = importlib.util.find_spec("axe_playwright_python")
    if package is None or package.origin is None:
        pytest.skip("needs axe-core: pip install axe-playwright-python")
    return Path(package.origin).with_name("axe.min.js").read_text("utf-8")
