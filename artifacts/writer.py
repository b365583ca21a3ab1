"""Writes a numbered version: whole or not at all, whatever happens to the writer.

A home (see `versions.py`) has one writer at a time, who stages what is new and renames it into its
place. Knows nothing of what the files mean.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

from filelock import FileLock, Timeout

from ragwright.artifacts.files import write_durably
from ragwright.artifacts.versions import (
    ALIASES,
    CANDIDATE,
    CHAMPION,
    CURRENT,
    Aliases,
    home_entries,
    read_aliases,
)
from ragwright.retrievers.durable import fsync_path
from ragwright.retrievers.errors import ArtifactError

STAGED = ".staged-"
LOCK = ".lock"
LOCK_SECONDS = 10.0


def write_aliases(home: Path, aliases: Aliases) -> None:
    """Replace the aliases of a home in one step; call it with the lock held."""
    written = home / f"{STAGED}aliases"
    write_durably(written, (json.dumps(aliases, indent=2, sort_keys=True) + "\n").encode())
    written.replace(home / ALIASES)
    fsync_path(home)


def check_home(home: Path) -> None:
    """Make sure that versions may be written here.

    Raises:
        ArtifactError: The path is a file, or a folder that holds something else.
    """
    if home.exists() and not home.is_dir():
        raise ArtifactError(f"{str(home)!r} is not a folder.", hint="Choose another place.")
    foreign = [entry.name for entry in home_entries(home) if not _ours(entry)]
    if foreign:
        raise ArtifactError(
            f"{str(home)!r} holds something that is not an artifact: {min(foreign)!r}.",
            hint="Choose a new or empty folder.",
        )


def check_room(home: Path) -> None:
    """Make sure, by making a folder for a moment, that a home can be made or written into.

    Raises:
        ArtifactError: It cannot.
    """
    there = next(folder for folder in (home.resolve(), *home.resolve().parents) if folder.exists())
    try:
        with TemporaryDirectory(dir=there, prefix=STAGED):
            pass
    except OSError as error:
        raise ArtifactError(
            f"{str(home)!r} cannot be written: {error.strerror or error}, at {str(there)!r}.",
            hint="Choose another place with --output, or see to its rights.",
        ) from error


def publish_version(home: Path, files: Mapping[str, bytes], *, candidate: bool = True) -> Path:
    """Write a new version and make it the candidate.

    It becomes current too, unless a version was promoted: that one stays.

    Args:
        home: The artifact's folder; made if it is not there.
        files: Contents by relative path; a manifest among them.
        candidate: False leaves all aliases as they are.

    Returns:
        The version's folder.

    Raises:
        ArtifactError: The folder holds something else, or another process is writing to it.
    """
    check_home(home)
    home.mkdir(parents=True, exist_ok=True)
    with lock_home(home):
        staged = Path(mkdtemp(prefix=STAGED, dir=home))
        try:
            _write_tree(staged, files)
            staged.chmod(0o755)
            version = home / str(_last(home) + 1)
            staged.rename(version)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        fsync_path(home)
        if candidate:
            point_aliases(home, {CANDIDATE: int(version.name)})
    return version.resolve()


def point_aliases(home: Path, changes: Aliases) -> Aliases:
    """Point aliases at versions, all in one step, and return them all; call it with the lock held.

    The champion becomes current; until there is one, the candidate does.
    """
    before = read_aliases(home) if (home / ALIASES).exists() else {}
    aliases = {**before, **changes}
    current = aliases.get(CHAMPION) or aliases.get(CANDIDATE) or aliases[CURRENT]
    aliases[CURRENT] = current
    write_aliases(home, aliases)
    return aliases


def discard_folder(folder: Path) -> None:
    """Take a folder away in one step, then its files; call it with the lock held."""
    staged = Path(mkdtemp(prefix=STAGED, dir=folder.parent))
    folder.rename(staged / folder.name)
    shutil.rmtree(staged)


@contextmanager
def lock_home(home: Path) -> Iterator[None]:
    """Be the one writer of a home, and clear away what a killed one left.

    Raises:
        ArtifactError: Another process is writing to it.
    """
    try:
        with FileLock(home / LOCK, timeout=LOCK_SECONDS):
            _sweep(home)
            yield
    except Timeout as error:
        raise ArtifactError(
            f"Another process is writing to {str(home)!r}.", hint="Wait for it, then try again."
        ) from error


def _write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        write_durably(file, content)
    for inner in [folder, *(entry for entry in folder.rglob("*") if entry.is_dir())]:
        fsync_path(inner)


def _sweep(home: Path) -> None:
    for entry in home_entries(home):
        if entry.name.startswith(STAGED):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _last(home: Path) -> int:
    return max(
        (int(entry.name) for entry in home_entries(home) if entry.name.isdecimal()), default=0
    )


def _ours(entry: Path) -> bool:
    return entry.name.isdecimal() or entry.name in (ALIASES, LOCK) or _staged(entry)


def _staged(entry: Path) -> bool:
    return entry.name.startswith(STAGED)
