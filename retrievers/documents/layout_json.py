"""Reads what other parsers found on pages and wrote as JSON: Docling, MinerU, Unstructured.

Each lists the blocks of one document in the order of reading. They are written as Markdown, with
the page that each begins on; what every page repeats at its edges is left out. Other JSON is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.html import shown_if_page
from ragwright.retrievers.documents.jsonl import decode_json

_MAYBE = re.compile(r'"(?:page_idx|element_id|DoclingDocument)"')
_NUMBER = re.compile(r"[0-9]{1,9}")
_EDGES = frozenset({
    "header", "footer", "page_header", "page_footer", "page_number", "aside_text", "discarded",
    "Header", "Footer", "PageNumber", "PageBreak",
})  # fmt: skip
"""What blocks are called that stand at the edge of every page."""
_TABLES = frozenset({"table", "Table"})
_ITEMS = frozenset({"list_item", "ListItem"})
_DEEPEST = 20
_MOST_LEVELS, _MOST_PAGES = 6, 1_000_000


class _Block(NamedTuple):
    text: str
    page: object = None


def layout_text(text: str) -> FileText | None:
    """Return the document whose blocks a parser wrote as JSON; nothing of other JSON."""
    if not _MAYBE.search(text):
        return None
    try:
        found = decode_json(text)
    except ValueError:
        return None
    return _document(found) if is_layout(found) else None


def is_layout(found: Any) -> bool:
    """Tell whether a JSON value lists the blocks of one document, as a parser does."""
    if isinstance(found, Mapping):
        return found.get("schema_name") == "DoclingDocument"
    if not isinstance(found, list) or not found or not all(isinstance(one, dict) for one in found):
        return False
    return all("type" in one and ("page_idx" in one or "element_id" in one) for one in found)


def _document(found: Any) -> FileText:
    made = FileText("", "")
    page: object = None
    for block in _docling(found) if isinstance(found, Mapping) else map(_element, found):
        said = block.text.strip()
        if not said:
            continue
        made.text += "\n\n" if made.text else ""
        if isinstance(block.page, int) and 0 < block.page < _MOST_PAGES and block.page != page:
            page = block.page
            made.places.append((len(made.text), {"page": page}))
        if said.startswith("#") and not made.title:
            made.title = said.lstrip("# ")
        made.text += said
    return made


def _element(one: Mapping[str, Any]) -> _Block:
    """Return a block of MinerU's or Unstructured's list."""
    kind, facts = _said(one.get("type")), one.get("metadata")
    facts = facts if isinstance(facts, Mapping) else {}
    index = one.get("page_idx")
    page = index + 1 if isinstance(index, int) else facts.get("page_number")
    if kind in _EDGES:
        return _Block("")
    if kind in _TABLES:
        body = one.get("table_body") or facts.get("text_as_html")
        rows = shown_if_page(_said(body).strip()) or _said(one.get("text")) or _said(body)
        parts = [_said(one.get("table_caption")), rows, _said(one.get("table_footnote"))]
        return _Block("\n\n".join(filter(None, parts)), page)
    if kind == "Title":
        depth = facts.get("category_depth")
        return _Block(_heading(one.get("text"), depth + 1 if isinstance(depth, int) else 1), page)
    if one.get("text_level"):
        return _Block(_heading(one.get("text"), one["text_level"]), page)
    names = ("text", "image_caption", "code_body", "list_items")
    said = "\n\n".join(filter(None, (_said(one.get(name)) for name in names)))
    return _Block(f"- {said}" if kind in _ITEMS else said, page)


def _docling(found: Mapping[str, Any]) -> Iterator[_Block]:
    """Yield the blocks of a document of Docling in the order of its body."""
    body = found.get("body")
    listed = body.get("children") if isinstance(body, Mapping) else None
    if not listed:
        for name in ("texts", "tables"):
            yield from map(_item, _objects(found.get(name)))
        return
    yield from _referred(found, listed, _DEEPEST, set())


def _referred(
    found: Mapping[str, Any], listed: Any, depth: int, seen: set[str]
) -> Iterator[_Block]:
    """Yield what is referred to, and what that refers to; each once, whatever refers to it."""
    for one in _objects(listed) if depth else ():
        reference = _said(one.get("$ref", one.get("cref")))
        if reference in seen:
            continue
        seen.add(reference)
        part = _part(found, reference)
        yield _item(part)
        yield from _referred(found, part.get("children"), depth - 1, seen)


def _part(found: Any, reference: str) -> Mapping[str, Any]:
    """Return what a reference such as `#/texts/0` means."""
    for step in reference.split("/")[1:]:
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and _NUMBER.fullmatch(step) and int(step) < len(found):
            found = found[int(step)]
        else:
            return {}
    return found if isinstance(found, Mapping) else {}


def _item(part: Mapping[str, Any]) -> _Block:
    kind, said = _said(part.get("label")), _said(part.get("text"))
    seen = next(iter(_objects(part.get("prov"))), {})
    page = seen.get("page_no")
    if kind in _EDGES or part.get("content_layer") == "furniture":
        return _Block("")
    if kind in _TABLES:
        data = part.get("data")
        return _Block(_grid(data.get("grid") if isinstance(data, Mapping) else None), page)
    if kind in {"title", "section_header"}:
        level = part.get("level")
        return _Block(_heading(said, level + 1 if isinstance(level, int) else 1), page)
    if kind == "code":
        return _Block(f"```\n{said}\n```", page)
    return _Block(f"- {said}" if kind in _ITEMS else said, page)


def _grid(rows: Any) -> str:
    """Return the rows of a table as Markdown."""
    lines = [
        f"| {' | '.join(_said(cell.get('text')).replace('|', '/') for cell in _objects(row))} |"
        for row in (rows if isinstance(rows, list) else ())
    ]
    return "\n".join([lines[0], f"|{'---|' * len(_objects(rows[0]))}", *lines[1:]]) if lines else ""


def _heading(said: object, level: object) -> str:
    depth = min(max(level, 1), _MOST_LEVELS) if isinstance(level, int) else 1
    text = " ".join(_said(said).split())
    return f"{'#' * depth} {text}" if text else ""


def _said(value: object) -> str:
    """Return a text, or texts, as one."""
    if isinstance(value, list):
        return "\n".join(one for one in value if isinstance(one, str))
    return value if isinstance(value, str) else ""


def _objects(value: object) -> Sequence[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []
