r"""Numbers the items of LaTeX's lists as its pages show them: "1.", "(a)", and as they ask.

A list is asked for its labels as `enumitem` is (`label=\Roman*.`, `start=3`, `resume`), or as
`enumerate` is (`[a)]`); numbers set by hand (`\setcounter{enumi}{4}`) count too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from ragwright.retrievers.documents.list_numbers import NUMBER_FORMS

_FORMS = {"1": "decimal", "a": "lowerLetter", "A": "upperLetter", "i": "lowerRoman",
          "I": "upperRoman"}  # fmt: skip
_COMMANDS = {"arabic": "1", "alph": "a", "Alph": "A", "roman": "i", "Roman": "I"}
_LEVELS = (("", "1", "."), ("(", "a", ")"), ("", "i", "."), ("", "A", "."))
_COUNTERS = ("enumi", "enumii", "enumiii", "enumiv")
_LABEL = re.compile(r"\blabel\s{0,9}=\s{0,9}([^,\n]{1,80})")
_COUNTED = re.compile(r"\\(arabic|alph|Alph|roman|Roman)\s?\*")
_STYLE = re.compile(r"\\[A-Za-z]{1,30}\*?\s?|[{}]")
_SHORT = re.compile(r"(?<![A-Za-z\\])[1aAiI](?![A-Za-z])")
_START = re.compile(r"\bstart\s{0,9}=\s{0,9}(\d{1,6})", re.ASCII)
_MOST = 100
"""Lists in one another that are known; TeX knows six."""


@dataclass
class _Numbered:
    """A list that is open: its counter, what stands around the number, and its digits."""

    level: int
    before: str
    form: str
    after: str
    number: int = 0


class LatexLists:
    """The lists that are open where a text is read."""

    def __init__(self) -> None:
        self._open: list[_Numbered | None] = []
        self._last: dict[int, int] = {}

    def begin(self, kind: str, option: str) -> None:
        """Note that a list begins: which kind, and what is asked for in brackets behind it."""
        if len(self._open) >= _MOST:
            return
        level = sum(one is not None for one in self._open)
        made = _numbered(level, option) if kind == "enumerate" else None
        if made and re.search(r"\bresume\b", option):
            made.number = self._last.get(level, 0)
        self._open.append(made)

    def end(self) -> None:
        if self._open and (ended := self._open.pop()):
            self._last[ended.level] = ended.number

    def set(self, counter: str, number: str) -> None:
        """Note what a counter is set to."""
        level = _COUNTERS.index(counter) if counter in _COUNTERS else -1
        for one in self._open:
            if one and one.level == level and re.fullmatch(r"-?\d{1,6}", number, re.ASCII):
                one.number = int(number)

    def mark(self) -> str:
        """Return what stands before the next item: its number, or "-"."""
        one = self._open[-1] if self._open else None
        if one is None:
            return "-"
        one.number += 1
        return f"{one.before}{NUMBER_FORMS[one.form](one.number) or one.number}{one.after}"


def _numbered(level: int, option: str) -> _Numbered:
    before, sign, after = _LEVELS[min(level, len(_LEVELS) - 1)]
    start = _START.search(option)
    if label := _LABEL.search(option):
        if counted := _COUNTED.search(label[1]):
            sign = _COMMANDS[counted[1]]
            before, after = label[1][: counted.start()], label[1][counted.end() :]
    elif "=" not in option and (short := _SHORT.search(option)):
        sign, before, after = short[0], option[: short.start()], option[short.end() :]
    number = int(start[1]) - 1 if start else 0
    return _Numbered(level, _STYLE.sub("", before), _FORMS[sign], _STYLE.sub("", after), number)


__all__ = ["LatexLists"]
