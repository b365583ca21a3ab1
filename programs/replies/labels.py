"""Finds values behind labels, in tags or in a table, in a reply without markers.

`**Answer:** ...`, headings, YAML's and TOML's keys, XML tags, a call's parameters, and tables of
two rows or two columns.
"""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from functools import lru_cache

from ragwright.programs.replies.values import says_value
from ragwright.programs.replies.wanted import (
    OTHER_NAMES,
    OutputField,
    OutputFields,
    normalize_field_name,
)

_AFTER = r"(?: (?:to|of) (?:the|this|your) question)?(?: is)?"
_COLON = r"[:\uff1a]{1,2}[*_`]{0,3}[ \t]*"
_EQUALS = r"(?:=>|==?|:=)[ \t]*|(?<=[\u3011\u300d])[ \t]*|$"
_DASH = r"(?<=[ \t])(?:[\u2013\u2014]|-{1,2}>|=>|\u2192)[ \t]+"
ANY_END = f"{_COLON}|{_EQUALS}|{_DASH}"
_COUNT = r"\(?(?:\d{1,2}|[a-hA-H])[.)]"
_PICTURE = r"[\u2190-\u2bff\U0001f000-\U0001faff]\ufe0f?"
_UNDERLINE = re.compile(r"\A\s*[-=]{3,}[ \t]*\n")
_FENCED = re.compile(r"```(?:te?xt|plain|markdown|md)?[ \t]*\n((?:(?!```).)*+)```", re.DOTALL)
# A row or cell ends where the next begins: else each that is never closed is sought to the end.
_ROW = re.compile(r"<tr\b[^<>]{0,200}>((?:(?!<tr\b).)*?)</tr>", re.DOTALL | re.IGNORECASE)
_CELL = re.compile(r"<t[dh]\b[^<>]{0,200}>((?:(?!<t[dh]\b).)*?)</t[dh]>", re.DOTALL | re.IGNORECASE)
_RULE = re.compile(r"^[ \t|]*(?::?-{3,}:?[ \t]*\|[ \t]*)+:?-{3,}:?[ \t|]*$", re.MULTILINE)
_DOCUMENT_END = re.compile(r"\n(?:\.\.\.|---)\s*\Z")
_BLOCK = re.compile(r"\A[|>][+-]?\d?[ \t]*\n")
_CDATA = re.compile(r"\A<!\[CDATA\[(.*?)(?:\]\]>|\Z)", re.DOTALL)
_BOX = re.compile(r"(?P<math>\$\$?|\\\(|\\\[)?\s{0,9}\\(?:boxed|fbox)\{")
_BOX_BEGUN = re.compile(r"(?:\$\$?|\\\(|\\\[|\\)\s*(?:\\?[a-z]{0,6})?\Z")
_MATH_ENDS = {"$": "$", "$$": "$$", "\\(": "\\)", "\\[": "\\]"}
_PARAMETER = re.compile(r"\s*<(?:\w{1,40}[ \t]+name[ \t]*=|\w{1,40}=)")
_TEXT = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\{([^{}]*)\}")


@lru_cache(maxsize=256)
def label_pattern(names: tuple[str, ...], ends: str = f"{_COLON}|{_EQUALS}") -> re.Pattern[str]:
    """A pattern for a line that begins with one of these names as a label, and an end of it."""
    parts = "|".join(
        re.escape(name).replace("_", "[ _-]").replace(r"\ ", "[ _-]") for name in names
    )
    return re.compile(
        rf"^[ \t]*+(?:(?:[-*•>]|{_COUNT}|#{{1,6}}|{_PICTURE})[ \t]*+){{0,3}}"
        rf"[*_`\"'\[\u3010\u300c]{{0,3}}(?:(?:{_COUNT}|{_PICTURE})[ \t]*+)?"
        rf"(?:the |final |short |my ){{0,2}}({parts}){_AFTER}"
        rf"[*_`\"'\]\u3011\u300d]{{0,3}}[ \t]*+(?:{ends})",
        re.IGNORECASE | re.MULTILINE,
    )


def spelled(wanted: OutputFields, *fields: OutputField) -> tuple[str, ...]:
    """Every name that labels one of these fields."""
    others = [other for one in fields for other in OTHER_NAMES.get(one.name.lower(), ())
              if wanted.called.get(normalize_field_name(other)) is one]  # fmt: skip
    return (*(one.name for one in fields), *others)


def split_labels(
    text: str, wanted: OutputFields, fields: tuple[OutputField, ...], *, alone: bool = True
) -> tuple[str, dict[str, str]]:
    """Cut a text at lines that begin with a label; what stands before the first, and the rest.

    Args:
        text: The text.
        wanted: The fields of the reply.
        fields: Those that may be labelled in it.
        alone: Whether the text is a whole reply. In an answer, a line is a label of another field
            only if a value of that field follows.
    """
    if not fields:
        return text, {}
    names = spelled(wanted, *fields)
    found = (label_pattern(names, ANY_END) if alone else label_pattern(names)).finditer(text)
    marks = [mark for mark in found if alone or _is_label(text, mark, wanted)]
    if not marks:
        return text, {}
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    labelled: dict[str, str] = {}
    for mark, end in zip(marks, ends, strict=True):
        value = _value(text[mark.end() : end])
        if value:
            labelled.setdefault(normalize_field_name(mark[1]), value)
    return text[: marks[0].start()].strip(), labelled


