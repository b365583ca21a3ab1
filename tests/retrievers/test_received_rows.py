"""Rows in Parquet that somebody sent: what is wrong with them is said of the file."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.parquet import NOTE, export_rows, import_rows, index_store_url
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.types import Document

FACTS: dict[str, Any] = {"year": 2024, "on": "2024-03-01", "tags": ["a", "b"], "paid": True}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of four rows."""
    folder = tmp_path_factory.mktemp("rows")
    documents = [Document(f"d{n}", f"Lamp {n}.", metadata=FACTS) for n in range(4)]
    ingest(documents, folder / "index", IndexSettings(embedder="hash"))
    export_rows(index_store_url(folder / "index"), folder / "rows.parquet")
    close_index(folder / "index")
    return folder / "rows.parquet"


def taken(file: Path) -> int:
    return import_rows(file, StoreURL.parse(f"chroma:{file.parent}/chroma")).rows


def test_as_they_were_sent_they_are_taken(rows: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.parquet").write_bytes(rows.read_bytes())
    assert taken(tmp_path / "rows.parquet") == 4


WRONG: list[tuple[str, list[Any]]] = [
    ("id", [1, 2, 3, 4]),
    ("id", ["a", "b", "c", "d"]),
    ("id", ["a" * 32, "a" * 32, "b" * 32, "c" * 32]),
    ("id", ["", "a", "b", "c"]),
    ("id", [None, "a", "b", "c"]),
    ("text", [None] * 4),
    ("text", [b"\xff"] * 4),
    ("vector", [[1.0] * 63] * 4),
    ("vector", [[1.0] * 128] * 4),
    ("vector", [[float("nan")] * 64] * 4),
    ("vector", [["a"] * 64] * 4),
    ("vector", [None] * 4),
    *(
        ("metadata", [said] * 4)
        for said in (
            "[]", "null", "{", '{"a": {"b": 1}}', '{"a": 1' + "0" * 400 + "}",
            '{"a": [1, "x"]}', '{"$or": 1}', '{"a": ' + "[" * 900 + "]" * 900 + "}",
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("column", "values"), WRONG)
def test_a_wrong_row_is_told_before_a_store_sees_it(
    rows: Path, tmp_path: Path, column: str, values: list[Any]
) -> None:
    table = parquet.read_table(rows)
    place = table.schema.get_field_index(column)
    changed = table.set_column(place, column, pyarrow.array(values))
    file = tmp_path / "rows.parquet"
    parquet.write_table(changed.replace_schema_metadata(table.schema.metadata), file)
    with pytest.raises(InputError, match=r"rows\.parquet"):
        taken(file)


@pytest.mark.parametrize("dimension", [True, 0, -1, 10**30, "64"])
def test_a_dimension_that_is_none_is_refused(rows: Path, tmp_path: Path, dimension: Any) -> None:
    table = parquet.read_table(rows)
    note = {**json.loads(table.schema.metadata[NOTE]), "dimension": dimension}
    parquet.write_table(
        table.replace_schema_metadata({NOTE: json.dumps(note).encode()}), tmp_path / "rows.parquet"
    )
    with pytest.raises(InputError):
        taken(tmp_path / "rows.parquet")


def _flipped(data: bytes, drawn: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(drawn.choice((1, 8, 200))):
        changed[drawn.randrange(len(changed))] = drawn.randrange(256)
    return bytes(changed)


def _cut(data: bytes, drawn: random.Random) -> bytes:
    return data[: drawn.randrange(len(data))]


@pytest.mark.parametrize("damage", [_flipped, _cut])
def test_a_damaged_file_is_refused_or_read(
    rows: Path, tmp_path: Path, damage: Callable[[bytes, random.Random], bytes]
) -> None:
    drawn = random.Random(3)
    refused = 0
    for number in range(40):
        file = tmp_path / str(number) / "rows.parquet"
        file.parent.mkdir()
        file.write_bytes(damage(rows.read_bytes(), drawn))
        try:
            taken(file)
        except InputError:
            refused += 1
    assert refused > 10


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "rows.parquet")
    with pytest.raises(InputError, match="no file"):
        taken(tmp_path / "rows.parquet")
