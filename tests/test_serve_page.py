"""The web page in a real browser: the whole way of a document, by mouse, keyboard and phone."""

from __future__ import annotations

import io
import re
import signal
import zipfile
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from khmer_fast.text import clusters
from tests.page_browser import (
    ROOT,
    Service,
    area,
    axe,
    browser,
    docx_text,
    download,
    no_put,
    opened,
    pdf_text,
    saved,
    service,
    tab,
    texts,
    two_pages,
    type_text,
    until,
    values,
)  # fmt: skip

__all__ = ["axe", "browser", "service", "two_pages"]  # fixtures

CORRECTED = "សេចក្តីណែនាំ ២០២៦"
DOUBTED = {"text": "ព្រះរាជា", "certain": [0.2, 0.99, 0.6], "other": "ព្រាះរាជា"}


@pytest.fixture(scope="module")
def job(service: Service, browser: Any, two_pages: Path) -> str:
    """The two pages, sent by the page and read: the job's id."""
    with tab(browser, service) as page:
        page.goto(service.address)
        page.set_input_files("input[type=file][multiple]", two_pages)
        page.wait_for_selector(".job .progress i.reading, .job.done")
        page.wait_for_selector(".job.done", timeout=60_000)
        assert "2 pages" in page.inner_text(".job .state")
        assert page.inner_text(".job .name") == "two pages.pdf"
        href = page.get_attribute(".job .name", "href")
    return href.split("/")[1]


def doubt(service: Service, job: str, number: int = 2) -> None:
    """Gives a page one line with two doubted clusters, one of them with another reading."""

    def change(page: dict) -> None:
        region = page["regions"][0]
        line = region["lines"][0]
        left, top, right, bottom = line["box"]
        third = (right - left) // 3
        sure = zip(clusters(DOUBTED["text"]), DOUBTED["certain"], strict=True)
        line |= {"text": DOUBTED["text"], "confidence": 0.2, "flags": [], "words": []}
        line["characters"] = [
            {
                "text": text,
                "confidence": confidence,
                "box": [left + i * third, top, left + (i + 1) * third, bottom],
            }
            for i, (text, confidence) in enumerate(sure)
        ]
        line["alternatives"] = [{"text": DOUBTED["other"], "score": -1.0}]
        region["lines"] = [line]
        page["regions"] = [region]

    service.change(f"jobs/{job}/pages/{number}", change)


def test_the_whole_way(service: Service, browser: Any, job: str):
    """Click a line, correct it by keyboard, reload, download: the correction is everywhere."""
    with tab(browser, service, viewport={"width": 1440, "height": 900}) as page:
        opened(page, service, job)
        before = values(page)
        page.locator(".sheet .line").nth(3).click()
        assert area(page).input_value() == before[3]
        assert page.locator(".sheet .line.active").count() == 1
        type_text(page, CORRECTED)
        saved(page)
        page.reload()
        page.wait_for_selector(".text .line")
        assert values(page) == [*before[:3], CORRECTED, *before[4:]]
        docx = download(page, "Word")
        pdf = download(page, "Searchable PDF")
        corrections = download(page, "Corrected lines")
    assert CORRECTED in docx_text(docx)
    assert CORRECTED in pdf_text(pdf)
    with zipfile.ZipFile(io.BytesIO(corrections)) as archive:
        (labels,) = [name for name in archive.namelist() if name.endswith("labels.tsv")]
        assert CORRECTED in archive.read(labels).decode("utf-8")


def test_keyboard_alone(service: Service, browser: Any, job: str):
    """Next doubted cluster, accept, undo, redo, choose another reading: no mouse."""
    doubt(service, job)
    with tab(browser, service) as page:
        opened(page, service, job, 2)
        assert page.inner_text(".count") == "2 to check"
        page.keyboard.press("Alt+ArrowDown")
        selected = "a => a.value.slice(a.selectionStart, a.selectionEnd)"
        assert area(page).evaluate(selected) == "ព្រះ"
        assert "20 %" in page.inner_text(".choice[aria-selected=true]")
        page.keyboard.press("Enter")
        assert page.inner_text(".count") == "1 to check"
        assert area(page).evaluate(selected) == "ជា"
        page.keyboard.press("Control+z")
        assert page.inner_text(".count") == "2 to check"
        page.keyboard.press("Control+Shift+Z")
        assert page.inner_text(".count") == "1 to check"
        page.keyboard.press("Control+z")
        page.keyboard.press("Alt+ArrowUp")
        page.keyboard.press("Alt+ArrowUp")
        assert area(page).evaluate(selected) == "ព្រះ"
        page.keyboard.press("Alt+1")
        assert values(page) == [DOUBTED["other"]]
        assert page.inner_text(".count") == "1 to check"
        page.keyboard.press("Enter")
        assert page.inner_text(".count") == "Nothing left to check"
        saved(page)
        assert texts(service, job, 2) == [DOUBTED["other"]]
        for _ in range(2):
            page.keyboard.press("Control+z")
        assert values(page) == [DOUBTED["text"]]
        saved(page)
    assert texts(service, job, 2) == [DOUBTED["text"]]


def test_the_way_ahead_leads_to_the_next_page(service: Service, browser: Any, job: str):
    """Behind a page's last doubted cluster comes the next page's first."""
    doubt(service, job)
    with tab(browser, service) as page:
        opened(page, service, job)
        page.keyboard.press("Control+End")
        page.locator(".text textarea").last.focus()
        page.keyboard.press("End")
        page.keyboard.press("Alt+ArrowDown")
        page.wait_for_url("**/2")
        page.wait_for_selector(".choice")
        assert "20 %" in page.inner_text(".choice[aria-selected=true]")
        page.keyboard.press("Alt+PageUp")
        page.wait_for_url("**/1")


def test_arrows_choose_a_reading(service: Service, browser: Any, job: str):
    doubt(service, job)
    with tab(browser, service) as page:
        opened(page, service, job, 2)
        page.keyboard.press("Alt+ArrowDown")
        page.keyboard.press("ArrowDown")
        other = page.locator(".choice[aria-selected=true]")
        assert other.get_attribute("id") == area(page).get_attribute("aria-activedescendant")
        page.keyboard.press("Enter")
        assert values(page) == [DOUBTED["other"]]


def test_lines_split_join_move_and_go(service: Service, browser: Any, job: str):
    with tab(browser, service) as page:
        opened(page, service, job)
        before = values(page)
        at = before[1].index(" ")
        page.locator(".text textarea").nth(1).focus()
        for _ in range(at):
            page.keyboard.press("ArrowRight")
        page.evaluate(f"document.activeElement.setSelectionRange({at}, {at})")
        page.keyboard.press("Shift+Enter")
        parts = [before[1][:at], before[1][at:].strip()]
        assert values(page) == [before[0], *parts, *before[2:]]
        page.keyboard.press("Alt+Shift+ArrowUp")
        assert values(page)[1:3] == parts[::-1]
        page.keyboard.press("Alt+Shift+ArrowDown")
        page.keyboard.press("Home")
        page.keyboard.press("Backspace")
        assert values(page) == [before[0], " ".join(parts), *before[2:]]
        page.keyboard.press("Control+Shift+Delete")
        assert values(page) == [before[0], *before[2:]]
        saved(page)
        assert texts(service, job) == [before[0], *before[2:]]
        for _ in range(5):
            page.keyboard.press("Control+z")
        assert values(page) == before
        saved(page)
    assert texts(service, job) == before


def test_a_line_that_was_missed(service: Service, browser: Any, job: str):
    """Its box is drawn with the pointer, on the page turned by 90 degrees, and it is read."""
    with tab(browser, service, viewport={"width": 1440, "height": 900}) as page:
        opened(page, service, job)
        before = values(page)
        page.get_by_role("button", name="Show the whole page").click()
        page.get_by_role("button", name="Turn the view").click()
        line = page.locator(".sheet .line").nth(9)
        line.click()
        place = line.bounding_box()
        assert place["height"] > place["width"], "the line stands upright in the turned view"
        page.keyboard.press("Control+Shift+Delete")
        assert values(page) == before[:9] + before[10:]
        page.keyboard.press("Alt+n")
        page.mouse.move(place["x"] - 2, place["y"] - 3)
        page.mouse.down()
        page.mouse.move(place["x"] + place["width"] + 2, place["y"] + place["height"] + 3, steps=4)
        page.mouse.up()
        until(lambda: len(values(page)) == len(before))
        assert len(area(page).input_value()) > 10
        assert values(page).index(area(page).input_value()) == 9
        page.keyboard.press("Control+z")
        page.keyboard.press("Control+z")
        saved(page)


def test_keys_draw_a_box(service: Service, browser: Any, job: str):
    with tab(browser, service) as page:
        opened(page, service, job)
        count = len(values(page))
        page.keyboard.press("Alt+n")
        before = page.locator(".drawn").evaluate("r => [r.x.baseVal.value, r.width.baseVal.value]")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("Shift+ArrowLeft")
        after = page.locator(".drawn").evaluate("r => [r.x.baseVal.value, r.width.baseVal.value]")
        assert after == [before[0] + 8, before[1] - 8]
        page.keyboard.press("Escape")
        assert page.locator(".drawn").count() == 0
        page.keyboard.press("Alt+n")
        page.keyboard.press("Enter")
        until(lambda: len(values(page)) == count + 1)
        page.keyboard.press("Control+z")
        assert len(values(page)) == count
        saved(page)


