"""reStructuredText in, Markdown with rows of tables as lines out: as a reader of its page has it.

Line by line and in linear time; what is none of its marks stays as it is written. Directives of any
tool are known by their form alone: what is in them is text, but for a few that hold none.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from textwrap import indent

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.line_blocks import (
    count_items,
    fenced,
    first_line,
    join_lines,
    rows_as_lines,
)

_UNDERLINE = re.compile(r"([!-/:-@\[-`{-~])\1{2,}")
_EXPLICIT = re.compile(r"( {0,60})\.\.(?: +(\S.*)|$)")
_DIRECTIVE = re.compile(r"([A-Za-z][\w:+.-]{0,80})::(?:\s+(.*)|$)")
_OPTION = re.compile(r"\s*:([\w-]{1,60}):(?:\s+(.*)|$)")
_NOTE = re.compile(r"\[(#?[\w*-]{1,60}|\*)\]\s+(.*)")
_TARGET = re.compile(r"_(`[^`]{1,200}`|[^:]{1,200}|_):\s+(\S+)")
_GRID = re.compile(r"\s*\+(?:[-=]+\+)+")
_SIMPLE = re.compile(r"\s*=+(?: +=+)+")
_SPANS = re.compile(r"\s*-+(?: +-+)*")
_ITEM = re.compile(r"( {0,20})([*-]) (?:([*-]) )?(.*)")
_CODE = frozenset("code code-block sourcecode prompt productionlist doctest "
                  "testcode testoutput literal".split())  # fmt: skip
_EMPTY = frozenset(
    "contents toctree index highlight currentmodule raw meta role default-role sectnum section-"
    "numbering target-notes header footer include literalinclude autosummary plot graphviz "
    "tabularcolumns sectionauthor codeauthor".split()
)
_BARE = frozenset("container only compound rst-class class tabs tab-set epigraph highlights "
                  "pull-quote table replace".split())  # fmt: skip
_SAID = {
    **{name: f"{name.capitalize()}: " for name in
       "note warning tip important caution danger hint attention error todo".split()},
    "seealso": "See also: ", "versionadded": "Added in ", "versionchanged": "Changed in ",
    "deprecated": "Deprecated since ", "admonition": "",
}  # fmt: skip
_INLINE = re.compile(
    r"``(?P<code>(?:[^`]|`(?!`)){1,500}?)``"
    r"|:(?P<role>[A-Za-z][\w:+.-]{0,60}):`(?P<said>[^`]{1,500})`"
    r"|`(?P<link>[^`<]{0,300}<[^<>`]{1,500}>)`__?"
    r"|`(?P<name>[^`]{1,300})`__?(?!\w)"
    r"|\[#?(?P<note>[\w*-]{1,40})\]_(?!\w)"
    r"|\\(?P<escaped>[^\w\n])"
)
_REPLACED = re.compile(r"(?m)^ {0,20}\.\. \|([^|\n]{1,80})\| replace::[ \n]([^\n]{1,300})")
_SUBSTITUTED = re.compile(r"(?<!\.\. )\|([^|\s](?:[^|\n]{0,78}[^|\s])?)\|_{0,2}(?!\w)")
_NAMED = re.compile(r"(.*?)\s*<([^<>]{1,500})>", re.DOTALL)
_MATH = frozenset({"math", "math:numref"})
_LANGUAGE = re.compile(r"[\w+#-]{1,20}")
_DEEPEST = 12


def rst_text(text: str) -> FileText:
    """Return the text of a reStructuredText file; its title is the first heading."""
    text = text.expandtabs(8)
    said = {name: value.strip() for name, value in _REPLACED.findall(text)}
    if said:
        text = _SUBSTITUTED.sub(lambda mark: said.get(mark[1], mark[0]), text)
    made = _RstLines().read([line.rstrip() for line in text.splitlines()])
    return join_lines(count_items(made, loose=True))


class _RstLines:
    """Reads lines; knows which marks under headings stand for which level."""

    def __init__(self) -> None:
        self._levels: list[str] = []

    def read(self, lines: Sequence[str], deeper: int = _DEEPEST) -> list[str]:
        made: list[str] = []
        at = 0
        while at < len(lines):
            at, said = self._next(lines, at, deeper)
            for part in said:
                if part or made[-1:] != [""]:
                    made.append(part)
        return made

    def _next(self, lines: Sequence[str], at: int, deeper: int) -> tuple[int, list[str]]:
        """Return what stands at a line, and the line behind it."""
        if found := self._heading(lines, at) or _table(lines, at):
            return found
        if explicit := _EXPLICIT.fullmatch(lines[at]):
            end = _block_end(lines, at + 1, len(explicit[1]))
            said = self._explicit(explicit[2] or "", lines[at + 1 : end], deeper)
            return end, [indent(part, explicit[1]) for part in said]
        if lines[at].startswith(">>> "):
            end = first_line(lines, at, "".__eq__)
            return end, fenced(lines[at:end], "python")
        if lines[at].endswith("::"):
            end = _block_end(lines, at + 1, len(lines[at]) - len(lines[at].lstrip()))
            code = fenced(lines[at + 1 : end])
            before = lines[at][:-1] if lines[at].strip() != "::" else ""
            if code:
                return end, [_inline(before), *code]
        return at + 1, [_inline(lines[at])]

    def _heading(self, lines: Sequence[str], at: int) -> tuple[int, list[str]] | None:
        if _UNDERLINE.fullmatch(lines[at]):
            title, under = (*lines[at + 1 : at + 3], "", "")[:2]
            style, size = f"{lines[at][0]} over", 3
            marked = bool(title) and bool(under) and under == lines[at]
        else:
            title, under = (*lines[at : at + 2], "", "")[:2]
            style, size = under[:1], 2
            marked = title[:1].strip() != "" and _UNDERLINE.fullmatch(under) is not None
        if not marked or not title.strip() or (len(under) < len(title) and len(under) < 4):
            return None
        if style not in self._levels:
            self._levels.append(style)
        level = min(6, self._levels.index(style) + 1)
        return at + size, ["", f"{'#' * level} {_inline(title.strip())}", ""]

    def _explicit(self, said: str, body: Sequence[str], deeper: int) -> list[str]:
        """Return what stands for a directive, a note or a target; nothing of a comment."""
        if note := _NOTE.fullmatch(said):
            return [f"[{note[1].lstrip('#')}] {_inline(note[2])}", *self._inner(body, deeper)]
        if target := _TARGET.fullmatch(said):
            return ["", f"[{target[1].strip('`')}]: {target[2]}"]
        directive = None if said.startswith("|") else _DIRECTIVE.fullmatch(said)
        if directive is None or directive[1].rpartition(":")[2] in _EMPTY:
            return []
        return self._directive(directive[1], directive[2] or "", body, deeper)

    def _directive(self, name: str, given: str, body: Sequence[str], deeper: int) -> list[str]:
        options, inner = _options(body)
        match name.rpartition(":")[2]:
            case "parsed-literal":
                return fenced([*map(_inline, inner)])
            case last if last in _CODE:
                return fenced(inner, given if _LANGUAGE.fullmatch(given) else "")
            case "math":
                return ["", "$$", *filter(None, (given, *map(str.strip, inner))), "$$", ""]
            case "list-table" | "csv-table" as last:
                return self._listed(last, given, options, inner)
            case "image" | "figure":
                return [_inline(options.get("alt", "")), *self._inner(inner, deeper)]
        return ["", *self._titled(name, given), *self._inner(inner, deeper), ""]

    def _titled(self, name: str, given: str) -> list[str]:
        if name in _BARE:
            return [_inline(given)] if name in {"table", "replace"} else []
        if name in _SAID:
            return [f"{_SAID[name]}{_inline(given)}".strip()]
        return [f"`{given}`"] if ":" in name and given else [_inline(given)]

    def _inner(self, body: Sequence[str], deeper: int) -> list[str]:
        """Return what is in a directive, to a depth that people write."""
        depth = min((len(line) - len(line.lstrip()) for line in body if line), default=0)
        lines = [line[depth:] for line in body]
        return self.read(lines, deeper - 1) if deeper else lines

    def _listed(
        self, name: str, caption: str, options: dict[str, str], body: Sequence[str]
    ) -> list[str]:
        headed = options.get("header-rows", "0")
        rows = _list_rows(body) if name == "list-table" else _csv(body)
        if name == "csv-table" and "header" in options:
            rows, headed = [*_csv([options["header"]]), *rows], "1"
        first = int(headed) if headed.isdecimal() and len(headed) < 3 else 0
        cells = [[_inline(cell) for cell in row] for row in rows]
        return rows_as_lines(cells, min(first, len(cells) - 1), _inline(caption))


def _block_end(lines: Sequence[str], at: int, depth: int) -> int:
    """Return the line behind a block that is indented by more than `depth`."""
    end = at
    for number in range(at, len(lines)):
        line = lines[number]
        if line and len(line) - len(line.lstrip()) <= depth:
            break
        end = number + 1 if line else end
    return end


def _options(body: Sequence[str]) -> tuple[dict[str, str], Sequence[str]]:
    """Return the options at the head of a directive, and what is behind them."""
    options: dict[str, str] = {}
    at = 0
    while at < len(body) and (found := _OPTION.fullmatch(body[at])):
        options[found[1]] = found[2] or ""
        at += 1
    return options, body[at:]


def _list_rows(body: Sequence[str]) -> list[list[str]]:
    """Return the rows of a table that is a list of lists."""
    rows: list[list[list[str]]] = []
    outer: int | None = None
    for line in body:
        item = _ITEM.fullmatch(line)
        depth = len(item[1]) if item else -1
        outer = depth if outer is None and item else outer
        if item and depth == outer and (item[3] or not item[4]):
            rows.append([[item[4]]])
        elif item and rows and outer is not None and depth == outer + 2:
            rows[-1].append([item[4]])
        elif rows and line.strip():
            rows[-1][-1].append(line.strip())
    return [[" ".join(filter(None, cell)) for cell in row] for row in rows]


def _csv(body: Sequence[str]) -> list[list[str]]:
    import csv

    try:
        rows = [*csv.reader((line.strip() for line in body), skipinitialspace=True)]
    except csv.Error:
        return [[line] for line in body]
    return [[cell.strip() for cell in row] for row in rows if row]


def _table(lines: Sequence[str], at: int) -> tuple[int, list[str]] | None:
    line = lines[at]
    if _GRID.fullmatch(line):
        end = first_line(lines, at, lambda one: one.lstrip()[:1] not in {"+", "|"})
        return (end, _grid(lines[at:end])) if end > at + 2 else None
    if not _SIMPLE.fullmatch(line):
        return None
    ends = [at]
    for number in range(at + 1, len(lines)):
        if _SIMPLE.fullmatch(lines[number]) and len(lines[number]) == len(line):
            ends.append(number)
            if len(ends) == 3 or not (lines[number + 1 : number + 2] or [""])[0]:
                break
        elif lines[number] and not lines[number].startswith(line[: len(line) - len(line.lstrip())]):
            return None
    if len(ends) < 2:
        return None
    return ends[-1] + 1, _simple(lines[at : ends[-1] + 1], [end - at for end in ends])


def _simple(lines: Sequence[str], borders: Sequence[int]) -> list[str]:
    """Return the lines of a table whose columns are as wide as their borders."""
    starts = [found.start() for found in re.finditer("=+", lines[0])]
    spans = [*pairwise(starts), (starts[-1], None)]
    rows: list[list[list[str]]] = []
    headed = 0
    for number, line in enumerate(lines):
        if number in borders:
            headed = len(rows) if len(borders) == 3 and number == borders[1] else headed
        elif line and not _SPANS.fullmatch(line):
            cells = [line[start:end].strip() for start, end in spans]
            if cells[0] or len(rows) <= headed:
                rows.append([[] for _ in spans])
            for cell, text in zip(rows[-1], cells, strict=True):
                cell.append(text)
    return rows_as_lines(_texts(rows), headed)


def _texts(rows: Sequence[Sequence[Sequence[str]]]) -> list[list[str]]:
    """Return the text of each cell of rows, from its lines."""
    return [[_inline(" ".join(filter(None, cell))) for cell in row] for row in rows]


def _grid(lines: Sequence[str]) -> list[str]:
    """Return the lines of a table that is drawn; a cell that spans rows is in the first of them."""
    marks = max((line for line in lines if _GRID.fullmatch(line)), key=lambda line: line.count("+"))
    bounds = [at for at, sign in enumerate(marks) if sign == "+"]
    rows: list[list[list[str]]] = []
    headed, fresh = 0, True
    for line in lines:
        if _GRID.fullmatch(line):
            headed = len(rows) if "=" in line else headed
            fresh = True
            continue
        if fresh or re.search(r"\+-+\+", line):
            rows.append([[] for _ in bounds[1:]])
            fresh = False
        for column, text in _drawn(line, bounds):
            rows[-1][column].append(text)
    cells = [row for row in _texts(rows) if any(row)]
    return rows_as_lines(cells, min(headed, max(0, len(cells) - 1)))


def _drawn(line: str, bounds: Sequence[int]) -> list[tuple[int, str]]:
    """Return the cells of a line, each with its first column."""
    shown = [at for at in bounds if line[at : at + 1] in {"|", "+"}]
    cells = [(bounds.index(start), line[start + 1 : end]) for start, end in pairwise(shown)]
    return [(at, text.strip()) for at, text in cells if text.strip(" -+")]


def _inline(text: str) -> str:
    """Return text whose roles, links and escapes are what they show.

    >>> _inline("See :ref:`the guide <guide>` and ``x = 1``.")
    'See the guide and `x = 1`.'
    """
    return _INLINE.sub(_shown, text) if "`" in text or "\\" in text or "]_" in text else text


def _shown(mark: re.Match[str]) -> str:
    if mark["escaped"]:
        return "" if mark["escaped"] == " " else mark["escaped"]
    if mark["code"]:
        return f"`{mark['code']}`"
    if mark["link"]:
        return _link(mark["link"])
    if mark["role"]:
        return _role(mark["role"].rpartition(":")[2], mark["said"])
    return f"[{mark['note']}]" if mark["note"] else mark["name"]


def _role(role: str, said: str) -> str:
    if role == "math":
        return f"${said}$"
    if role in {"sub", "sup", "subscript", "superscript"}:
        return said
    if named := _NAMED.fullmatch(said):
        return named[1] or named[2]
    plain = said.lstrip("~!")
    return plain if role in {"ref", "doc", "term", "numref", "abbr", "guilabel"} else f"`{plain}`"


def _link(said: str) -> str:
    named = _NAMED.fullmatch(said)
    if named is None:
        return said
    return f"[{named[1]}]({named[2]})" if named[1] else f"<{named[2]}>"


__all__ = ["rst_text"]
