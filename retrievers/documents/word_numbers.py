"""Writes out the numbers of a Word document's paragraphs: "2.1", "(a)", "IV.".

Word computes them when it shows a document; sentences refer to them ("see section 2.1").
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ragwright.retrievers.documents.list_numbers import NUMBER_FORMS
from ragwright.retrievers.documents.office_parts import markup

_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_VALUE = f"{_WORDS}val"
_LEVEL = re.compile(r"%([1-9])")


@dataclass(frozen=True, slots=True)
class ListLevel:
    """How the paragraphs of a level are numbered: in what digits, within what, from where on."""

    form: str
    text: str
    start: int


Levels = dict[int, ListLevel]


def numbered(document: bytes, numbering: bytes, styles: bytes) -> tuple[bytes, bytes]:
    """Return a document whose numbers are text, and its numbering without what was written out."""
    from lxml import etree

    text, lists, looks = (markup(part) for part in (document, numbering, styles))
    if lists.find(f"{_WORDS}num") is None:
        return document, numbering
    by_style = _by_style(lists, looks)
    levels = {_id(tag, "numId"): _levels_of(tag, lists) for tag in lists.findall(f"{_WORDS}num")}
    restarts = {_id(tag, "numId"): _restarts(tag) for tag in lists.findall(f"{_WORDS}num")}
    counts: dict[str, Counter[int]] = {}
    for paragraph in text.iter(f"{_WORDS}p"):
        number, level = _place(paragraph, by_style)
        abstract, known = levels.get(number, ("", {}))
        if level in known and known[level].form in NUMBER_FORMS:
            count = counts.setdefault(abstract, Counter())
            for deep, before in restarts.pop(number, {}).items():
                count[deep] = before
            label = _label(count, known, level)
            _write(paragraph, label, etree)
    for tag in [*lists.iter(f"{_WORDS}lvl")]:
        if _of(tag, "numFmt") in NUMBER_FORMS and (link := tag.find(f"{_WORDS}pStyle")) is not None:
            tag.remove(link)  # or the converter would number its paragraphs again
    return bytes(etree.tostring(text, encoding="UTF-8")), bytes(
        etree.tostring(lists, encoding="UTF-8")
    )


def _levels_of(number: Any, lists: Any) -> tuple[str, Levels]:
    """Return the list that a number belongs to, and its levels."""
    abstract = _of(number, "abstractNumId")
    for tag in lists.findall(f"{_WORDS}abstractNum"):
        if _id(tag, "abstractNumId") == abstract:
            found = tag.findall(f"{_WORDS}lvl")
            return abstract, {_whole(_id(lvl, "ilvl")): _level(lvl) for lvl in found}
    return abstract, {}


def _restarts(number: Any) -> dict[int, int]:
    """Return what is counted before the first paragraph of a number that starts anew, by level."""
    found = number.findall(f"{_WORDS}lvlOverride")
    return {
        _whole(_id(tag, "ilvl")): _whole(_of(tag, "startOverride"), 1) - 1
        for tag in found
        if tag.find(f"{_WORDS}startOverride") is not None
    }


def _level(tag: Any) -> ListLevel:
    return ListLevel(
        _of(tag, "numFmt") or "decimal", _of(tag, "lvlText"), _whole(_of(tag, "start"), 1)
    )


def _by_style(lists: Any, looks: Any) -> Mapping[str, tuple[str, int]]:
    """Return the numbering of styles, each its number and its level."""
    found: dict[str, tuple[str, int]] = {}
    linked = {_of(lvl, "pStyle"): _whole(_id(lvl, "ilvl")) for lvl in lists.iter(f"{_WORDS}lvl")}
    for style in looks.findall(f"{_WORDS}style"):
        name = _id(style, "styleId")
        numbers = style.find(f"{_WORDS}pPr/{_WORDS}numPr")
        if numbers is not None and (number := _of(numbers, "numId")):
            found[name] = number, linked.get(name, _whole(_of(numbers, "ilvl")))
    return found


def _place(paragraph: Any, by_style: Mapping[str, tuple[str, int]]) -> tuple[str, int]:
    looks = paragraph.find(f"{_WORDS}pPr")
    if looks is None:
        return "", 0
    number, level = by_style.get(_of(looks, "pStyle"), ("", 0))
    own = looks.find(f"{_WORDS}numPr")
    if own is None:
        return number, level
    return _of(own, "numId") or number, _whole(_of(own, "ilvl"), level)


def _label(counts: Counter[int], levels: Levels, level: int) -> str:
    """Count a paragraph, and return its number as its level writes it."""
    for above in range(level):
        if above in levels and above not in counts:
            counts[above] = levels[above].start
    counts[level] = counts[level] + 1 if level in counts else levels[level].start
    for deeper in [one for one in counts if one > level]:
        del counts[deeper]

    def number(found: re.Match[str]) -> str:
        at = int(found[1]) - 1
        form = levels[at].form if at in levels else "decimal"
        return NUMBER_FORMS.get(form, str)(counts[at])

    return _LEVEL.sub(number, levels[level].text)


def _write(paragraph: Any, label: str, etree: Any) -> None:
    looks = paragraph.find(f"{_WORDS}pPr")
    own = looks.find(f"{_WORDS}numPr")
    if own is not None:
        looks.remove(own)
    if label.strip():
        run = etree.Element(f"{_WORDS}r")
        text = etree.SubElement(run, f"{_WORDS}t")
        text.text = f"{label.strip()} "
        text.set("{http://www.w3.org/XML/1998/namespace}space", "preserve")
        looks.addnext(run)


def _of(tag: Any, name: str) -> str:
    found = tag.find(f"{_WORDS}{name}")
    return "" if found is None else str(found.get(_VALUE, ""))


def _id(tag: Any, name: str) -> str:
    return str(tag.get(f"{_WORDS}{name}", ""))


def _whole(said: str, otherwise: int = 0) -> int:
    return int(said) if said.isascii() and said.isdigit() and len(said) < 6 else otherwise