def test_the_border_between_picture_and_text(service: Service, browser: Any, job: str):
    """It moves by keys, the picture follows it, and it is kept."""
    with tab(browser, service, viewport={"width": 1440, "height": 900}) as page:
        opened(page, service, job)
        width = "document.querySelector('.picture').clientWidth"
        before = page.evaluate(width)
        page.get_by_role("separator").focus()
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(width) == pytest.approx(before - 0.03 * 1440, abs=2)
        until(lambda: page.evaluate("document.querySelector('.sheet').clientWidth") < before - 40)
        page.reload()
        page.wait_for_selector(".text .line")
        assert page.evaluate(width) == pytest.approx(before - 0.03 * 1440, abs=2)


def set_text(index: int, text: str) -> Any:
    def change(page: dict) -> None:
        lines = [line for region in page["regions"] for line in region["lines"]]
        lines[index] |= {"text": text, "characters": [], "words": []}

    return change


def test_edits_of_two_people(service: Service, browser: Any, job: str):
    """Other lines merge by themselves; of a line that both changed, one text is chosen."""
    path = f"jobs/{job}/pages/1"
    with tab(browser, service) as page:
        opened(page, service, job)
        service.change(path, set_text(0, "ក"))
        page.locator(".text textarea").nth(1).focus()
        type_text(page, "ខ")
        until(lambda: values(page)[0] == "ក")
        saved(page)
        assert texts(service, job)[:2] == ["ក", "ខ"]
        for theirs, whose, expected in (("គ", "Here", "ង"), ("ឃ", "Elsewhere", "ឃ")):
            service.change(path, set_text(1, theirs))
            page.locator(".text textarea").nth(1).focus()
            type_text(page, "ង" if whose == "Here" else "ច")
            page.locator("dialog label", has_text=re.compile(f"^{whose}")).click()
            page.get_by_role("button", name="Save").click()
            saved(page)
            assert values(page)[:2] == texts(service, job)[:2] == ["ក", expected]


def test_the_service_goes_and_comes_back(service: Service, browser: Any, job: str):
    """What is typed meanwhile is kept, over a reload too, and saved by itself afterwards."""
    with tab(browser, service) as page:
        opened(page, service, job)
        with tab(browser, service) as list_of_documents:  # one that is being read is read again
            list_of_documents.goto(service.address)
            send = "input[type=file][multiple]"
            list_of_documents.set_input_files(send, ROOT / "examples" / "page.png")
            row = list_of_documents.locator(".job", has_text="page.png")
            row.wait_for()
            service.stop(signal.SIGKILL)
            list_of_documents.wait_for_selector("#away:not([hidden])")
            service.start()
            list_of_documents.wait_for_selector("#away[hidden]", state="attached")
            list_of_documents.locator(".job.done", has_text="page.png").wait_for()
        service.stop()
        page.locator(".text textarea").nth(2).focus()
        type_text(page, "នៅតែ")
        page.wait_for_selector(".save-state.away")
        service.start()
        saved(page)
        assert texts(service, job)[2] == "នៅតែ"
        page.route("**/v1/jobs/*/pages/1", no_put)
        type_text(page, "ទុក")
        page.wait_for_selector(".save-state.away")
        page.on("dialog", lambda dialog: dialog.accept())  # "leave this page?"
        page.reload()
        page.unroute("**/v1/jobs/*/pages/1")
        page.wait_for_selector(".text .line")
        saved(page)
        assert texts(service, job)[2] == "ទុក"
        page.route("**/v1/jobs/*/pages/1", no_put)
        page.locator(".text textarea").nth(2).focus()
        type_text(page, "ក្រោយ")
        page.goto(f"{service.address}#/")
        page.wait_for_selector(".notice.error")
        page.unroute("**/v1/jobs/*/pages/1")
        page.reload()
        page.wait_for_selector(".notice.info")
    assert texts(service, job)[2] == "ក្រោយ"


@pytest.mark.parametrize("width", [320, 390])
def test_no_sideways_scrolling_on_a_phone(service: Service, browser: Any, job: str, width: int):
    options = {"viewport": {"width": width, "height": 844}, "has_touch": True, "is_mobile": True}
    with tab(browser, service, **options) as page:
        for language in ("English", "ខ្មែរ"):
            page.goto(service.address)
            page.get_by_role("button", name=language).click()
            page.wait_for_selector(".job")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            opened(page, service, job)
            page.locator(".proof .next").tap()
            page.wait_for_selector(".text .line.active .strip")
            assert page.evaluate("document.documentElement.scrollWidth") == width
            right = "all => Math.max(...all.map(b => b.getBoundingClientRect().right))"
            assert page.eval_on_selector_all("button:not(.lines *), select", right) <= width


