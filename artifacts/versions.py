"""Files in, a numbered version on disk out; a path in, the version folder it means out.

    NAME/                a home: what people name when they save and load
        1/, 2/, ...      versions; once there, a version never changes
        aliases.json     {"candidate": 2, "current": 2}: replaced in one step, so a reader sees
                         old or new
        .lock            held by the one writer
        .staged-*        a version being written or deleted; swept by the next writer after a crash

`NAME` means its current version, `NAME@2` version 2, `NAME@champion` the one of that alias. An
empty version folder is one that was deleted: its number is never given again.

Knows nothing of what the files mean, except that a version holds a manifest; which version becomes
champion is decided in `promotion.py`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import mkdtemp

from filelock import FileLock, Timeout

from artifacts.files import read_text, sync, write
from artifacts.manifest import MANIFEST, parse_json
from retrievers.errors import ArtifactError

ALIASES = "aliases.json"
CURRENT = "current"
"""What the bare name means: the champion, and until there is one the newest version."""
CANDIDATE = "candidate"
"""The newest version."""
CHAMPION = "champion"
"""The version that was promoted."""
PREVIOUS = "previous"
"""The champion before this one, until it is rolled back to."""
STAGED = ".staged-"
LOCK = ".lock"
LOCK_SECONDS = 10.0

Aliases = dict[str, int]
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def resolve(path: str | Path) -> Path:
    """Return the version folder that a path means.

    Args:
        path: A version's folder, a home (its current version), or a home with `@` and the number
            or the alias of a version.

    Raises:
        ArtifactError: There is no such artifact or version.
    """
    folder = Path(path)
    if (folder / MANIFEST).is_file():
        return folder.resolve()
    if not (folder / ALIASES).is_file() and "@" in folder.name:
        home, _, selector = str(folder).rpartition("@")
        return find_version(Path(home), selector)
    return find_version(folder, CURRENT)


def find_version(home: Path, selector: str) -> Path:
    """Return the folder of a version.

    Args:
        home: The artifact's folder.
        selector: A version's number or an alias.

    Raises:
        ArtifactError: There is no artifact or no such version.
    """
    if not (home / ALIASES).is_file():
        raise ArtifactError(
            f"There is no artifact in {str(home)!r}.",
            hint="`rag compile` makes one and prints its folder.",
        )
    aliases = read_aliases(home)
    if _NUMBER.fullmatch(selector):
        if int(selector) not in numbers(home):
            raise _unknown(home, f"version {selector!r}", map(str, numbers(home)))
        return (home / selector).resolve()
    if selector not in aliases:
        raise _unknown(home, f"alias {selector!r}", aliases)
    version = home / str(aliases[selector])
    if aliases[selector] not in numbers(home):
        raise ArtifactError(
            f"{str(home)!r} points at version {version.name!r}, which is not there.",
            hint=f"Restore it, or correct {ALIASES!r}.",
        )
    return version.resolve()


def numbers(home: Path) -> list[int]:
    """Return the numbers of a home's versions, oldest first; a link to a folder is none."""
    found = [entry for entry in _entries(home) if _NUMBER.fullmatch(entry.name)]
    return sorted(
        int(entry.name)
        for entry in found
        if (entry / MANIFEST).is_file() and not entry.is_symlink()
    )


def read_aliases(home: Path) -> Aliases:
    """Return the aliases of a home and the version each one means.

    Raises:
        ArtifactError: The file is damaged or names no current version.
    """
    source = home / ALIASES
    table = parse_json(read_text(source), source=str(source))
    entries = table.items() if isinstance(table, dict) else ()
    if CURRENT not in dict(entries) or not all(_valid(*entry) for entry in entries):
        raise ArtifactError(
            f"{str(source)!r} must map names to version numbers, with {CURRENT!r} among them.",
            hint='Correct it, for instance to {"current": 1}.',
        )
    return dict(entries)


def write_aliases(home: Path, aliases: Aliases) -> None:
    """Replace the aliases of a home in one step; call it with the lock held."""
    written = home / f"{STAGED}aliases"
    write(written, (json.dumps(aliases, indent=2, sort_keys=True) + "\n").encode())
    written.replace(home / ALIASES)
    sync(home)


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


def publish(home: Path, files: Mapping[str, bytes], *, candidate: bool = True) -> Path:
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
    with locked(home):
        staged = Path(mkdtemp(prefix=STAGED, dir=home))
        try:
            _write_tree(staged, files)
            staged.chmod(0o755)
            version = home / str(_last(home) + 1)
            staged.rename(version)
        except BaseException:
            shutil.rmtree(staged, ignore_errors=True)
            raise
        sync(home)
        if candidate:
            point(home, {CANDIDATE: int(version.name)})
    return version.resolve()


def point(home: Path, changes: Aliases) -> Aliases:
    """Point aliases at versions, all in one step, and return them all; call it with the lock held.

    The champion becomes current; until there is one, the candidate does.
    """
    before = read_aliases(home) if (home / ALIASES).exists() else {}
    aliases = {**before, **changes}
    current = aliases.get(CHAMPION) or aliases.get(CANDIDATE) or aliases[CURRENT]
    aliases[CURRENT] = current
    write_aliases(home, aliases)
    return aliases


def discard(folder: Path) -> None:
    """Take a folder away in one step, then its files; call it with the lock held."""
    staged = Path(mkdtemp(prefix=STAGED, dir=folder.parent))
    folder.rename(staged / folder.name)
    shutil.rmtree(staged)


@contextmanager
def locked(home: Path) -> Iterator[None]:
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
        write(file, content)
    for inner in [folder, *(entry for entry in folder.rglob("*") if entry.is_dir())]:
        sync(inner)


def _sweep(home: Path) -> None:
    for entry in _entries(home):
        if entry.name.startswith(STAGED):
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()


def _last(home: Path) -> int:
    return max((int(entry.name) for entry in _entries(home) if entry.name.isdecimal()), default=0)


def _entries(home: Path) -> list[Path]:
    return list(home.iterdir()) if home.is_dir() else []


def _ours(entry: Path) -> bool:
    return entry.name.isdecimal() or entry.name in (ALIASES, LOCK) or _staged(entry)


def _staged(entry: Path) -> bool:
    return entry.name.startswith(STAGED)


def _valid(name: object, number: object) -> bool:
    named = isinstance(name, str) and _ALIAS.fullmatch(name)
    return bool(named) and type(number) is int and number > 0


def _unknown(home: Path, what: str, known: Iterable[str]) -> ArtifactError:
    return ArtifactError(
        f"{str(home)!r} has no {what}.", hint=f"It has {', '.join(known) or 'none'}."
    )
