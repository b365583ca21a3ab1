"""Reads XML that holds records with text (dumps of wikis and forums, articles, outlines) as text.

What is called a title is a heading; other texts are paragraphs, or lines with their names where
they are short. Text in attributes counts, and HTML or wiki markup in either is read as shown.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import html_text
from ragwright.retrievers.documents.wiki import wiki_text

_RUN = re.compile(rb">([^<>]{40,}+)<|=\"([^\"<>]{40,}+)\"")
_WORDS = re.compile(rb"(?<!\S)\S++\s")
_FEWEST = 6
"""Words from which on a run of characters is text."""
_LONGEST_WORD = 20
"""Bytes of a word on average from which on it is none, but data in base64."""
_SHARE = 0.4
"""Of an XML file that holds text: how much of it such runs are."""
_TITLES = frozenset({"title", "articletitle", "headline", "heading", "subject", "name"})
_BODIES = frozenset({"body", "text", "content", "description", "summary", "comment", "value"})
"""Names that say nothing before a text."""
_LABELS = ("label", "name", "key")
"""Attributes that say which one an element is."""
_WIKI = "mediawiki"
_LINE = 80
"""Characters up to which a text is a line that has its name before it."""
_NO_WORDS = re.compile(r"[\d\s.,:;/+#TZ-]*|true|false|[\w.-]*://\S*", re.IGNORECASE)


def holds_records(head: bytes) -> bool:
    """Tell by the start of an XML file whether most of it is text, of elements or attributes."""
    runs = (found[1] or found[2] for found in _RUN.finditer(head))
    said = 0
    for run in runs:
        words = len(_WORDS.findall(run))
        said += len(run) if words >= _FEWEST and len(run) < _LONGEST_WORD * words else 0
    return said > _SHARE * len(head)


def records_text(root: Any) -> FileText:
    """Return what the records under a root say.

    Args:
        root: An element of lxml.
    """
    wiki = _name(root) == _WIKI
    parts = [part for part in _parts(root, wiki) if part]
    titles = [part[3:] for part in parts if part.startswith("## ")]
    return FileText(titles[0] if len(titles) == 1 else "", "\n\n".join(parts))


def _parts(element: Any, wiki: bool) -> Iterator[str]:
    if not isinstance(element.tag, str):  # a comment
        return
    told = [*_of_attributes(element.attrib)]
    yield from told
    said = (element.text or "").strip()
    if not len(element):
        yield _part(element, said, wiki)
    elif said or any((child.tail or "").strip() for child in element):
        yield " ".join("".join(element.itertext()).split())  # words with marks in them
    else:
        if (label := _label(element)) and not told:
            yield f"{_name(element)}: {label}"
        for child in element:
            yield from _parts(child, wiki)


def _part(element: Any, said: str, wiki: bool) -> str:
    name = _name(element)
    if not said:
        return ""
    if name.casefold() in _TITLES:
        return f"## {' '.join(said.split())}"
    if wiki and name == "text":
        return wiki_text(said).text.strip()
    if wiki and len(said) <= _LINE:  # numbers, dates and authors of revisions
        return ""
    return _labelled(_label(element), name, _shown(said))


def _label(element: Any) -> str:
    named = {_plain(key).casefold(): one.strip() for key, one in element.attrib.items()}
    return next((named[key] for key in _LABELS if named.get(key)), "")


def _labelled(label: str, name: str, shown: str) -> str:
    if label:
        return f"{label}: {shown}"
    says = name.casefold() not in _BODIES and len(shown) <= _LINE
    return f"{name}: {shown}" if says and shown else shown


def _of_attributes(attributes: Mapping[str, str]) -> Iterator[str]:
    texts = {_plain(key): value.strip() for key, value in attributes.items()}
    title = next((texts.pop(name) for name in (*texts,) if name.casefold() in _TITLES), "")
    worded = {name: said for name, said in texts.items() if not _NO_WORDS.fullmatch(said)}
    if any(len(said.split()) >= _FEWEST for said in (title, *worded.values())) or "text" in worded:
        if title:
            yield f"## {title}"
        for name, said in worded.items():
            yield _labelled("", name, _shown(said))


def _shown(said: str) -> str:
    if "<" in said and ">" in said:
        shown = html_text(said.encode("utf-8", "replace"))[1].strip()
        said = shown or re.sub(r"[<>]+", " ", said).strip()
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", said))


def _name(element: Any) -> str:
    return _plain(element.tag)


def _plain(name: str) -> str:
    return name.rpartition("}")[2]
