"""HTML and office files in, their text out as Markdown, through libraries made for it."""

from __future__ import annotations

import importlib.util
import warnings
import zipfile
from pathlib import Path

from ragwright.retrievers.errors import InputError

HTML = frozenset({".html", ".htm", ".xhtml"})
CONVERTED = frozenset({".pdf", ".docx", ".pptx", ".xlsx", ".epub"})
_UNSEEN = ("script", "style", "template", "noscript", "head")


class Unreadable(Exception):
    """A file gives no text; the message says why."""


class NeedsExtra(InputError):
    """A kind of file needs packages that are not installed."""


def html_text(page: str) -> tuple[str, str]:
    """Return title and text of a page; headings and links become Markdown."""
    from bs4 import BeautifulSoup
    from markdownify import MarkdownConverter

    soup = BeautifulSoup(page, "html.parser")
    title = soup.title.get_text(strip=True) if soup.title else ""
    for tag in soup(_UNSEEN):
        tag.decompose()
    return title, MarkdownConverter(heading_style="ATX").convert_soup(soup).strip()


def convert(path: Path) -> tuple[str, str]:
    """Return title and text of a PDF, DOCX, PPTX, XLSX or EPUB file.

    Raises:
        NeedsExtra: The extra `ragwright[files]` is not installed.
        Unreadable: The file is damaged or holds no text that the converter finds.
    """
    if importlib.util.find_spec("markitdown") is None:
        raise NeedsExtra(
            f"Reading {path.suffix} files needs more packages: {str(path)!r}.",
            hint="pip install 'ragwright[files]', or exclude them.",
        )
    if not _is_what_it_says(path):
        raise Unreadable(f"it is no {path.suffix} file")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the converters, about their own insides
        from markitdown import MarkItDown, MarkItDownException

        try:
            found = MarkItDown(enable_plugins=False).convert_local(path)
        except MarkItDownException as error:
            reason = str(error).strip().splitlines()[-1][:200]
            raise Unreadable(f"it cannot be converted: {reason}") from error
    return found.title or "", found.markdown


def _is_what_it_says(path: Path) -> bool:
    """Tell whether a file has the outer form of its kind: the converter takes others for text."""
    if path.suffix.lower() != ".pdf":
        return zipfile.is_zipfile(path)
    with path.open("rb") as file:
        return b"%PDF-" in file.read(1024)
