"""Files in, a numbered version on disk out; a path in, the version folder it means out.

    NAME/                a home: what people name when they save and load
        1/, 2/, ...      versions; once there, a version never changes
        aliases.json     {"current": 2}: replaced in one step, so a reader sees old or new
        .lock            held by the one writer
        .staged-*        a version being written; swept by the next writer after a crash

Knows nothing of what the files mean, except that a version holds a manifest.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock, Timeout

from artifacts.manifest import MANIFEST, parse_json
from retrievers.errors import ArtifactError

ALIASES = "aliases.json"
CURRENT = "current"
STAGED = ".staged-"
LOCK_SECONDS = 10.0


def resolve(path: str | Path) -> Path:
    """Return the version folder that a path means: itself, or the current version of a home.

    Raises:
        ArtifactError: There is no artifact.
    """
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        return folder.resolve()
    if (folder / ALIASES).is_file():
        version = folder / str(read_aliases(folder)[CURRENT])
        if (version / MANIFEST).is_file():
            return version.resolve()
        raise ArtifactError(
            f"{str(folder)!r} points at version {version.name!r}, which is not there.",
            hint=f"Restore it, or correct {ALIASES!r}.",
        )
    raise ArtifactError(
        f"There is no artifact in {str(folder)!r}.",
        hint="`rag compile` makes one and prints its folder.",
    )


def read_aliases(home: Path) -> dict[str, int]:
    """Return the aliases of a home and the version each one means.

    Raises:
        ArtifactError: The file is damaged or names no current version.
    """
    source = home / ALIASES
    table = parse_json(read_text(source), source=str(source))
    valid = isinstance(table, dict) and all(type(number) is int for number in table.values())
    if not isinstance(table, dict) or not valid or CURRENT not in table:
        raise ArtifactError(
            f"{str(source)!r} must map names to version numbers, with {CURRENT!r} among them.",
            hint='Correct it, for instance to {"current": 1}.',
        )
    return {str(name): number for name, number in table.items()}


def check_home(home: Path) -> None:
    """Make sure that versions may be written here.

    Raises:
        ArtifactError: The path is a file, or a folder that holds something else.
    """
    if home.exists() and not home.is_dir():
        raise ArtifactError(f"{str(home)!r} is not a folder.", hint="Choose another place.")
    foreign = [entry.name for entry in _entries(home) if not _ours(entry)]
    if foreign:
        raise ArtifactError(
            f"{str(home)!r} holds something that is not an artifact: {min(foreign)!r}.",
            hint="Choose a new or empty folder.",
        )


def publish(home: Path, files: Mapping[str, bytes]) -> Path:
    """Write a new version and make it the current one.

    Args:
        home: The artifact's folder; made if it is not there.
        files: Contents by relative path; a manifest among them.

    Returns:
        The version's folder.

    Raises:
        ArtifactError: The folder holds something else, or another process is writing to it.
    """
    check_home(home)
    home.mkdir(parents=True, exist_ok=True)
    with _locked(home):
        _sweep(home)
        staged = Path(mkdtemp(prefix=STAGED, dir=home))
        try:
            _write_tree(staged, files)
            staged.chmod(0o755)
            version = home / str(_last(home) + 1)
            staged.rename(version)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        _sync(home)
        _point(home, int(version.name))
    return version.resolve()


def read_text(file: Path) -> str:
    """Read a text file of an artifact.

    Raises:
        ArtifactError: It is missing, unreadable or not UTF-8.
    """
    try:
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ArtifactError(
            f"Cannot read {str(file)!r}: {reason}.", hint="Restore the file or compile again."
        ) from error


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    try:
        with FileLock(home / ".lock", timeout=LOCK_SECONDS):
            yield
    except Timeout as error:
        raise ArtifactError(
            f"Another process is writing to {str(home)!r}.", hint="Wait for it, then try again."
        ) from error


def _point(home: Path, version: int) -> None:
    aliases = read_aliases(home) if (home / ALIASES).exists() else {}
    written = home / f"{STAGED}aliases"
    _write(written, (json.dumps({**aliases, CURRENT: version}, indent=2) + "\n").encode())
    written.replace(home / ALIASES)
    _sync(home)


def _write_tree(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        _write(file, content)
    for inner in [folder, *(entry for entry in folder.rglob("*") if entry.is_dir())]:
        _sync(inner)


def _write(file: Path, content: bytes) -> None:
    with file.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _sync(folder: Path) -> None:
    # A rename survives a power cut only once the folder that holds it is on disk too.
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _sweep(home: Path) -> None:
    for entry in _entries(home):
        if entry.name.startswith(STAGED):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _last(home: Path) -> int:
    return max((int(entry.name) for entry in _entries(home) if entry.name.isdecimal()), default=0)


def _entries(home: Path) -> list[Path]:
    return list(home.iterdir()) if home.is_dir() else []


def _ours(entry: Path) -> bool:
    return entry.name.isdecimal() or entry.name in (ALIASES, ".lock") or _staged(entry)


def _staged(entry: Path) -> bool:
    return entry.name.startswith(STAGED)