def _is_label(text: str, mark: re.Match[str], wanted: OutputFields) -> bool:
    """Whether what stands behind a label within an answer is a value of that field."""
    one = wanted.called[normalize_field_name(mark[1])]
    return normalize_field_name(one.name) == normalize_field_name(mark[1]) or says_value(
        text[mark.end() :], one.annotation
    )


def _value(text: str) -> str:
    block = _BLOCK.match(text)
    if block:
        return textwrap.dedent(text[block.end() :]).strip()
    value = _UNDERLINE.sub("", text.strip()).strip().rstrip("*_").strip()
    value = _DOCUMENT_END.sub("", value)
    if value[:1] == value[-1:] == "'" and value.count("'") == 2:
        return value[1:-1]
    if value[:1] == value[-1:] == '"' and len(value) > 1:
        try:
            return str(json.loads(value))
        except ValueError:
            return value
    return value


def tagged(text: str, wanted: OutputFields) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the fields that stand in tags, or in a call's parameters."""
    for name in spelled(wanted, *wanted.fields) if "<" in text else ():
        opening, pair = _tags_of(name)
        for opened in opening.finditer(text):
            value = text[opened.end() :]
            if _PARAMETER.match(value):  # the function has the field's name
                continue
            closed = _closing_of(name).search(value)
            yield (
                normalize_field_name(name),
                value[: closed.start()].strip() if closed else value.strip(),
            )
            break
        if key := pair.search(text):
            yield normalize_field_name(name), key[3].strip()


@lru_cache(maxsize=256)
def _tags_of(name: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    said = re.escape(name)
    named = r"(?:\w{1,40}[ \t]+name[ \t]*=[ \t]*[\"']?|\w{1,40}=)?"
    opening = rf"<{named}{said}[\"']?(?:\s[^<>]{{0,200}})?>"
    pair = rf"<(\w*key)>\s*{said}\s*</\1>\s*<(\w*value)>(.*?)(?:</\2>|\Z)"
    return re.compile(opening, re.IGNORECASE), re.compile(pair, re.IGNORECASE | re.DOTALL)


@lru_cache(maxsize=256)
def _closing_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"</(?:{re.escape(name)}|parameter|field|arg\w*)>", re.IGNORECASE)


def tabled(text: str, wanted: OutputFields) -> Iterator[tuple[str, str]]:
    """Yield the names and values of the fields that stand in a table, in Markdown or HTML."""
    ruled = _RULE.search(text) is not None
    lines = [line for line in text.splitlines()
             if line.lstrip().startswith("|") or (ruled and "|" in line)]  # fmt: skip
    cells = [line.strip().strip("|").split("|") for line in lines]
    cells = cells or [_CELL.findall(row) for row in _ROW.findall(text)]
    rows = [[cell.strip().strip("*_`") for cell in row] for row in cells]
    rows = [row for row in rows if not all(re.fullmatch(r":?-*:?", cell) for cell in row)]
    upright = all(normalize_field_name(row[0]) in wanted.called for row in rows if row)
    if (
        len(rows) > 1
        and not upright
        and any(normalize_field_name(cell) in wanted.called for cell in rows[0])
    ):
        for name, value in zip(rows[0], rows[1], strict=False):
            yield normalize_field_name(name), value
        return
    for row in rows:
        if len(row) == 2:
            yield normalize_field_name(row[0]), row[1]


def bare_text(text: str, one: OutputField, wanted: OutputFields) -> str:
    """Return a field's text without what only says that it is this field.

    That is a label or a tag of its own, CDATA, and the box that mathematical models put around
    an answer.
    """
    names = spelled(wanted, one)
    said = text.strip()
    tag = re.match(rf"<({'|'.join(map(re.escape, names))})>\s*", said, re.IGNORECASE)
    if tag:
        said = re.sub(rf"\s*</{re.escape(tag[1])}>\s*\Z", "", said[tag.end() :], flags=re.I)
    label = label_pattern(names, _COLON).match(said)
    if label and said[label.end() :].strip():
        said = said[label.end() :].strip()
    if cdata := _CDATA.match(said):
        said = cdata[1].strip()
    if fence := _FENCED.fullmatch(said):
        said = fence[1].strip()
    return unboxed(said)


def unboxed(text: str) -> str:
    """Return a text with the contents of LaTeX's boxes in their place, but for boxes in code."""
    kept, reached = "", 0
    while box := _BOX.search(text, reached):
        if text.count("`", 0, box.start()) % 2:
            kept, reached = kept + text[reached : box.end()], box.end()
            continue
        end = _closing(text, box.end())
        kept += text[reached : box.start()] + _TEXT.sub(r"\1", text[box.end() : end])
        reached = min(end + 1, len(text))
        math = _MATH_ENDS.get(box["math"] or "")
        rest = text[reached:].lstrip()
        if math and rest.startswith(math):
            reached = len(text) - len(rest) + len(math)
    return kept + text[reached:]


def before_box(text: str) -> str:
    """Leave out the end of a text that may be the beginning of a box, or one that is open."""
    for box in _BOX.finditer(text):
        if _closing(text, box.end()) == len(text) and not text.count("`", 0, box.start()) % 2:
            return text[: box.start()]
    return _BOX_BEGUN.sub("", text)


def _closing(text: str, place: int) -> int:
    """Where the brace that was opened before a place is closed; the end if it is not."""
    depth = 1
    for found in re.finditer(r"(?<!\\)[{}]", text[place:]):
        depth += 1 if found[0] == "{" else -1
        if not depth:
            return place + found.start()
    return len(text)
