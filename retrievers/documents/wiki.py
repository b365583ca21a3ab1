"""Text of a wiki in, Markdown with rows of tables as lines out: as a reader of its page has it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.line_blocks import (
    count_items,
    first_line,
    join_lines,
    rows_as_lines,
    without_comments,
)

_HEADING = re.compile(r"(={1,6})\s*(\S.*?)\s*\1\s*|h([1-6])\.\s+(\S.*)")
_INLINE = re.compile(
    r"\[\[(?P<to>[^\[\]|\n]{1,300})(?:\|(?P<shown>[^\[\]\n]{0,500}))?\]\]"
    r"|\[(?P<url>(?:https?:)?//[^\s\]]{1,500})(?:\s+(?P<said>[^\]\n]{1,300}))?\]"
    r"|(?P<quotes>'{2,5})|</?(?:nowiki|small|span|div|center|br)\b[^<>\n]{0,200}>"
    r"|<ref[^<>\n]{0,200}>(?P<note>[^<>]{1,2000})</ref>|<ref[^<>\n]{0,200}/>"
)
_ATTRIBUTES = re.compile(r'(?:\s*[\w-]{1,40}\s*=\s*(?:"[^"\n]{0,300}"|[^\s"|]{1,60}))+\s*')


def wiki_text(text: str) -> FileText:
    """Return the text of a page of MediaWiki, or of a wiki whose headings are `h1.`."""
    lines = [line.rstrip() for line in without_comments(text).splitlines()]
    made: list[str] = []
    at = 0
    while at < len(lines):
        line = lines[at]
        if heading := _HEADING.fullmatch(line):
            level = int(heading[3]) if heading[3] else len(heading[1])
            made += ["", f"{'#' * level} {_inline(heading[2] or heading[4])}", ""]
        elif line.lstrip(":* ").startswith("{|"):
            end = first_line(lines, at + 1, lambda one: one.startswith("|}"))
            made += _table(lines[at + 1 : end])
            at = end
        else:
            made.append(_line(line))
        at += 1
    return join_lines(count_items(made, loose=False))


def _line(line: str) -> str:
    item = re.match(r"([*#:;]{1,8})\s*", line)
    if item is None or line.upper().startswith("#REDIRECT"):
        return _inline(line)
    said = _inline(line[item.end() :])
    mark = {"*": "* ", "#": "1. ", ";": "**", ":": ""}[item[1][-1]]
    return f"{'  ' * (len(item[1]) - 1)}{mark}{said}{'**' if mark == '**' else ''}"


def _table(body: Sequence[str]) -> list[str]:
    rows: list[list[str]] = [[]]
    heads: list[bool] = [True]
    caption = ""
    for line in map(str.lstrip, body):
        if line.startswith("|+"):
            caption = _inline(_cell(line[2:]))
        elif line.startswith("|-"):
            rows, heads = [*rows, []], [*heads, True]
        elif line[:1] in {"|", "!"}:
            parts = re.split(r"\|\||!!" if line[0] == "!" else r"\|\|", line[1:])
            rows[-1] += [_inline(_cell(part)) for part in parts]
            heads[-1] = heads[-1] and line[0] == "!"
        elif rows[-1] and line:
            rows[-1][-1] += f" {_inline(line)}"
    told = [(row, head) for row, head in zip(rows, heads, strict=True) if row]
    headed = next((n for n, (_, head) in enumerate(told) if not head), 0)
    return rows_as_lines([row for row, _ in told], headed, caption)


def _cell(part: str) -> str:
    """Return a cell without what says how it looks."""
    look, bar, said = part.partition("|")
    return said.strip() if bar and _ATTRIBUTES.fullmatch(look) else part.strip()


def _inline(text: str) -> str:
    return _INLINE.sub(_shown, text) if re.search(r"[\['<]", text) else text


def _shown(mark: re.Match[str]) -> str:
    if mark["to"]:
        return (mark["shown"] or mark["to"]).rpartition("|")[2]
    if mark["url"]:
        return f"[{mark['said']}]({mark['url']})" if mark["said"] else f"<{mark['url']}>"
    if mark["note"]:
        return f" [{mark['note'].strip()}]"
    return {2: "*", 3: "**", 5: "***"}.get(len(mark["quotes"] or ""), "")
