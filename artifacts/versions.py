"""Finds the version folder that a path means, and knows what an artifact's folder looks like.

    NAME/                a home: what people name when they save and load
        1/, 2/, ...      versions; once there, a version never changes
        aliases.json     {"candidate": 2, "current": 2}: replaced in one step, so a reader sees
                         old or new
        .lock            held by the one writer
        .staged-*        a version being written or deleted; swept by the next writer after a crash

`NAME` means its current version, `NAME@2` version 2, `NAME@champion` the one of that alias. An
empty version folder is one that was deleted: its number is never given again.

Only reads: `writer.py` adds versions and points aliases, `promotion.py` decides which one becomes
champion. Knows nothing of what the files mean, except that a version holds a manifest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from ragwright.artifacts.files import read_text
from ragwright.artifacts.manifest import MANIFEST, parse_json
from ragwright.retrievers.errors import ArtifactError, as_path

ALIASES = "aliases.json"
CURRENT = "current"
"""What the bare name means: the champion, and until there is one the newest version."""
CANDIDATE = "candidate"
"""The newest version."""
CHAMPION = "champion"
"""The version that was promoted."""
PREVIOUS = "previous"
"""The champion before this one, until it is rolled back to."""

Aliases = dict[str, int]
_ALIAS = re.compile(r"[a-z][a-z0-9_-]{0,31}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


def resolve_version(path: str | Path) -> Path:
    """Return the version folder that a path means.

    Args:
        path: A version's folder, a home (its current version), or a home with `@` and the number
            or the alias of a version.

    Raises:
        ArtifactError: There is no such artifact or version.
        InputError: It is no path.
    """
    folder = as_path(path)
    if (folder / MANIFEST).is_file():
        return folder.resolve()
    if not (folder / ALIASES).is_file() and "@" in folder.name:
        home, _, selector = str(folder).rpartition("@")
        return find_version(Path(home), selector)
    return find_version(folder, CURRENT)


def is_artifact(path: str | Path) -> bool:
    """Whether a path names an artifact or a version of one, as `resolve_version` reads it."""
    folder = Path(path)
    home = folder if folder.exists() else Path(str(folder).rpartition("@")[0] or folder)
    return (folder / MANIFEST).is_file() or (home / ALIASES).is_file()


def find_version(home: Path, selector: str) -> Path:
    """Return the folder of a version.

    Args:
        home: The artifact's folder.
        selector: A version's number or an alias.

    Raises:
        ArtifactError: There is no artifact or no such version.
    """
    if not (home / ALIASES).is_file():
        recipe = f" {home.name}" if home.suffix == ".toml" else ""
        raise ArtifactError(
            f"There is no artifact in {str(home)!r}.",
            hint=f"`rag compile{recipe}` makes one and prints its folder.",
        )
    aliases = read_aliases(home)
    if _NUMBER.fullmatch(selector):
        if int(selector) not in version_numbers(home):
            raise _unknown(home, f"version {selector!r}", map(str, version_numbers(home)))
        return (home / selector).resolve()
    if selector not in aliases:
        raise _unknown(home, f"alias {selector!r}", aliases)
    version = home / str(aliases[selector])
    if aliases[selector] not in version_numbers(home):
        raise ArtifactError(
            f"{str(home)!r} points at version {version.name!r}, which is not there.",
            hint=f"Restore it, or correct {ALIASES!r}.",
        )
    return version.resolve()


def version_numbers(home: Path) -> list[int]:
    """Return the numbers of a home's versions, oldest first; a link to a folder is none."""
    found = [entry for entry in home_entries(home) if _NUMBER.fullmatch(entry.name)]
    return sorted(
        int(entry.name)
        for entry in found
        if (entry / MANIFEST).is_file() and not entry.is_symlink()
    )


def home_entries(home: Path) -> list[Path]:
    """Return everything that lies in a home; nothing if there is none."""
    return list(home.iterdir()) if home.is_dir() else []


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


def _valid(name: object, number: object) -> bool:
    named = isinstance(name, str) and _ALIAS.fullmatch(name)
    return bool(named) and type(number) is int and number > 0


def _unknown(home: Path, what: str, known: Iterable[str]) -> ArtifactError:
    return ArtifactError(
        f"{str(home)!r} has no {what}.", hint=f"It has {', '.join(known) or 'none'}."
    )
