"""Light markup, by the endings of names: read as a page that is made of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ragwright.retrievers.documents.asciidoc import asciidoc_text
from ragwright.retrievers.documents.convert import FileText
from ragwright.retrievers.documents.latex import bibliography_text, latex_text
from ragwright.retrievers.documents.org import org_text
from ragwright.retrievers.documents.rst import rst_text
from ragwright.retrievers.documents.wiki import wiki_text

_MOST = 5_000_000
"""Characters of a text beyond which no person wrote it; it is read as it stands."""
_KINDS: Mapping[str, Callable[[str], FileText]] = {
    **dict.fromkeys((".rst", ".rest"), rst_text),
    **dict.fromkeys((".adoc", ".asciidoc"), asciidoc_text),
    ".bib": bibliography_text,
    ".org": org_text,
    **dict.fromkeys((".tex", ".ltx", ".latex"), latex_text),
    **dict.fromkeys((".wiki", ".mediawiki", ".wikitext"), wiki_text),
}


def _bounded(reader: Callable[[str], FileText]) -> Callable[[str], FileText]:
    return lambda text: reader(text) if len(text) <= _MOST else FileText("", text)


LIGHT: Mapping[str, Callable[[str], FileText]] = {
    suffix: _bounded(reader) for suffix, reader in _KINDS.items()
}

__all__ = ["LIGHT"]
