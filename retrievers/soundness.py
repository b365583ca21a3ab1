"""Finds files of an index that are not as they were committed, before a library reads them.

The keyword index and Chroma's graph are files that only libraries read, some of which take damage
for data and some of which end the process. Their checksums are taken at every commit. Knows which
files a part has, not what is in them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
from contextlib import closing
from pathlib import Path

import numpy as np

from ragwright.retrievers import keyword_damage
from ragwright.retrievers.bounded_read import read_bounded
from ragwright.retrievers.errors import DamagedStore, IndexFault
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.ledger import Ledger
from ragwright.retrievers.lock import is_being_written
from ragwright.retrievers.stamp import Stamp
from ragwright.retrievers.stores import base, trial
from ragwright.retrievers.stores.chroma_damage import graph_files
from ragwright.retrievers.sums import IndexChecksums
from ragwright.retrievers.token_codes import draw_rotation

log = logging.getLogger(__name__)

STORE, KEYWORD, ROTATION = "store", "keyword", "rotation"
SOME = 20
"""Chunks that are looked up to tell whether a keyword index is this index's."""
KeywordMark = frozenset[tuple[str, int, int, int]]
"""The files of a keyword index: name, inode, size in bytes, time of writing in nanoseconds."""
_SEGMENT = re.compile(r"[0-9a-f]{32}\..+")
"""tantivy writes these once; the others (`meta.json`, locks) it writes again and again."""


def keyword_files(folder: Path) -> list[Path]:
    """Return the files of the keyword index that are written once."""
    return [file for file in (folder / "keyword").glob("*") if _SEGMENT.fullmatch(file.name)]


def note_keyword_index(sums: IndexChecksums, folder: Path) -> None:
    """Note the keyword index as it is, after a commit."""
    sums.take(KEYWORD, keyword_files(folder), immutable=True)


def note_vector_store(sums: IndexChecksums, folder: Path, stamp: Stamp) -> None:
    """Note the vector store as it is, once it is closed; only Chroma has files to be judged."""
    sums.take(STORE, _graphs(stamp, folder))


def note_all_parts(sums: IndexChecksums, folder: Path, stamp: Stamp) -> None:
    """Note every part as it is, once all of them are closed."""
    note_keyword_index(sums, folder)
    note_vector_store(sums, folder, stamp)
    sums.take(ROTATION, [folder / "rotation.npy"])


def damaged_index_files(folder: Path) -> dict[str, list[str]]:
    """Return the damaged files of each part that has some, having read all of them."""
    sums = IndexChecksums(folder)
    found = {part: sums.damaged(part, thorough=True) for part in (STORE, ROTATION)}
    found[KEYWORD] = _damaged_keyword(sums, folder, thorough=True)
    return {part: files for part, files in found.items() if files}


def keyword_mark(folder: Path) -> KeywordMark:
    """Return what changes when a file of the keyword index is written; nothing if it is gone."""
    try:
        with os.scandir(folder / KEYWORD) as entries:
            files = {one.name: one.stat() for one in entries if not one.name.startswith(".")}
    except OSError:  # one that was tidied away meanwhile is seen the next time
        return frozenset()
    if "meta.json" not in files:
        return frozenset()
    return frozenset((n, one.st_ino, one.st_size, one.st_mtime_ns) for n, one in files.items())


def check_belongs(keyword: KeywordIndex, ledger: Ledger, folder: Path) -> None:
    """Make sure that a keyword index that was just opened is that of the ledger beside it.

    A chunk enters the keyword index before it is live, and is dead before it leaves it: so it holds
    every live chunk, and none that the ledger does not know.

    Raises:
        DamagedStore: It lacks chunks, or holds others.
    """
    live, held = ledger.counts()[1], keyword.count
    if (
        live
        and (held < live or is_foreign_keyword_index(keyword, ledger))
        and not is_being_written(folder)
    ):
        raise keyword_damage.damaged_keyword_index(
            folder / KEYWORD,
            f"it holds {held} chunks, {live} were written, and it may be another's",
        )


def is_foreign_keyword_index(keyword: KeywordIndex, ledger: Ledger) -> bool:
    """Tell whether a keyword index holds chunks, but none that the ledger knows."""
    some = keyword.some_ids(SOME)
    return bool(some) and not ledger.known(some)


