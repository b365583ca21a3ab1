"""An index that comes from somebody else: its files are data, whatever stands in them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.retrievers.errors import IndexFault, InputError, RagError
from ragwright.retrievers.index import Index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.lock import writer_lock
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.trust import resolve_class_with, resolve_reference
from ragwright.retrievers.types import Document

DIMENSION = 64


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sent") / "index"
    texts = (Document(f"d{n}", f"The apple number {n}.") for n in range(20))
    ingest(texts, folder, IndexSettings(embedder="hash"))
    (folder / "sums.json").unlink()  # whoever changes a file can make its checksum fit
    return folder


@pytest.fixture
def index(sent: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sent, tmp_path / "index"))


def asked(folder: Path) -> int:
    with closing(Index(folder)) as index:
        found = index.dense("apple 7", 5)
        index.maxsim("apple 7", list(found))
        assert index.keyword("apple 7", 5)
        return len(index.passages(list(found)))


class Planted:
    """What runs a command where it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.abort, ()


def array(values: Any) -> bytes:
    held = io.BytesIO()
    np.save(held, values, allow_pickle=True)
    return held.getvalue()


def claimed(kind: str, shape: tuple[int, ...]) -> bytes:
    """The rotation's bytes behind a header that says something else of them."""
    held = io.BytesIO()
    head = {"descr": kind, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(held, head)
    return held.getvalue() + bytes(4 * DIMENSION * DIMENSION)


ROTATIONS = {
    "pickled": array(np.array([Planted()] * 4000, dtype=object)),
    "archive": b"PK\x03\x04" + bytes(20_000),
    "larger than memory": claimed("<f4", (10**9, 10**9)),
    "texts larger than memory": claimed("<U1000000", (DIMENSION, 10**7)),
    "doubles": array(np.eye(DIMENSION)),
    "records": array(np.zeros((DIMENSION, DIMENSION), dtype=[("a", "<f4")])),
    "short": array(np.zeros((2, 2), dtype=np.float32)),
    "nothing": b"",
}


@pytest.mark.parametrize("rotation", ROTATIONS)
def test_a_rotation_that_is_none_is_refused(index: Path, rotation: str) -> None:
    (index / "rotation.npy").write_bytes(ROTATIONS[rotation])
    with pytest.raises(RagError, match="rotation"):
        asked(index)


@pytest.mark.parametrize(
    "name", ["stamp.json", "sums.json", "rotation.npy", "keyword/meta.json", "tokens-0.bin"]
)
def test_a_pipe_is_not_waited_for_nor_a_device_read(index: Path, name: str) -> None:
    for put in (os.mkfifo, lambda file: file.symlink_to("/dev/zero")):
        (index / name).unlink(missing_ok=True)
        put(index / name)
        with pytest.raises(RagError, match="no plain file"):
            asked(index)


@pytest.mark.parametrize(
    "name",
    ["stamp.json", "sums.json", "rotation.npy", "keyword/meta.json", "keyword/analysis.json",
     "tokens-0.bin", "vectors.bin", "ledger.sqlite", "writer.json"],
)  # fmt: skip
def test_a_file_of_a_terabyte_is_not_read(index: Path, name: str) -> None:
    """It takes hardly a block of the disk, and more memory than there is."""
    (index / name).touch()
    os.truncate(index / name, 1 << 40)
    with contextlib.suppress(RagError):
        assert asked(index) == 5


NOTES = {
    "deep sums": ("sums.json", "[" * 100_000),
    "sums of no numbers": ("sums.json", '{"rotation": {"rotation.npy": [1e400, 0, 1]}}'),
    "a sum of a device": ("sums.json", '{"keyword": {"/dev/zero": [0, 0, 0]}}'),
    "deep analysis": ("keyword/analysis.json", "[" * 100_000),
    "analysis of other kinds": ("keyword/analysis.json", '{"version": 1e400, "languages": [7]}'),
}


@pytest.mark.parametrize("note", NOTES)
def test_a_note_that_cannot_be_read_says_nothing(index: Path, note: str) -> None:
    name, text = NOTES[note]
    (index / name).write_text(text)
    with contextlib.suppress(RagError):
        assert asked(index) == 5


ENDLESS = "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r)"
LEDGERS = {
    "view": ["ALTER TABLE chunks RENAME TO kept",
             f"CREATE VIEW chunks AS {ENDLESS} SELECT kept.* FROM kept, r"],
    "trigger": ["CREATE TRIGGER t AFTER INSERT ON chunks BEGIN DELETE FROM chunks; END"],
    "no JSON": ["UPDATE chunks SET metadata = '[1'"],
    "no table": ["UPDATE chunks SET metadata = '[1]'"],
    "deep": [f"UPDATE chunks SET metadata = '{'[' * 50_000}'"],
    "strange": ["UPDATE chunks SET id = 'x' || id"],
}  # fmt: skip


@pytest.mark.parametrize("ledger", LEDGERS)
def test_a_ledger_that_runs_or_says_something_else_is_refused(index: Path, ledger: str) -> None:
    with closing(sqlite3.connect(index / "ledger.sqlite")) as file, file:
        for statement in LEDGERS[ledger]:
            file.execute(statement)
    with pytest.raises(RagError):
        asked(index)


def restamped(index: Path, change: Callable[[dict[str, Any]], None]) -> None:
    file = index / "stamp.json"
    stamp = json.loads(file.read_text())
    change(stamp)
    file.write_text(json.dumps(stamp))


@pytest.mark.parametrize(
    "named", ["os:abort", "builtins:breakpoint", "ragwright.retrievers.ingest:ingest"]
)
def test_nothing_is_called_on_the_word_of_an_index(index: Path, named: str) -> None:
    """All of these have been imported by somebody; the first would end this process."""
    restamped(index, lambda stamp: stamp["settings"].update(embedder=named))
    with pytest.raises(InputError, match=r"not allowed|no class|lacks"):
        asked(index)
    kind, name = named.split(":")
    restamped(
        index,
        lambda stamp: stamp["settings"].update(embedder="hash", store=f"{kind}:{name}:x#chunks"),
    )
    with pytest.raises(InputError, match=r"not allowed|no class|lacks"):
        asked(index)


def test_a_class_is_a_part_if_it_has_what_a_part_has() -> None:
    here = f"{__name__}:Planted"
    assert resolve_reference(here) is Planted
    assert resolve_class_with(here, "__reduce__") is Planted
    with pytest.raises(InputError, match="lacks encode"):
        resolve_class_with(here, "encode")


def test_as_it_was_sent_it_answers(index: Path) -> None:
    assert asked(index) == 5


@pytest.mark.parametrize("note", ["[]", "[" * 100_000, "", '{"pid": 1}', "\xff"])
def test_whoever_writes_is_unknown_where_the_note_says_nothing(path: Path, note: str) -> None:
    with writer_lock(path):
        (path / "writer.json").write_text(note, encoding="latin-1")
        with pytest.raises(IndexFault, match="not yet said which"), writer_lock(path):
            pass
