"""A corpus in one JSON value is a document a row, whatever holds the rows; settings are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragwright.retrievers.documents import ReadOptions, read_documents

A = {"title": "Tower", "text": "The tower was built in 1889 by an engineer."}
B = {"title": "Bridge", "text": "The bridge was opened in 1933 by a mayor."}
ROWS: dict[str, Any] = {
    "list": [A, B],
    "under a name": {"version": 1, "tags": ["a"], "documents": [A, B]},
    "by id": {"1": A, "2": B},
    "by column": {name: [A[name], B[name]] for name in A},
    "pandas, by column": {name: {"0": A[name], "1": B[name]} for name in A},
    "pandas, split": {"columns": [*A], "index": [0, 1], "data": [[*A.values()], [*B.values()]]},
    "the hub's server": {"features": [{"name": "text"}], "rows": [{"row": A}, {"row": B}]},
    "Elasticsearch": {"took": 1, "hits": {"total": 2, "hits": [{"_source": A}, {"_source": B}]}},
    "LangChain": [
        {"page_content": one["text"], "metadata": {"title": one["title"]}} for one in (A, B)
    ],
    "Qdrant": {"result": {"points": [{"id": 1, "payload": A}, {"id": 2, "payload": B}]}},
    "LlamaIndex": {
        "docstore/data": {"1": {"__data__": A, "__type__": "1"}, "2": {"__data__": B}},
        "docstore/metadata": {"1": {"doc_hash": "x"}, "2": {"doc_hash": "y"}},
    },
    "Chroma": {
        "ids": ["1", "2"],
        "documents": [A["text"], B["text"]],
        "metadatas": [{"title": A["title"]}, {"title": B["title"]}],
        "embeddings": None,
    },
    "Haystack": [{"content": one["text"], "meta": {"title": one["title"]}} for one in (A, B)],
    "a crawler": [
        {"markdown": one["text"], "html": "<p>" * 999, "metadata": {"title": one["title"]}}
        for one in (A, B)
    ],
}
TEXTS: dict[str, Any] = {
    "texts alone": [A["text"], B["text"]],
    "texts by id": {"1": A["text"], "2": B["text"]},
}


def _read(folder: Path, value: Any) -> list[tuple[str, str]]:
    (folder / "set.json").write_text(json.dumps(value))
    found = read_documents(str(folder))
    return [(document.title, document.text) for document in found]


@pytest.mark.parametrize("shape", ROWS)
def test_rows_are_documents_whatever_holds_them(tmp_path: Path, shape: str) -> None:
    assert _read(tmp_path, ROWS[shape]) == [(A["title"], A["text"]), (B["title"], B["text"])]


@pytest.mark.parametrize("shape", TEXTS)
def test_texts_alone_are_documents(tmp_path: Path, shape: str) -> None:
    assert [text for _, text in _read(tmp_path, TEXTS[shape])] == [A["text"], B["text"]]


@pytest.mark.parametrize(
    ("rows", "ids"),
    [
        ([{"doc_id": "a"}, {"doc_id": "b"}], ["a", "b"]),
        ([{"doc_id": "a", "pid": 7}, {"doc_id": "a", "pid": 8}], ["7", "8"]),
        ([{"doc_id": "a"}, {"doc_id": "a"}], ["set.json:1", "set.json:2"]),
        ([{"doc_id": "a"}, {"doc_id": None}], ["set.json:1", "set.json:2"]),
        ([{"doc_id": "a", "id": "x"}, {"doc_id": "b", "id": "y"}], ["x", "y"]),
    ],
)
def test_what_tells_rows_apart_is_their_id(
    tmp_path: Path, rows: list[dict[str, Any]], ids: list[str]
) -> None:
    (tmp_path / "set.json").write_text(json.dumps([A | row for row in rows]))
    found = list(read_documents(str(tmp_path)))
    assert [document.id for document in found] == ids
    assert found[0].metadata["doc_id"] == "a"


def test_vectors_and_copies_of_the_text_are_no_metadata(tmp_path: Path) -> None:
    row = A | {"embedding": [0.5] * 384, "html": "<p>" * 999, "span": [0, 9], "body": "short"}
    (tmp_path / "set.json").write_text(json.dumps([row]))
    notes: list[str] = []
    options = ReadOptions(on_note=lambda note: notes.append(note.reason))
    (found,) = read_documents(str(tmp_path), options)
    assert (found.metadata["span"], found.metadata["body"]) == ([0, 9], "short")
    assert not {"embedding", "html"} & found.metadata.keys()
    assert [note.partition(" is left out")[0] for note in notes] == ["'embedding'", "'html'"]


def test_the_key_of_a_row_is_its_id(tmp_path: Path) -> None:
    (tmp_path / "set.json").write_text(json.dumps({"t": A, "b": B}))
    assert [document.id for document in read_documents(str(tmp_path))] == ["t", "b"]


@pytest.mark.parametrize("value", [
    {"name": "app", "scripts": {"test": "x"}, "dependencies": {"a": "1"}},
    {"compilerOptions": {"lib": ["es6"], "strict": True}},
    {"greeting": "Hello, you", "farewell": "Bye"},
    {"columns": ["a"], "data": [1, 2]},
    {"text": ["a", "b"], "label": [1]},
    {"1": A, "2": "other"},
    ["a", "b"], [1, 2], [[A]], {"text": {"a": A}}, {},
])  # fmt: skip
def test_anything_else_is_one_text(tmp_path: Path, value: Any) -> None:
    assert len(_read(tmp_path, value)) == 1
