"""Cuts a reply into sections at DSPy's markers, however they are spelled.

`[[ ## answer ## ]]` is what is asked for. Models change its case, its brackets and its signs,
write it as a heading or into a list, and add the field's type; whatever stands on a line of its
own and can only be meant so is taken for a marker.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from ragwright.programs.replies.wanted import OutputFields, normalize_field_name

# Models repeat a sign without end: every pattern here is linear in the length of such a run.
MARKER = re.compile(
    r"(?:\*\*|__|`{1,3}|#{1,6}[ \t]++|>[ \t]*+)?"
    r"\[\[[ \t]*+(#*+)[ \t]*+([^\W\d][\w \t-]{0,60}?)[ \t]*+(#*+)"
    r"[ \t]*+\]\](?:\*\*|__|`{1,3})?[ \t]*:?"
)
_EXACT = re.compile(r"\[\[ ## \w+ ## \]\]")
END = "completed"
_ENDS = (END, "complete", "end", "done", "finished")
_MOST_SECTIONS = 200
_LONGEST_MARKER = 80
_SPACE = r"[ \t\xa0\u3000]"
_RULE = re.compile(r"\n[ \t]*(?:-{3,}|\*{3,}|_{3,})[ \t]*\Z")
_FENCE_END = re.compile(r"\n[ \t]*(?:`{3}|~{3})[ \t]*\Z")
_FENCE = re.compile(r"^[ \t]*(?:`{3}|~{3})", re.MULTILINE)
_OPENED = re.compile(
    r"(?:[*_`>+ \t-]|\d{1,2}[.)])*+(?:[\[\uff3b\u3010{<(]|\\\[|#)[^\]\n}>)]*\]?\Z"
    r"|[ \t]*+[\\>*`_-]{1,2}[ \t]*+\Z"
)
"""A line that begins as a marker may and that nothing closes."""
_SIGNS = re.compile(r"(?:[^\W\d_]|\d{3}).*", re.DOTALL)
"""From the first letter of a line on, or from a number that counts no item of a list."""


@dataclass(frozen=True)
class ReplySection:
    """What stands under a marker or a label.

    Attributes:
        name: Of the field, normalized; empty before the first one.
        text: The text, stripped.
        exact: Whether the marker was written as DSPy asks for it.
    """

    name: str
    text: str
    exact: bool = False


def uncut(text: str, wanted: OutputFields) -> str:
    """Return a text without the beginning of a marker at its end, where a limit cut it."""
    head, _, last = text.rpartition("\n")
    if len(last) > _LONGEST_MARKER or not _OPENED.match(last):
        return text
    letters = _SIGNS.search(last)
    if not letters and any(map(str.isdigit, last)):
        return text
    begun = normalize_field_name(letters[0]) if letters else ""
    marks = not letters or re.search(r"[\[{<(\uff3b\u3010].*#", last[: letters.start()])
    if any(name.startswith(begun) for name in _beginnings(wanted)) or (
        marks and any(begun.startswith(name) for name in _beginnings(wanted))
    ):
        return head
    return text


def marker_sections(text: str, wanted: OutputFields) -> list[ReplySection]:
    """Cut a text at its markers; the first section is what stands before any."""
    text = _respelled(text, wanted)
    names = {*wanted.called, END}
    # Without a # on either side, only the name of a field makes a marker.
    found = (
        mark
        for mark in MARKER.finditer(text)
        if (mark[1] or mark[3] or normalize_field_name(mark[2]) in names)
        and not _is_mention(text, mark)
    )
    marks = list(islice(found, _MOST_SECTIONS))
    ends = [*(mark.start() for mark in marks[1:]), len(text)][: len(marks)]
    cut = [
        ReplySection(
            normalize_field_name(mark[2]),
            _ended(text[mark.end() : end]),
            bool(_EXACT.fullmatch(mark[0].strip())),
        )
        for mark, end in zip(marks, ends, strict=True)
    ]
    before = text[: marks[0].start()] if marks else text
    return [ReplySection("", before.strip() if marks else text.strip()), *cut]


def first_is_mention(text: str) -> bool:
    """Whether words stand before a text's first marker on its line: a reply does not begin so."""
    mark = MARKER.search(text)
    return mark is not None and _after_words(text, mark)


