"""What a resume puts right in a run folder: a lost or damaged manifest, history or best model.

Each function says what it did in words, or None if there was nothing to do.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from khmer_fast.train import history
from khmer_fast.train.checkpoint import Unverified, checkpoint_position, load_verified
from khmer_fast.train.manifest import Entry, Manifest, file_digest, new_run_id
from khmer_fast.train.run_folder import Loaded, RunFolder, Writer


def mend_manifest(folder: RunFolder, backup: RunFolder | None = None) -> str | None:
    """Makes a manifest that is missing or damaged again from the checkpoints that are whole.

    The run's identity is that of its checkpoints, else of its backup: a new one would make the
    run's own backup another run's.
    """
    if folder.read_manifest() is not None:
        return None
    run: str | None = None
    files: dict[str, Entry] = {}
    for path in (*folder.checkpoints(), folder.best_path):
        with contextlib.suppress(Unverified):
            _, stamp, held = load_verified(path, None)
            if stamp is not None or checkpoint_position(path.name):
                files[path.relative_to(folder.path).as_posix()] = held
            if stamp is not None and run is None:
                run = stamp.run
    source = "its checkpoints"
    if run is None and backup is not None:
        run, source = backup.run_id(), f"its backup {backup.path}"
    if run is None:
        run, source = new_run_id(), "nowhere: it has a new one, and needs a new --backup"
    folder.write_manifest(Manifest(run, files))
    return (
        f"{folder.manifest_path} was missing or damaged: made again, with {len(files)} files that "
        f"are whole; the run's identity comes from {source}"
    )


def mend_history(folder: RunFolder) -> str | None:
    """Makes history.jsonl again where it is missing or damaged: what is whole, and history.csv."""
    path = folder.path / history.RECORDS
    content = path.read_bytes() if path.is_file() else None
    records, damage = history.split_lines((content or b"").decode("utf-8", "replace"))
    if records != sorted(records, key=history.place):
        damage.append("its records are out of order")
    table = folder.path / history.TABLE
    rows = []
    if damage or content is None:
        if table.is_file():
            rows = history.from_table(table.read_bytes().decode("utf-8", "replace"))
        known = {history.place(record) for record in records}
        rows = [row for row in rows if history.place(row) not in known]
    if not damage and not rows:
        return None
    if content is not None:
        folder.write(f"{history.RECORDS}.set_aside", content)
    history.History(folder, sorted([*records, *rows], key=history.place)).write()
    if content is None:
        return f"{path} was missing: {len(rows)} records made again from {history.TABLE}"
    return (
        f"{path} was damaged ({damage[0]}; {len(damage)} in all): {len(records)} records were "
        f"whole, {len(rows)} made again from {history.TABLE}; the damaged file is {path.name}"
        ".set_aside"
    )


def mend_best(
    folder: RunFolder,
    loaded: Loaded,
    fits: Callable[[dict[str, Any]], str | None],
    writer_of: Callable[[dict[str, Any]], Writer],
) -> str | None:
    """Makes best_model.pth and best_model.safetensors again where one does not verify.

    From what is left of the best one, else from the checkpoint that was loaded. `writer_of(state)`
    gives what writes the weights of a state.
    """
    files = folder.manifest().files
    entries = {
        path: files.get(path.relative_to(folder.path).as_posix())
        for path in (folder.best_path, folder.best_weights_path)
    }
    lost = [path.name for path, entry in entries.items() if not _verifies(path, entry)]
    if not lost:
        return None
    said = f"{' and '.join(lost)} missing or damaged"
    best = entries[folder.best_path] or entries[folder.best_weights_path]
    kept = [
        path
        for path in folder.checkpoints()
        if best is not None and checkpoint_position(path.name) == best.position
    ]
    for path in (folder.best_path, *kept):
        with contextlib.suppress(Unverified):
            state, _, held = load_verified(path, entries.get(path))
            if fits(state) is None:
                whole = path == folder.best_path  # only its weights are to be made
                writer = writer_of(state)
                folder.save_best(None if whole else state, held.epoch, held.step, writer)
                return f"{said}: made again from {path.name}"
    if folder.best_weights_path.name not in lost:
        return f"{said}; {folder.best_weights_path.name} stands, and a better one replaces it"
    folder.save_best(loaded.state, loaded.epoch, loaded.step, writer_of(loaded.state))
    return f"{said}: {loaded.path.name} stands in for the best one, until a better one comes"


def _verifies(path: Path, entry: Entry | None) -> bool:
    try:
        return entry is not None and entry.mismatch(*file_digest(path)) is None
    except OSError:
        return False
