"""Tells what in a folder of web pages is no document: what the pages are made with."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from ragwright.retrievers.documents.convert import HTML

_SCRIPTS = frozenset({".js", ".mjs", ".cjs", ".ts", ".css", ".scss", ".vue", ".jsx", ".tsx"})
_MADE_WITH = frozenset({".js", ".mjs", ".cjs", ".css", ".map", ".webmanifest", ".inv"})
_FOR_ROBOTS = re.compile(
    r"sitemap[\w.-]*\.xml(?:\.gz)?|(?:robots|humans|ads|security)\.txt|browserconfig\.xml"
    r"|(?:site\.|asset-)?manifest\.json|search[-_]?index\.(?:json|js)|opensearch\.xml|\.nojekyll",
    re.IGNORECASE,
)
_PROGRAM = frozenset({"package.json", "tsconfig.json"})
"""Lie beside the sources of a program that has pages."""


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
