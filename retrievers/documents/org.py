"""Org text in, Markdown with rows of tables as lines out: as a reader of its page has it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.line_blocks import fenced, first_line, join_lines, rows_as_lines

_HEADING = re.compile(r"(\*+)\s+(\S.*)")
_TAGS = re.compile(r"(?<!\s)\s++:[\w@#%:]{1,200}:\Z")
_KEY = re.compile(r"#\+(\w{1,60}):\s*(.*)")
_BLOCK = re.compile(r"\s*#\+begin_(\w{1,40})\s*(\S{0,40}).*", re.IGNORECASE)
_DRAWER, _DRAWER_END = re.compile(r"\s*:[A-Z_]{1,40}:"), re.compile(r"\s*:END:")
_LONGEST_DRAWER = 40
_SAID = frozenset({"author", "date", "caption", "subtitle", "description"})
_LINK = re.compile(r"\[\[([^\[\]\n]{1,500})\](?:\[([^\[\]\n]{1,500})\])?\]")


def org_text(text: str) -> FileText:
    """Return the text of an Org file."""
    lines = [line.rstrip() for line in text.splitlines()]
    made: list[str] = []
    title, at = "", 0
    while at < len(lines):
        key = _KEY.fullmatch(lines[at])
        if key and key[1].lower() == "title":
            title = title or key[2]
            made.append(f"# {key[2]}")
            at += 1
            continue
        at, said = _block(lines, at)
        made += said
    return join_lines(made, title)


def _block(lines: Sequence[str], at: int) -> tuple[int, list[str]]:
    line = lines[at]
    if heading := _HEADING.fullmatch(line):
        said = _inline(_TAGS.sub("", heading[2]))
        return at + 1, ["", f"{'#' * min(6, len(heading[1]))} {said}", ""]
    if block := _BLOCK.fullmatch(line):
        kind = block[1].lower()
        if kind not in {"src", "example", "export"}:
            return at + 1, [""]
        end = first_line(lines, at + 1, re.compile(rf"\s*#\+end_{kind}\b", re.IGNORECASE).match)
        return end + 1, fenced(lines[at + 1 : end], block[2] if block[2].isalnum() else "")
    if line.lstrip().startswith("|"):
        end = first_line(lines, at, lambda one: not one.lstrip().startswith("|"))
        return end, _table(lines[at:end])
    if _DRAWER.fullmatch(line):
        near = lines[at : at + _LONGEST_DRAWER]
        end = first_line(near, 0, _DRAWER_END.fullmatch)
        return (at + end + 1, []) if end < len(near) else (at + 1, [line])
    return at + 1, _line(line)


def _line(line: str) -> list[str]:
    """Return what a line shows that begins no block: of keys what a reader wants to know."""
    if key := _KEY.fullmatch(line):
        return [f"{key[1].capitalize()}: {key[2]}"] if key[1].lower() in _SAID else []
    return [] if re.match(r"\s*#(?:\s|\+|$)", line) else [_inline(line)]


def _table(body: Sequence[str]) -> list[str]:
    rules = {n for n, line in enumerate(body) if re.match(r"\s*\|-", line)}
    rows = [
        [_inline(cell.strip()) for cell in line.strip().strip("|").split("|")]
        for number, line in enumerate(body)
        if number not in rules
    ]
    inner = [n for n in sorted(rules) if 0 < n < len(body) - 1]
    headed = inner[0] - sum(n < inner[0] for n in rules) if inner else 0
    return rows_as_lines(rows, min(headed, max(0, len(rows) - 1)))


def _inline(text: str) -> str:
    return _LINK.sub(lambda link: f"[{link[2]}]({link[1]})" if link[2] else link[1], text)
