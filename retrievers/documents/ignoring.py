"""Tells whether `.gitignore` and `.ragignore` ignore a path, as Git decides it.

The last pattern that matches decides, and patterns of a folder come after those of the folders
above it: `!keep.log` below takes back `*.log` above. What lies in an ignored folder is ignored.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from pathspec import GitIgnoreSpec

from ragwright.retrievers.documents.opening import UnreadableFile, read_bytes
from ragwright.retrievers.documents.options import ReadOptions

IGNORE_FILES = (".gitignore", ".ragignore")
_MOST = 10_000_000

Ignored = tuple[tuple[Path, GitIgnoreSpec], ...]
"""The patterns that hold in a folder, each with the folder that they count from."""


def read_ignore_patterns(folder: Path, above: Ignored, options: ReadOptions) -> Ignored:
    """Return the patterns that hold in a folder: those from above, and then its own."""
    for name in IGNORE_FILES:
        if (folder / name).is_file():
            above = (*above, (folder, parse_ignore_file(folder / name, options)))
    return above


def parse_ignore_file(file: Path, options: ReadOptions) -> GitIgnoreSpec:
    """Read an ignore file; one that cannot be read is said, and ignores nothing."""
    try:
        data = read_bytes(file, _MOST)
    except UnreadableFile as error:
        options.note(str(file), f"it was not heeded: {error}")
        return GitIgnoreSpec.from_lines(())
    return GitIgnoreSpec.from_lines(_lines(data, file, options))


def is_ignored(path: Path, ignored: Ignored, *, folder: bool) -> bool:
    """Tell whether Git would ignore a path, given that it does not ignore the folders above."""
    for base, spec in reversed(ignored):
        name = os.fsencode(path.relative_to(base)).decode("latin-1") + ("/" if folder else "")
        for pattern in reversed(spec.patterns):
            if pattern.regex is not None and _matches(pattern.regex, name):
                return bool(pattern.include)
    return False


def _matches(regex: re.Pattern[str], name: str) -> bool:
    """Tell whether a pattern is of this very path, not of a folder that it lies in."""
    found = regex.match(name)
    if found is None:
        return False
    whole = found.end() == len(name)
    if "ps_d" in regex.groupindex:  # the library's mark for the slash behind a folder's name
        return whole or found["ps_d"] is None
    return not (whole and name.endswith("/"))  # `sub/**` is of what lies in sub


def _lines(data: bytes, file: Path, options: ReadOptions) -> list[str]:
    """Return the lines of a file, one character a byte: to Git, `?` is one byte of a name."""
    for mark, name in ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            options.note(str(file), "it is UTF-16, which Git would not read")
            data = data.decode(name, errors="replace").encode()
    text = data.removeprefix(b"\xef\xbb\xbf").decode("latin-1")
    kept = []
    for line in text.split("\n"):
        try:
            GitIgnoreSpec.from_lines([line])
        except ValueError:  # Git takes no notice of a pattern such as "!" or "**foo["
            continue
        kept.append(line.removesuffix("\r"))
    return kept
