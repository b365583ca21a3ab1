"""Finds the rows that one JSON value holds, each a document: a list, or what else they stand in.

Corpora are published as a list, as the one list of an object, by id, column by column, as pandas,
the hub's server or Elasticsearch write them, or as texts alone. Anything else, such as settings,
is no set of documents.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ragwright.retrievers.documents.chats import CHATS
from ragwright.retrievers.documents.layout_json import is_layout

TEXTS = (
    "page_content", "content", "contents", "body", "abstract", "markdown", "passage", "html",
)  # fmt: skip
"""What the text is called where there is no `text`, and nobody has told its name."""
_TEXT = "text"
_IDS = ("doc_id", "docid", "passage_id", "pid", "chunk_id", "node_id", "id_")
"""What the id is called where there is neither `_id` nor `id`, and no two rows share one."""
_AROUND = ("_source", "row", "payload", "__data__")
"""What a row stands in: as Elasticsearch, the hub's server, Qdrant and LlamaIndex write it."""
_SHORTEST = 8
"""Words that each text has at least where nothing but texts says that they are documents."""
_DEEPEST = 2
"""Objects within objects that are looked into for a list."""


def text_key(row: Any, told: str) -> str:
    """Return the key of the text, as a first row shows it.

    Args:
        row: The row.
        told: The key that the reader's options name.
    """
    if told != _TEXT or not isinstance(row, Mapping) or _TEXT in row or "role" in row:
        return told
    return next((key for key in TEXTS if isinstance(row.get(key), str)), _TEXT)


def id_key(rows: Sequence[Any]) -> str:
    """Return the key of the ids, as the first rows show it; "" where none is one.

    >>> id_key([{"doc_id": "a", "chunk_id": 0}, {"doc_id": "a", "chunk_id": 1}])
    'chunk_id'
    """
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        return ""
    if any("_id" in row or "id" in row for row in rows):
        return ""
    return next((key for key in _IDS if _are_ids([row.get(key) for row in rows])), "")


def _are_ids(values: Sequence[Any]) -> bool:
    plain = all(isinstance(one, str | int) and not isinstance(one, bool) for one in values)
    return plain and "" not in values and len({*map(str, values)}) == len(values)


def rows_in(found: Any, length: int, told: str) -> list[Any]:
    """Return the rows that a JSON value holds; nothing if it is no set of documents.

    Args:
        found: The value.
        length: Characters that it is written in.
        told: The key that the reader's options name for the text.
    """
    if is_layout(found):
        return []
    if isinstance(found, list):
        texts = [one for one in found if _is_passage(one)]
        return [{told: one} for one in texts] if texts == found else [*map(_inner, found)]
    if not isinstance(found, dict):
        return []
    own = found.get(text_key(found, told))
    if isinstance(own, str):
        return [found] if 2 * len(own) > length else []
    return [] if CHATS & found.keys() else _listed(found, told, _DEEPEST)


def _listed(found: Mapping[str, Any], told: str, depth: int) -> list[Any]:
    lists = [value for value in found.values() if isinstance(value, list)]
    if rows := _by_column(found, told):
        return rows
    if len(lists) == 1:
        return [*map(_inner, lists[0])]
    holding = [value for value in lists if _are_documents([*map(_inner, value)], told)]
    if len(holding) == 1:
        return [*map(_inner, holding[0])]
    if rows := _by_id(found, told):
        return rows
    objects = [value for value in found.values() if isinstance(value, dict)] if depth else []
    if len(objects) == 1:
        return _listed(objects[0], told, depth - 1)
    within = [rows for one in objects if _are_documents(rows := _listed(one, told, 0), told)]
    return within[0] if len(within) == 1 else []


def _inner(row: Any) -> Any:
    """Return the row in what others say around it."""
    if isinstance(row, dict):
        for name in _AROUND:
            if isinstance(inner := row.get(name), dict):
                id = row.get("_id", row.get("id"))
                return inner if id is None else {"_id": id, **inner}
    return row


def _by_id(found: Mapping[str, Any], told: str) -> list[Any]:
    """Rows, or texts, by their ids."""
    rows = [*map(_inner, found.values())]
    if _are_documents(rows, told):
        return [{"_id": id, **row} for id, row in zip(found, rows, strict=True)]
    if len(found) > 1 and all(_is_passage(one) for one in found.values()):
        return [{"_id": id, told: one} for id, one in found.items()]
    return []


def _by_column(found: Mapping[str, Any], told: str) -> list[Any]:
    """A table as its columns, as pandas splits it into names and rows, or as Chroma gives it."""
    if {"ids", "documents"} <= found.keys():
        held = {"_id": found["ids"], told: found["documents"], "metadata": found.get("metadatas")}
        return rows_of_columns({name: one for name, one in held.items() if one is not None}, told)
    names, data = found.get("columns"), found.get("data")
    if isinstance(names, list) and isinstance(data, list) and names and data:
        if all(isinstance(row, list) and len(row) == len(names) for row in data):
            return [dict(zip(map(str, names), row, strict=True)) for row in data]
        return []
    return rows_of_columns(found, text_key(dict.fromkeys(found, ""), told))


def rows_of_columns(columns: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the rows of a table that is given as its columns; nothing of what is none.

    Args:
        columns: Lists of one length, or values by the number of their row, by the columns' names.
        key: The column that has a text in every row.
    """
    lists = {
        name: list(column.values()) if isinstance(column, dict) else column
        for name, column in columns.items()
    }
    texts = lists.get(key)
    if not isinstance(texts, list) or not all(isinstance(one, str) for one in texts):
        return []
    if any(not isinstance(one, list) or len(one) != len(texts) for one in lists.values()):
        return []
    return [dict(zip(lists, row, strict=True)) for row in zip(*lists.values(), strict=True)]


def _are_documents(rows: list[Any], told: str) -> bool:
    key = text_key(rows[0], told) if rows else told
    return bool(rows) and all(isinstance(r, dict) and isinstance(r.get(key), str) for r in rows)


def _is_passage(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) >= _SHORTEST
