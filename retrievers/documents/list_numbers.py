"""Writes the numbers of lists in the digits they are shown in: "e.", "IV.", "07"."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

_ROMAN = ((1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"),
          (40, "xl"), (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i"))  # fmt: skip
_MOST = 4000
_NUMBER = "data-number"
_BULLET = re.compile(r"\A\d+\.")
_TYPES = {"a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman", "I": "upperRoman"}
_STYLES = {
    "lower-alpha": "a", "lower-latin": "a", "upper-alpha": "A", "upper-latin": "A",
    "lower-roman": "i", "upper-roman": "I",
}  # fmt: skip
_STYLE = re.compile(r"list-style(?:-type)?\s*:\s*([\w-]+)", re.IGNORECASE)
_WHOLE = re.compile(r"-?\d{1,9}", re.ASCII)


def letters(number: int) -> str:
    return chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 9) if number > 0 else ""


def roman(number: int) -> str:
    if not 0 < number < _MOST:
        return str(number)
    made = ""
    for value, sign in _ROMAN:
        made += sign * (number // value)
        number %= value
    return made


NUMBER_FORMS: Mapping[str, Callable[[int], str]] = {
    "decimal": str,
    "decimalZero": lambda number: f"{number:02d}",
    "lowerLetter": letters,
    "upperLetter": lambda number: letters(number).upper(),
    "lowerRoman": roman,
    "upperRoman": lambda number: roman(number).upper(),
}
"""Digits by what Word calls them."""


def number_items(soup: Any) -> None:
    """Note at the items of a page's lists the number that a browser shows."""
    for tag in soup("ol"):
        items = tag("li", recursive=False)
        backwards = tag.get("reversed") is not None
        number = _whole(tag.get("start"), len(items) if backwards else 1)
        write = NUMBER_FORMS[_TYPES.get(_type(tag), "decimal")]
        for item in items:
            number = _whole(item.get("value"), number)
            item[_NUMBER] = write(number) or str(number)
            number += -1 if backwards else 1


def renumber(line: str, item: Any) -> str:
    """Return an item of Markdown that the converter has numbered with the number it is shown with.

    >>> renumber("2. six", {"data-number": "f"})
    'f. six'
    """
    number = item.get(_NUMBER)
    return _BULLET.sub(lambda _: f"{number}.", line) if number else line


def _type(tag: Any) -> str:
    style = _STYLE.search(str(tag.get("style", "")))
    return _STYLES.get(style[1].lower(), "") if style else str(tag.get("type", ""))


def _whole(said: Any, otherwise: int) -> int:
    return int(said) if said and _WHOLE.fullmatch(str(said).strip()) else otherwise
