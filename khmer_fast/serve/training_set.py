"""Corrections of a service's data folder as a training set, whether it runs or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from khmer_fast.errors import OptionError
from khmer_fast.formats.files import NewFile
from khmer_fast.page.segment import Segmenter
from khmer_fast.serve.corrections import CorrectedLine, corrected_pages, image_name, labels
from khmer_fast.serve.jobs import source_of
from khmer_fast.serve.pictures import cut_lines, open_page, upright
from khmer_fast.serve.store import Store


def write_training_set(
    folder: Path, jobs: Sequence[str], out: Path, segmenter: str | None, overwrite: bool
) -> int:
    """Writes labels (`out`, a TSV) and the lines' pictures in a folder beside it; how many lines.

    `jobs` are ids of jobs; none means all of the data folder `folder`. Raises OptionError where
    there is no such folder, job or correction, FormatError if `out` is there already.
    """
    if not (folder / "jobs.sqlite").is_file():
        raise OptionError(f"{folder}: holds no jobs of khmer-fast serve; give its --data folder")
    store = Store(folder)
    try:
        rows = _written(store, folder, jobs, out, segmenter, overwrite)
    finally:
        store.close()
    return rows


def _written(
    store: Store, folder: Path, ids: Sequence[str], out: Path, segmenter: str | None,
    overwrite: bool,
) -> int:  # fmt: skip
    jobs = {job.id: job for job in store.jobs()}
    if unknown := [id for id in ids if id not in jobs]:
        raise OptionError(f"{folder}: has no job {unknown[0]}; without jobs, all are taken")
    network = Segmenter(segmenter)
    pictures = out.with_name(out.stem + "_images")
    rows: list[tuple[str, CorrectedLine]] = []
    with NewFile(out, overwrite) as file:
        pictures.mkdir(exist_ok=True)
        for id in ids or sorted(jobs):
            source = source_of(folder, jobs[id])
            for rotation, lines in corrected_pages(store, id):
                number = lines[0].page
                grey = upright(open_page(source, number), rotation)
                cut = cut_lines(grey, [line.box for line in lines], network)
                for i, (line, picture) in enumerate(zip(lines, cut, strict=True), 1):
                    name = image_name(id, number, i)
                    (pictures / name).write_bytes(picture)
                    rows.append((f"{pictures.name}/{name}", line))
        if not rows:
            raise OptionError(f"{folder}: no line of these jobs was corrected or accepted")
        file.write(labels(rows))
    return len(rows)