def before_marker(text: str, wanted: OutputFields) -> str:
    """Leave out the end of a text that may be the beginning of a marker, or of a label."""
    start = text.rfind("[[")
    if start >= 0 and "]]" not in text[start:] and len(text) - start < _LONGEST_MARKER:
        text = text[:start]
    text = text.rstrip("[")
    head, line, last = text.rpartition("\n")
    letters = _SIGNS.search(last)
    begun = normalize_field_name(letters[0]) if letters else ""
    unclear = len(last) < _LONGEST_MARKER and any(
        name.startswith(begun) or begun.startswith(name) for name in _beginnings(wanted)
    )
    if unclear or not letters:
        return head
    return head + line + last


def _beginnings(wanted: OutputFields) -> tuple[str, ...]:
    return (*wanted.called, *_ENDS)


def _is_mention(text: str, mark: re.Match[str]) -> bool:
    """Whether a marker is spoken of: in backticks and within a sentence, as prompts have it."""
    return "`[[" in mark[0] and _after_words(text, mark)


def _after_words(text: str, mark: re.Match[str]) -> bool:
    before = text[text.rfind("\n", 0, mark.start()) + 1 : mark.start()]
    return any(sign.isalnum() for sign in before)


def _ended(text: str) -> str:
    """A section without a rule, or the end of a fence that began before it, at its end."""
    said = _RULE.sub("", text.strip())
    odd = len(_FENCE.findall(said)) % 2
    return (_FENCE_END.sub("", said) if odd else said).strip()


def _respelled(text: str, wanted: OutputFields) -> str:
    """Write markers that stand on lines of their own, in another spelling, as `MARKER` is."""
    names = tuple(sorted({*wanted.called, *map(normalize_field_name, wanted.inputs)}))
    spelled = _spelled(names)
    if not spelled.search(text):
        return text
    return spelled.sub(_plainly, text)


def _plainly(mark: re.Match[str]) -> str:
    if MARKER.fullmatch(mark[0].strip(" \t")):
        return mark[0]
    # What closes a field begins no other one.
    name = "end" if mark["close"] or mark["shut"] else mark["name"] or mark["bare"] or END
    return f"[[##{name}##]]"


@lru_cache(maxsize=256)
def _spelled(names: tuple[str, ...]) -> re.Pattern[str]:
    # Folded names have no signs: between two letters of one, a model may write some.
    any_name = "|".join(r"[ _-]?".join(map(re.escape, name)) for name in (*names, END))
    opened, closed = r"(?:\\?[\[\uff3b\u3010{<])", r"(?:\\?[\]\uff3d\u3011}>])"
    signs = r"(?:\\?[#\uff03]){1,6}"
    type_ = r"(?:[ \t]*[:(][^\n#]{0,40}?)?"
    before = rf"^(?>{_SPACE}*)(?:(?:[-+>]|\d{{1,2}}[.)]|#{{1,6}}){_SPACE}+)?[*_`]{{0,3}}"
    opening, closing = rf"(?:{opened}{_SPACE}?){{1,4}}", rf"(?:{_SPACE}?{closed}){{1,4}}"
    counted = (
        rf"(?:(?:\d{{1,2}}{_SPACE}?[.):-]|(?:output{_SPACE})?(?:field|output){_SPACE}?:){_SPACE}*)?"
    )
    after = rf"[*_`]{{0,3}}(?>{_SPACE}*):?(?>{_SPACE}*)"
    return re.compile(
        rf"{before}{opening}(?>{_SPACE}*){signs}(?>{_SPACE}*)"
        rf"(?P<close>/|end(?:{_SPACE}of)?{_SPACE})?"
        rf"{counted}(?P<name>{any_name}){type_}(?>{_SPACE}*){signs}(?>{_SPACE}*){closing}{after}"
        rf"|{before}{opening}(?>{_SPACE}*)/?{END}(?>{_SPACE}*){closing}{after}$"
        rf"|^(?>{_SPACE}*)##{_SPACE}(?P<bare>{any_name}){_SPACE}##(?>{_SPACE}*)$"
        rf"|^(?>{_SPACE}*)\({END}\)(?>{_SPACE}*)$"
        rf"|\[\[{_SPACE}?#{{1,6}}{_SPACE}?(?P<shut>/)(?:{any_name}){_SPACE}?#{{1,6}}{_SPACE}?\]\]",
        re.IGNORECASE | re.MULTILINE,
    )
