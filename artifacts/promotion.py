"""Which of an artifact's versions is in use: promote, roll back, delete.

Comes in: a home (see `versions.py`) and a version. Goes out: its new aliases, replaced in one step,
so that a server that watches them sees the old version or the new one. Knows nothing of what a
version holds.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from ragwright.artifacts.versions import (
    ALIASES,
    CANDIDATE,
    CHAMPION,
    CURRENT,
    PREVIOUS,
    Aliases,
    find_version,
    read_aliases,
    version_numbers,
)
from ragwright.artifacts.writer import (
    check_home,
    discard_folder,
    lock_home,
    point_aliases,
    write_aliases,
)
from ragwright.retrievers.errors import ArtifactError


def promote(home: Path, selector: str = CANDIDATE) -> Aliases:
    """Make a version the champion, which from then on is the one that the bare name means.

    Args:
        home: The artifact's folder.
        selector: A version's number or an alias.

    Returns:
        The aliases as they are now.

    Raises:
        ArtifactError: There is no such version, or another process is writing.
    """
    find_version(home, selector)
    with lock_home(home):
        version = int(find_version(home, selector).name)
        before = read_aliases(home).get(CHAMPION, version)
        replaced = {PREVIOUS: before} if before != version else {}
        return point_aliases(home, {CHAMPION: version, **replaced})


def roll_back(home: Path) -> Aliases:
    """Make the champion before this one the champion again.

    Doing it twice does not bring the newer one back: that takes a promotion.

    Returns:
        The aliases as they are now.

    Raises:
        ArtifactError: There was no champion before, or another process is writing.
    """
    find_version(home, CURRENT)
    with lock_home(home):
        aliases = read_aliases(home)
        if PREVIOUS not in aliases:
            raise ArtifactError(
                f"{str(home)!r} has no champion before this one.",
                hint="Promote a version by its number: `rag artifacts promote NAME@1`.",
            )
        version = int(find_version(home, PREVIOUS).name)
        del aliases[PREVIOUS]
        aliases |= {CHAMPION: version, CURRENT: version}
        write_aliases(home, aliases)
        return aliases


def set_aliases(home: Path, changes: Aliases) -> Aliases:
    """Point aliases at versions, all in one step.

    Returns:
        The aliases as they are now.

    Raises:
        ArtifactError: A version is not there, or another process is writing.
    """
    with lock_home(home):
        missing = set(changes.values()) - set(version_numbers(home))
        if missing:
            raise ArtifactError(
                f"{str(home)!r} has no version {min(missing)}.",
                hint=f"It has {', '.join(map(str, version_numbers(home))) or 'none'}.",
            )
        return point_aliases(home, changes)


def delete_version(home: Path, selector: str) -> int:
    """Delete a version that is not in use. Its number is never given to another one.

    Returns:
        Its number.

    Raises:
        ArtifactError: There is no such version, it is in use, or another process is writing.
    """
    find_version(home, selector)
    with lock_home(home):
        folder = find_version(home, selector)
        number, aliases = int(folder.name), read_aliases(home)
        used = [name for name in (CHAMPION, CURRENT) if aliases.get(name) == number]
        if used:
            raise ArtifactError(
                f"Version {number} of {str(home)!r} is its {used[0]} version.",
                hint="Promote another one first.",
            )
        write_aliases(home, {name: at for name, at in aliases.items() if at != number})
        discard_folder(folder)
        folder.mkdir()
    return number


def delete_home(home: Path) -> list[int]:
    """Delete an artifact with all its versions.

    Returns:
        The numbers of the versions.

    Raises:
        ArtifactError: There is no artifact, the folder holds something else, or another process
            is writing.
    """
    find_version(home, CURRENT)
    check_home(home)
    with lock_home(home):
        found = version_numbers(home)
        (home / ALIASES).unlink()
        shutil.rmtree(home)
    return found
