"""AsciiDoc in, Markdown with rows of tables as lines out: as a reader of its page has it.

Line by line and in linear time; what is none of its marks stays as it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.line_blocks import (
    count_items,
    fenced,
    first_line,
    join_lines,
    rows_as_lines,
)

_HEADING = re.compile(r"(={1,6}|#{1,6})\s+(\S.*?)(?:\s+\1)?")
_UNDER = re.compile(r"([-=~^+])\1{2,}")
_BLOCK = re.compile(r"(-{4,}|\.{4,}|={4,}|\*{4,}|_{4,}|\+{4,}|/{4,}|```\w*|--)")
_TABLE = re.compile(r"([|!,:])={3,}")
_ATTRIBUTE = re.compile(r":(!?[\w-]{1,60}!?):(?:\s+(.*)|$)")
_STYLE = re.compile(r"\[([^\]\n]{0,300})\]")
_SPEC = re.compile(r"(?:\d{0,3}(?:\.\d{1,3})?[+*])?[<^>]?(?:\.[<^>])?[adehlmsv]?\|")
_NOTES = frozenset("NOTE TIP IMPORTANT WARNING CAUTION".split())
_INLINE = re.compile(
    r"(?:link:|xref:)?(?P<url>(?:https?|ftp|mailto):[^\s\[\]<>]{1,500}|(?<=link:)[^\s\[\]]{1,500})"
    r"\[(?P<said>[^\]\n]{0,300})\]"
    r"|(?:xref|kbd|btn|menu|footnote|pass|stem|latexmath):[^\s\[\]]{0,200}\[(?P<text>[^\]\n]{0,500})\]"
    r"|<<(?P<to>[^<>,\n]{1,200})(?:,\s*(?P<shown>[^<>\n]{1,300}))?>>"
    r"|image::?[^\s\[\]]{1,300}\[(?P<alt>[^\],\n]{0,300})[^\]\n]{0,300}\]"
    r"|\[\[[^\[\]\n]{1,200}\]\]"
    r"|\{(?P<name>[\w-]{1,60})\}"
)


def asciidoc_text(text: str) -> FileText:
    """Return the text of an AsciiDoc file."""
    lines = [line.rstrip() for line in text.splitlines()]
    names: dict[str, str] = {}
    made: list[str] = []
    style, at = "", 0
    while at < len(lines):
        line = lines[at]
        if attribute := _ATTRIBUTE.fullmatch(line):
            names[attribute[1]] = attribute[2] or ""
            at += 1
        elif found := _STYLE.fullmatch(line):
            style, at = found[1], at + 1
        else:
            at, said = _block(lines, at, style)
            style = "" if line else style
            made += said
    return join_lines(count_items([_inline(line, names) for line in made], loose=True))


def _block(lines: Sequence[str], at: int, style: str) -> tuple[int, list[str]]:
    line = lines[at]
    under = lines[at + 1] if at + 1 < len(lines) else ""
    apart = at == 0 or not lines[at - 1] or lines[at - 1].startswith(("[", "//"))
    if heading := _HEADING.fullmatch(line):
        return at + 1, ["", f"{'#' * len(heading[1])} {heading[2]}", ""]
    if apart and _is_underlined(line, under):
        return at + 2, ["", f"{'#' * (1 + '=-~^+'.index(under[0]))} {line}", ""]
    if table := _TABLE.fullmatch(line):
        end = first_line(lines, at + 1, line.__eq__)
        return end + 1, _table(lines[at + 1 : end], style, table[1])
    if block := _BLOCK.fullmatch(line):
        return _delimited(lines, at, block[1], style)
    note = style.strip("%").upper()
    said = [f"{note.capitalize()}:"] if note in _NOTES and line else []
    return at + 1, [*said, *_line(line)]


def _line(line: str) -> list[str]:
    """Return what a line shows that begins no block."""
    if line == "+" or line.startswith(("//", "ifdef::", "ifndef::", "endif::", "toc::")):
        return []
    if re.match(r"\.[^\s.]", line):
        return ["", line[1:]]
    return ["" if line in {"'''", "<<<"} else _item(line)]


def _is_underlined(line: str, under: str) -> bool:
    """Tell whether two lines are a heading as AsciiDoc had it first; `----` may open a block."""
    marked = _UNDER.fullmatch(under) is not None and re.match(r"\w", line) is not None
    return marked and abs(len(line) - len(under)) <= 1


def _delimited(lines: Sequence[str], at: int, mark: str, style: str) -> tuple[int, list[str]]:
    """Return code between fences; of other blocks their text goes on, without their marks."""
    if mark[0] in "/-.`" and mark != "--":
        end = first_line(lines, at + 1, mark[:3].__eq__ if mark[0] == "`" else mark.__eq__)
        language = mark[3:] if mark[0] == "`" else "".join(style.split(",")[1:2]).strip()
        code = fenced(lines[at + 1 : end], language if language.isalnum() else "")
        return end + 1, [] if mark[0] == "/" else code
    note = style.strip("%").upper()
    return at + 1, [f"{note.capitalize()}:"] if note in _NOTES else [""]


def _item(line: str) -> str:
    """Return an item of a list as Markdown has it: deeper ones further in."""
    item = re.fullmatch(r"\s{0,20}(\*{1,6}|\.{1,6}|-)\s+(\S.*)", line)
    if item is None:
        return line
    return f"{'  ' * (len(item[1]) - 1)}{'1.' if item[1][0] == '.' else '*'} {item[2]}"


def _table(body: Sequence[str], style: str, sign: str) -> list[str]:
    told = re.search(r'cols\s*=\s*"?([^"\]]{1,200})', style)
    headed = "header" in style or "%header" in style
    first = next((n for n, line in enumerate(body) if line), 0)
    headed = headed or (first == 0 and len(body) > 2 and not body[1] and "%noheader" not in style)
    if sign in ",:" or "format=" in style:
        parted = [[*map(str.strip, re.split(r"[,;:\t]", line))] for line in body if line]
        return rows_as_lines(parted, int(headed))
    parts: list[list[str]] = []
    for line in body:
        parts += _cells(line, parts)
    cells = [" ".join(filter(None, part)) for part in parts]
    width = _columns(told[1]) if told else len(_SPEC.findall(body[first])) if body else 1
    width = max(1, width)
    rows = [cells[at : at + width] for at in range(0, len(cells), width)]
    return rows_as_lines(rows, int(headed and len(rows) > 1))


def _columns(told: str) -> int:
    """Return how many columns `3*` or `1,2,3` are."""
    parts = [re.match(r"(\d{1,3})\*", part.strip()) for part in re.split("[,;]", told)]
    return sum(int(part[1]) if part else 1 for part in parts)


def _cells(line: str, before: list[list[str]]) -> list[list[str]]:
    """Return the cells that a line begins; what is before the first goes on with the last one."""
    starts = [*_SPEC.finditer(line)]
    head = line[: starts[0].start()].strip() if starts else line.strip()
    if before and head:
        before[-1].append(head)
    ends = [*(found.start() for found in starts[1:]), len(line)]
    return [[line[found.end() : end].strip()] for found, end in zip(starts, ends, strict=False)]


def _inline(line: str, names: Mapping[str, str]) -> str:
    if line.startswith("```") or not re.search(r"[\[<{]", line):
        return line
    return _INLINE.sub(lambda mark: _shown(mark, names), line)


def _shown(mark: re.Match[str], names: Mapping[str, str]) -> str:
    if mark["url"]:
        said = mark["said"].partition(",")[0].rstrip("^").strip('"')
        return f"[{said}]({mark['url']})" if said else mark["url"]
    if mark["name"]:
        return names.get(mark["name"], mark[0])
    said = mark["text"] or mark["shown"] or mark["to"] or mark["alt"] or ""
    return f" [{said}]" if mark[0].startswith("footnote") else said