@pytest.mark.parametrize(("language", "scheme"), [("English", "light"), ("ខ្មែរ", "dark")])
def test_axe_finds_nothing_serious(
    service: Service, browser: Any, job: str, axe: str, language: str, scheme: str
):
    doubt(service, job)
    size = {"width": 1440, "height": 900} if scheme == "light" else {"width": 390, "height": 844}
    with tab(browser, service, color_scheme=scheme, viewport=size) as page:
        page.goto(service.address)
        page.get_by_role("button", name=language).click()
        page.locator("summary").click()
        page.wait_for_selector(".job")
        check(page, axe)
        opened(page, service, job, 2)
        page.keyboard.press("Alt+ArrowDown")
        page.wait_for_selector(".choice")
        check(page, axe)
        page.keyboard.press("F1")
        page.wait_for_selector("dialog[open]")
        check(page, axe)


def check(page: Any, axe: str) -> None:
    page.evaluate(axe)
    found = page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    serious = [
        f"{violation['id']}: {[node['html'][:200] for node in violation['nodes']]}"
        for violation in found
        if violation["impact"] in ("serious", "critical")
    ]
    assert not serious, "\n".join(serious)


def test_a_folder(service: Service, browser: Any, tmp_path: Path):
    """Each file that can be read is a document, the others are counted."""
    folder = tmp_path / "scans"
    (folder / "more").mkdir(parents=True)
    for name in ("a.png", "more/b.png"):
        Image.new("L", (300, 200), 255).save(folder / name)
    (folder / "notes.md").write_text("notes")
    with tab(browser, service) as page:
        page.goto(service.address)
        page.set_input_files("input[webkitdirectory]", folder)
        assert "One file" in page.inner_text(".notice")
        for name in ("a.png", "b.png"):
            page.locator(".job.done", has_text=name).wait_for()


def test_a_password(service: Service, browser: Any, two_pages: Path, tmp_path: Path):
    pikepdf = pytest.importorskip("pikepdf")
    locked = tmp_path / "locked.pdf"
    with pikepdf.open(two_pages) as pdf:
        pdf.save(locked, encryption=pikepdf.Encryption(owner="ខ្មែរ", user="ខ្មែរ"))
    with tab(browser, service) as page:
        page.goto(service.address)
        page.set_input_files("input[type=file][multiple]", locked)
        page.get_by_label("Password", exact=True).fill("wrong")
        page.get_by_role("button", name="Open").click()
        page.get_by_label("Password", exact=True).fill("ខ្មែរ")
        page.get_by_role("button", name="Open").click()
        page.locator(".job", has_text="locked.pdf").wait_for()
        assert page.locator(".upload").count() == 0


def test_names_and_texts_are_no_markup(service: Service, browser: Any, tmp_path: Path):
    name = "<img src=x onerror=document.title='no'>.png"
    Image.new("L", (300, 200), 255).save(tmp_path / "blank.png")
    with tab(browser, service) as page:
        page.goto(service.address)
        page.set_input_files(
            "input[type=file][multiple]",
            {
                "name": name,
                "mimeType": "image/png",
                "buffer": (tmp_path / "blank.png").read_bytes(),
            },
        )
        page.wait_for_selector(".job.done >> nth=0")
        row = page.locator(".job", has_text="onerror")
        row.locator(".name").click()
        page.wait_for_selector(".document .nothing")
        assert page.inner_text("h1") == name
        assert page.locator("main img").count() == 0
        assert page.title() != "no"
        page.goto(service.address)
        row.get_by_role("button", name="Delete").click()
        assert name in page.inner_text("dialog")
        page.locator("dialog .danger").click()
        row.wait_for(state="detached")


def test_files_that_cannot_be_read(service: Service, browser: Any):
    with tab(browser, service) as page:
        page.goto(service.address)
        page.set_input_files(
            "input[type=file][multiple]",
            [
                {"name": "notes.xyz", "mimeType": "text/plain", "buffer": b"notes"},
                {"name": "broken.pdf", "mimeType": "application/pdf", "buffer": b"%PDF-1.7 no"},
            ],
        )
        assert "left out" in page.inner_text(".notice")
        page.wait_for_selector(".upload.failed")
        assert re.search(r"Not sent: \w+", page.inner_text(".upload.failed"))
