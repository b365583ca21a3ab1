"""Finds the headings of a Word document: by outline level, of a paragraph or of its style.

The converter knows the styles that Word brings, by their names. Templates have others, which are
based on these or have a level of their own; and a paragraph may be lifted to a level by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

_WORDS = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_LEVEL, _STYLE = f"{_WORDS}outlineLvl", f"{_WORDS}pStyle"
_VALUE = f"{_WORDS}val"
_LIFTED = "ragwrightLevel"
_LEVELS = 6
_DEEPEST = 20
"""Styles that a style is based on, one on the other."""

LIFTED = [f"p.{_LIFTED}{level + 1} => h{level + 1}:fresh" for level in range(_LEVELS)]
"""How the converter is to take paragraphs that `lifted_headings` has marked."""


def heading_styles(styles: bytes) -> list[str]:
    """Return how the converter is to take a document's own styles: those with a level."""
    from lxml import etree

    root = etree.fromstring(styles, etree.XMLParser(resolve_entities=False, recover=True))
    if root is None:
        return []
    known = {style.get(f"{_WORDS}styleId"): style for style in root.iter(f"{_WORDS}style")}
    found = []
    for style in known.values():
        name, level = style.find(f"{_WORDS}name"), _level_of(style, known)
        said = "" if name is None else str(name.get(_VALUE, ""))
        if level is not None and said and style.get(f"{_WORDS}type") == "paragraph":
            quoted = said.replace("\\", "\\\\").replace("'", "\\'")
            found.append(f"p[style-name='{quoted}'] => h{level + 1}:fresh")
    return found


def lifted_headings(parts: Mapping[str, bytes]) -> dict[str, bytes]:
    """Return the parts that change where paragraphs with a level of their own are marked."""
    return {name: _lifted(part) for name, part in parts.items() if b"outlineLvl" in part}


def _lifted(part: bytes) -> bytes:
    from lxml import etree

    root = etree.fromstring(part, etree.XMLParser(resolve_entities=False, recover=True))
    if root is None:
        return part
    for level in [*root.iter(_LEVEL)]:
        if (number := _number(level)) is None or level.getparent().tag != f"{_WORDS}pPr":
            continue
        if (style := level.getparent().find(_STYLE)) is None:
            style = etree.Element(_STYLE)
            level.getparent().insert(0, style)
        style.set(_VALUE, f"{_LIFTED}{number + 1}")
    return bytes(etree.tostring(root, encoding="UTF-8"))


def _level_of(style: Any, known: dict[str, Any]) -> int | None:
    for one in _bases(style, known):
        level = one.find(f"{_WORDS}pPr/{_LEVEL}")
        if level is not None:
            return _number(level)
    return None


def _bases(style: Any, known: dict[str, Any]) -> Iterator[Any]:
    """Yield a style and those that it is based on."""
    for _ in range(_DEEPEST):
        if style is None:
            return
        yield style
        base = style.find(f"{_WORDS}basedOn")
        style = None if base is None else known.get(base.get(_VALUE))


def _number(level: Any) -> int | None:
    """Return a level from 0; None of body text, and of what is no such number."""
    said = level.get(_VALUE, "")
    return int(said) if said in {str(number) for number in range(_LEVELS)} else None
