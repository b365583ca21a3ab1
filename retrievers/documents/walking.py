"""The way through a folder, at any depth: what is read of it, and what is left out.

Of a folder of web pages, what the pages are made with is left out.
"""

from __future__ import annotations

import os
import re
import stat
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from ragwright.retrievers.documents.ignoring import Ignored, is_ignored, read_ignore_patterns
from ragwright.retrievers.documents.kinds import HTML
from ragwright.retrievers.documents.opening import describe_path
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.metadata import clean_text

_LEFT = re.compile(r"\..*|~\$.*|__MACOSX|Thumbs\.db|desktop\.ini", re.IGNORECASE | re.DOTALL)
"""What is hidden, and what office programs, archives and other systems leave beside files."""
_SCRIPTS = frozenset({".js", ".mjs", ".cjs", ".ts", ".css", ".scss", ".vue", ".jsx", ".tsx"})
_MADE_WITH = frozenset({".js", ".mjs", ".cjs", ".css", ".map", ".webmanifest", ".inv"})
_FOR_ROBOTS = re.compile(
    r"sitemap[\w.-]*\.xml(?:\.gz)?|(?:robots|humans|ads|security)\.txt|browserconfig\.xml"
    r"|(?:site\.|asset-)?manifest\.json|search[-_]?index\.(?:json|js)|opensearch\.xml|\.nojekyll",
    re.IGNORECASE,
)
_PROGRAM = frozenset({"package.json", "tsconfig.json"})
"""Lie beside the sources of a program that has pages."""


class FolderWalk:
    """The way through a folder.

    Links to files and folders inside it are what they lead to and come up there; those that lead
    out are followed if the options say so, and said if not.
    """

    def __init__(self, root: Path, options: ReadOptions) -> None:
        self._root = root
        self._inside = Path(os.path.realpath(root))
        self._options = options
        self._followed: set[str] = set()

    def files(self) -> Iterator[Path]:
        return self._of(self._root, (), site=False)

    def _of(self, folder: Path, above: Ignored, *, site: bool) -> Iterator[Path]:
        ignored = read_ignore_patterns(folder, above, self._options)
        try:
            paths = sorted(folder.iterdir())
        except OSError as error:
            self._problem(folder, error.strerror or str(error))
            return
        site = not self._options.include and is_site(paths, within=site)
        for path in paths:
            yield from self._entry(path, ignored, site=site)

    def _entry(self, path: Path, ignored: Ignored, *, site: bool) -> Iterator[Path]:
        try:
            mode = path.lstat().st_mode
            if _LEFT.fullmatch(path.name) or is_ignored(path, ignored, folder=stat.S_ISDIR(mode)):
                return
            if stat.S_ISLNK(mode):
                if not self._follows(path):
                    return
                mode = path.stat().st_mode
        except OSError as error:
            self._problem(path, error.strerror or str(error))
            return
        if stat.S_ISDIR(mode):
            yield from self._of(path, ignored, site=site)
        elif site and is_made_for_pages(path):
            self._note(path, "it is what the pages of a site are made with, and is not read")
        elif stat.S_ISREG(mode):
            yield path
        else:
            self._problem(path, f"it is {describe_path(mode)}, not a regular file")

    def _follows(self, path: Path) -> bool:
        """Tell whether to follow a link: not to a folder twice, which could go on for ever."""
        place = Path(os.path.realpath(path))
        inside = place.is_relative_to(self._inside)
        if not inside and not self._options.follow_links:
            self._note(path, "the link leads out of the folder, and was not followed")
            return False
        if not place.is_dir():
            return True
        if inside or str(place) in self._followed or self._inside.is_relative_to(place):
            if not inside:
                self._note(path, "the link leads to a folder that is read already")
            return False
        self._followed.add(str(place))
        return True

    def _note(self, path: Path, reason: str) -> None:
        self._options.note(path_as_id(path.relative_to(self._root)), reason)

    def _problem(self, path: Path, reason: str) -> None:
        self._options.handle(Problem(path_as_id(path.relative_to(self._root)), reason))


def path_as_id(path: Path) -> str:
    """Return a path as an id; bytes in it that are not UTF-8 are written as `\\xff`.

    Letters with marks are one sign each (NFC), as people type them: macOS writes them as two.
    """
    return unicodedata.normalize("NFC", _as_written(path))


def name_within(folder: Path, path: Path) -> str:
    """Return the id of a file in a folder; one whose id another file has keeps its own signs."""
    inner = path.relative_to(folder)
    name, written = path_as_id(inner), _as_written(inner)
    return written if name != written and _is_another(folder / name, path) else name


def _is_another(place: Path, path: Path) -> bool:
    try:
        return not place.samefile(path)
    except OSError:  # there is none, or no name can be so long
        return False


def _as_written(path: Path) -> str:
    raw = path.as_posix().encode("utf-8", "surrogateescape")
    return clean_text(raw.decode("utf-8", "backslashreplace"))


def is_site(folder: Sequence[Path], *, within: bool) -> bool:
    """Tell whether the entries of a folder are those of a site: pages more than scripts.

    Args:
        folder: What lies in it.
        within: Whether the folder lies in one of a site.
    """
    if not _PROGRAM.isdisjoint(path.name for path in folder):
        return False
    suffixes = [path.suffix.lower() for path in folder]
    pages = sum(suffix in HTML for suffix in suffixes)
    return within or pages > sum(suffix in _SCRIPTS for suffix in suffixes)


def is_made_for_pages(path: Path) -> bool:
    """Tell whether a file in a site is for browsers and robots, not for readers.

    >>> is_made_for_pages(Path("_static/theme.css")), is_made_for_pages(Path("notes.txt"))
    (True, False)
    """
    return path.suffix.lower() in _MADE_WITH or _FOR_ROBOTS.fullmatch(path.name) is not None