def check_keyword(folder: Path) -> None:
    """Make sure that the keyword index can be read as it was written.

    Raises:
        DamagedStore: A file is not what was committed.
    """
    if files := _damaged_keyword(IndexChecksums(folder), folder, thorough=False):
        raise keyword_damage.damaged_keyword_index(folder / KEYWORD, f"{_some(files)} changed")


def check_store(folder: Path, stamp: Stamp) -> None:
    """Make sure that a vector store does not end this process, if its files changed.

    Raises:
        DamagedStore: It fails in a process of its own.
    """
    files = IndexChecksums(folder).damaged(STORE, thorough=False)
    place, dimension = stamp.store(folder), stamp.identity.dimension
    if files and (problem := trial.try_store(place, dimension)):
        raise base.damaged_store(place, f"{_some(files)} changed, and {problem}")


def check_rotation(folder: Path) -> None:
    """Make sure that token vectors are read as they were written.

    Raises:
        IndexFault: The rotation is another one.
    """
    if IndexChecksums(folder).damaged(ROTATION, thorough=True):
        raise IndexFault(
            f"The rotation {str(folder / 'rotation.npy')!r} is damaged.",
            hint="Run `rag index repair`.",
        )


def clear_damage(sums: IndexChecksums, folder: Path, stamp: Stamp, *, thorough: bool) -> bool:
    """Make way for writing an index anew where it is damaged.

    A damaged keyword index is deleted; a damaged rotation is drawn again. From now on the vector
    store's files are not judged: they are being written.

    Returns:
        Whether the vector store has to be emptied: its files are not what was committed, or a crash
        left them in an unknown state, and searching them fails.

    Raises:
        IndexFault: The rotation cannot be had again.
    """
    if _damaged_keyword(sums, folder, thorough=thorough) or not _readable(folder / KEYWORD):
        log.warning("The keyword index %r is damaged, and is written anew.", str(folder / KEYWORD))
        shutil.rmtree(folder / KEYWORD, ignore_errors=True)
    if sums.damaged(ROTATION, thorough=thorough):
        np.save(folder / "rotation.npy", draw_rotation(stamp.identity.dimension))
        if sums.damaged(ROTATION, thorough=True):
            raise IndexFault(
                f"The rotation of {str(folder)!r} is damaged, and this machine draws another one.",
                hint="Build the index again.",
            )
    broken = _store_broken(sums, folder, stamp, thorough=thorough)
    sums.forget(STORE)
    return broken


def _damaged_keyword(sums: IndexChecksums, folder: Path, *, thorough: bool) -> list[str]:
    """Return the damaged files; one that is gone is damage only where its segment is in use."""
    found = [folder / name for name in sums.damaged(KEYWORD, thorough=thorough)]
    gone = [file for file in found if not file.exists()]
    if gone:
        used = _segments_in_use(folder / KEYWORD)
        merged = {f for f in gone if f.suffix == ".del" or f.name.partition(".")[0] not in used}
        found = [file for file in found if file not in merged]
    return [os.path.relpath(file, folder) for file in found]


def _segments_in_use(keyword: Path) -> set[str]:
    try:
        table = json.loads(read_bounded(keyword / "meta.json"))
        return {str(one["segment_id"]).replace("-", "") for one in table["segments"]}
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return set()


def _readable(keyword: Path) -> bool:
    """Tell whether the keyword index can be opened; one that is not there yet can be made."""
    if not keyword.is_dir():
        return True
    try:
        with closing(KeywordIndex(keyword, create=True)) as index:
            return index.count >= 0
    except DamagedStore:
        return False


def _store_broken(sums: IndexChecksums, folder: Path, stamp: Stamp, *, thorough: bool) -> bool:
    place = stamp.store(folder)
    if sums.covers(STORE):
        return bool(sums.damaged(STORE, thorough=thorough))
    return bool(_graphs(stamp, folder)) and bool(trial.try_store(place, stamp.identity.dimension))


def _graphs(stamp: Stamp, folder: Path) -> list[Path]:
    """Return Chroma's files; the owner of an attached collection may write them at any time."""
    place = stamp.store(folder)
    ours = stamp.attached is None and place.kind == "chroma" and not place.remote
    return graph_files(place) if ours else []


def _some(files: list[str]) -> str:
    return ", ".join(sorted(files)[:3])
