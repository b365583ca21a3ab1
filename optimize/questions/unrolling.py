"""Tells which rows one value of JSON or YAML stands for: a whole training set, or one row.

Data sets are written as a list, under the name of a list or of a side, by id, by column, or as
pandas, SQuAD and LlamaIndex have them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeGuard

from ragwright.optimize.questions.by_names import asks
from ragwright.optimize.questions.formats import PARAGRAPHS, texts_in
from ragwright.optimize.questions.naming import is_question_name
from ragwright.retrievers.documents.json_rows import rows_of_columns

_SIDES = {
    "train": "train", "training": "train", "dev": "dev", "validation": "dev", "valid": "dev",
    "val": "dev", "test": "test",
}  # fmt: skip
_SINGULAR = {"questions": "question", "queries": "query"}
"""Names of columns that are not those of a row."""


def unrolled(value: Any) -> Iterable[Any]:
    """Return the rows that one value stands for; what is no set of rows is one itself."""
    if isinstance(value, list):
        return value if all(isinstance(one, dict) for one in value) else [value]
    if not isinstance(value, dict):
        return [value]
    found = (rows for shape in _SHAPES if (rows := shape(value)) is not None)
    return next(found, [value])


def _articles(value: Mapping[str, Any]) -> Iterable[Any] | None:
    """SQuAD: a list under `data`, of articles or of rows; pandas' "split": of lists."""
    data, names = value.get("data"), value.get("columns")
    if not isinstance(data, list) or "question" in value:
        return None
    if (
        isinstance(names, list)
        and all(isinstance(name, str) for name in names)
        and all(isinstance(one, list) for one in data)
    ):
        return [dict(zip(names, one, strict=False)) for one in data]
    return [row for one in data for row in _article(one)]


def _article(article: Any) -> Iterator[Any]:
    """Yield the questions of an article, each with its paragraph."""
    paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
    if not _are_tables(paragraphs) or "question" in article:
        yield article
        return
    for paragraph in paragraphs:
        questions = paragraph.get("qas", [])
        if not _are_tables(questions):
            yield paragraph  # which is no row, and is refused by its number
            continue
        extra = {"title": article.get("title"), "context": paragraph.get("context", "")}
        yield from ({"answers": [], **asked, **extra} for asked in questions)


def _are_tables(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and all(isinstance(one, dict) for one in value)


def _queries(value: Mapping[str, Any]) -> Iterable[Any] | None:
    """LlamaIndex: questions, documents, and which belong together, each by its id."""
    queries, relevant, texts = (
        value.get(name) or {} for name in ("queries", "relevant_docs", "corpus")
    )
    if not queries or not all(isinstance(one, dict) for one in (queries, relevant, texts)):
        return None
    return [
        {
            "id": id,
            "question": asked,
            "documents": relevant.get(id, []),
            PARAGRAPHS: [texts[name] for name in texts_in(relevant.get(id)) if name in texts],
        }
        for id, asked in queries.items()
    ]


def _by_column(value: Mapping[str, Any]) -> Iterable[Any] | None:
    """A table as its columns: lists of one length, or values by the number of their row."""
    columns = {_SINGULAR.get(name, name): one for name, one in value.items()}
    asked = next((name for name in columns if is_question_name(name)), "")
    return rows_of_columns(columns, asked) or None


def _by_id(value: Mapping[str, Any]) -> Iterable[Any] | None:
    """An object whose keys are the ids of its rows."""
    if asks(value) or not value:
        return None
    if not all(isinstance(one, dict) and asks(one) for one in value.values()):
        return None
    return [{"id": id, **row} for id, row in value.items()]


def _named_lists(value: Mapping[str, Any]) -> Iterable[Any] | None:
    """Lists of rows under any names; under that of a side they ask for it."""
    if asks(value):
        return None
    found = []
    for name, rows in value.items():
        inner = [_inner(one) for one in rows] if isinstance(rows, list) else []
        if inner and isinstance(inner[0], dict) and asks(inner[0]):
            side = _SIDES.get(name.casefold())
            asked = {"split": side} if side else {}
            found += [{**asked, **one} if isinstance(one, dict) else one for one in inner]
    return found or None


def _inner(row: Any) -> Any:
    """Return the row in what the hub's server sends of it."""
    return row["row"] if isinstance(row, dict) and isinstance(row.get("row"), dict) else row


_SHAPES: Sequence[Callable[[Mapping[str, Any]], Iterable[Any] | None]] = (
    _articles, _queries, _by_column, _by_id, _named_lists,
)  # fmt: skip
