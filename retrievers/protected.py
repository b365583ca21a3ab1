"""Reads an index in a folder that cannot be written, such as one in an image or on a shared volume.

SQLite, Chroma and tantivy write beside what they read: journals and locks. So a reader is given
another folder, in the user's cache: copies of their files, and links to the large ones, which are
read as they are. Knows files, not what they hold.
"""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

from ragwright.retrievers.cache_file import cache_folder, private_folder
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.stamp import Stamp

log = logging.getLogger(__name__)

_WRITTEN_BESIDE = ("ledger.sqlite", "keyword", "chroma")
_READ_IN_PLACE = ("tokens-*.bin", "vectors.bin")
_LEFT_OUT = ("writer.lock", "writer.json", "*.tmp", "*-shm")
_CHANGED_BY_EVERY_WRITE = ("stamp.json", "ledger.sqlite", "ledger.sqlite-wal")
_QUIET = 2.0
"""Seconds without a write after which a writer is taken to be done."""
_TRIES, _PAUSE = 5, 0.5
"""Seconds between two tries to copy files that somebody else writes."""
_ELSEWHERE = "elsewhere"
"""Where a copy has a store that lies outside of the index's folder."""
_KEPT = 2
"""Copies of one index: a reader may still be with the one before."""

FileState = tuple[str, int, int, int]
"""A file's place in the index, its inode, bytes, and nanoseconds of its last change."""


def is_protected(folder: Path) -> bool:
    """Tell whether an index cannot be written where it lies, by who runs this."""
    places = [folder, *(folder / name for name in _WRITTEN_BESIDE)]
    return any(place.exists() and not os.access(place, os.W_OK) for place in places)


def readable_folder(folder: Path) -> Path:
    """Return the folder to read an index from: its own, or if that is protected one like it.

    Raises:
        IndexFault: There is no room for the copy, or the index changes all the time.
    """
    if not is_protected(folder):
        return folder
    copies = _own_folder() / hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    for _ in range(_TRIES):
        with suppress(FileNotFoundError):  # it changed meanwhile
            files = _files(folder)
            held = _state(files)
            copy = copies / hashlib.sha256(repr(held).encode()).hexdigest()[:16]
            if _is_whole(copy, files):
                return copy
            if _copied(folder, files, copy):
                _remove_older(copies)
                return copy
        time.sleep(_PAUSE)
    raise IndexFault(
        f"The index {str(folder)!r} is being written, by somebody who may.",
        hint="Wait until that has finished.",
    )


def protected_mark(folder: Path) -> tuple[int, ...] | None:
    """Return what changes when a protected index is written; None while it is, or if it is gone."""
    mark = list[int]()
    for name in _CHANGED_BY_EVERY_WRITE:
        try:
            found = (folder / name).stat()
        except OSError:
            mark += (0, 0, 0)
        else:
            mark += (found.st_ino, found.st_size, found.st_mtime_ns)
    newest = max(mark[2::3])
    return tuple(mark) if newest and time.time() - newest / 1e9 > _QUIET else None


def _files(folder: Path) -> dict[str, Path]:
    """Return the files of an index, by their names in a copy; of a store that lies elsewhere, too.

    Links to folders are files here, and not followed.
    """
    found = _files_below(folder)
    store = Stamp.read(folder).store(folder)
    if store.embedded and not Path(store.address).is_relative_to(folder):
        elsewhere = _files_below(Path(store.address))
        found |= {f"{_ELSEWHERE}/{name}": file for name, file in elsewhere.items()}
    return found


def _files_below(folder: Path) -> dict[str, Path]:
    found = [
        Path(place, name)
        for place, folders, names in os.walk(folder)
        for name in (*names, *(one for one in folders if Path(place, one).is_symlink()))
    ]
    kept = sorted(file for file in found if not _is_any(file.name, _LEFT_OUT))
    return {str(file.relative_to(folder)): file for file in kept}


def _state(files: Mapping[str, Path]) -> tuple[FileState, ...]:
    """Return what changes when a file does.

    Raises:
        FileNotFoundError: One is gone.
    """
    found = [(name, file.lstat()) for name, file in files.items()]
    return tuple((name, one.st_ino, one.st_size, one.st_mtime_ns) for name, one in found)


def _is_any(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch(name, pattern) for pattern in patterns)


def _copied(folder: Path, files: Mapping[str, Path], copy: Path) -> bool:
    """Copy an index in one step; False, and nothing, if it changes meanwhile.

    Raises:
        FileNotFoundError: It changes meanwhile.
    """
    log.warning(
        "The index %r cannot be written: it is read from a copy, %r.", str(folder), str(copy)
    )
    held = _state(files)
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=copy.parent, prefix="new-") as temporary:
            made = Path(temporary, "index")
            for name, file in files.items():
                _put(file, made / name)
            if _ELSEWHERE in {name.partition("/")[0] for name in files}:
                _move_store(made)
            if _state(_files(folder)) != held:
                return False
            _name(made, copy, files)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise IndexFault(
            f"The index {str(folder)!r} cannot be written, and not be copied to be read: {error}.",
            hint="Make its folder writable, or give room for a copy: RAGWRIGHT_CACHE names where.",
        ) from error
    return True


def _move_store(copy: Path) -> None:
    """Have the stamp of a copy name the copy of a store that lies elsewhere."""
    stamp = Stamp.read(copy)
    place = replace(stamp.store(copy), address=_ELSEWHERE)
    settings = stamp.settings.model_copy(update={"store": str(place)})
    stamp.model_copy(update={"settings": settings}).write(copy)


def _put(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.is_symlink() or _is_any(file.name, _READ_IN_PLACE):
        target.symlink_to(file)
    elif file.is_file():
        shutil.copyfile(file, target)
        found = file.stat()
        os.utime(target, ns=(found.st_atime_ns, found.st_mtime_ns))


def _is_whole(copy: Path, names: Iterable[str]) -> bool:
    """Tell whether a copy has every file: what is cleaned by age may lack some."""
    return copy.is_dir() and all((copy / name).exists() for name in names)


def _name(made: Path, copy: Path, names: Iterable[str]) -> None:
    """Give a copy its name, unless another process was first; one that lacks files goes."""
    try:
        made.rename(copy)
    except OSError:
        if _is_whole(copy, names):
            return
        shutil.rmtree(copy)
        made.rename(copy)


def _remove_older(copies: Path) -> None:
    found = sorted(copies.iterdir(), key=lambda copy: copy.stat().st_mtime_ns)
    for copy in found[:-_KEPT]:
        shutil.rmtree(copy, ignore_errors=True)


def _own_folder() -> Path:
    """Return a folder for copies: in the cache, or where nothing can be written there, a temporary.

    Raises:
        InputError: There is neither.
    """
    place = cache_folder() / "protected"
    try:
        place.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError:
        place = private_folder() / "protected"
    return place if os.access(place, os.W_OK) else private_folder() / "protected"
