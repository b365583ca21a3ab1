"""Texts of one sign again and again: cut, read and made into terms in a time that grows with them.

Before, a few patterns were tried anew from each sign, in a time that grows by the square of the
length: the sizes here would have taken minutes apiece.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ragwright.optimize.questions.cells import table_rows
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.retrievers.chunking import ChunkSettings, chunk, text_to_search
from ragwright.retrievers.chunking.code import definition_starts
from ragwright.retrievers.chunking.cutting import _filled
from ragwright.retrievers.chunking.rows import markdown_tables, table_columns_at
from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.documents.messages import mail_text, notebook_text
from ragwright.retrievers.documents.slides import _EMBEDDED, _by_slide
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text import Analysis
from ragwright.retrievers.types import Document

SIGNS = 200_000
UNITS = [" ", "\n", "\t", "a", "[", "-", "|", "`", "\\", "a.", "1,", " \n", "漢", "a\u0301"]


@contextmanager
def in_time() -> Iterator[None]:
    began = time.process_time()
    yield
    assert time.process_time() - began < 30


@pytest.mark.parametrize("kind", ["recursive", "markdown", "code"])
@pytest.mark.parametrize("unit", UNITS)
def test_a_document_of_one_sign_is_cut_in_time(unit: str, kind: str) -> None:
    text = f"A | begin\n{unit * (SIGNS // 4 // len(unit))}\nThe end."
    with in_time():
        cut = chunk(Document("one", text), ChunkSettings.model_validate({"kind": kind}))
    assert cut[0].text.startswith("A | begin")
    assert cut[-1].text.endswith("The end.")


@pytest.mark.parametrize("row", ["|---" + " " * SIGNS + "|x", "\t" * SIGNS + "|x"])
def test_a_line_of_blanks_under_names_of_columns_is_no_table(row: str) -> None:
    with in_time():
        assert not markdown_tables(f"|a|b|\n{row}\n")


class Counted(Sequence[Any]):
    """A list that counts how often one of its things is handed out."""

    def __init__(self, things: list[Any]) -> None:
        self.things, self.times = things, 0

    def __len__(self) -> int:
        return len(self.things)

    def __getitem__(self, place: Any) -> Any:
        found = self.things[place]
        self.times += len(found) if isinstance(place, slice) else 1
        return found


def test_pieces_before_a_chunk_that_repeats_some_are_not_all_looked_at() -> None:
    text = "ab\n" * 3000
    pieces = Counted([(at, at + 3) for at in range(0, len(text), 3)])
    chunks = list(_filled(text, pieces, ChunkSettings(size=8, overlap=4)))
    assert len(chunks) > 1000
    assert pieces.times < 6 * len(pieces)


def test_tables_before_a_chunk_are_not_all_looked_at() -> None:
    tables = Counted(markdown_tables("|a|b|\n|-|-|\n|1|2|\n\n" * 3000))
    assert len(tables) == 3000
    assert {table_columns_at(tables, at) for at in range(16, 19 * 3000, 19)} == {"a | b"}
    assert not table_columns_at(tables, 18)
    assert tables.times < 40 * len(tables)


def test_odd_escapes_in_source_code_are_no_matter() -> None:
    text = 'a = "\\d"\nclass B:\n    def c(self): pass\n'
    assert [text[at:][:5] for at in definition_starts(text)] == ["class", "    d"]


@pytest.mark.parametrize(
    ("read", "settings"),
    [
        (Document("a", "word. " * 30_000, "name " * 30_000), ChunkSettings()),
        (Document("a", f"# {'name ' * 30_000}\n\n{'word. ' * 30_000}"),
         ChunkSettings(kind="markdown")),
        (Document("a", "word. " * 30_000, "name", {"page": "name " * 30_000}), ChunkSettings()),
        (Document("a", "word. " * 30_000, "name", {"list": ["name"] * 30_000}),
         ChunkSettings(size=20, parent_size=2000)),
        (Document("a", "word. " * 30_000, "name", {f"{n:0200}": n for n in range(1000)}),
         ChunkSettings()),
    ],
    ids=["title", "heading", "metadata", "parents", "keys"],
)  # fmt: skip
def test_what_chunks_repeat_does_not_grow_by_the_square(
    read: Document, settings: ChunkSettings, caplog: pytest.LogCaptureFixture
) -> None:
    chunks = chunk(read, settings)
    told = [f"{dict(piece.metadata)}{text_to_search(piece, settings)}" for piece in chunks]
    assert len(chunks) > 200
    assert sum(map(len, told)) < 30 * len(read.text)
    assert all("name" in one for one in told)
    assert "not kept with each of" in caplog.text or not read.metadata


def test_metadata_of_one_chunk_are_kept_whole() -> None:
    facts = {"page": "name " * 1_000_000}
    assert chunk(Document("a", "word", metadata=facts), ChunkSettings())[0].metadata == facts


def test_empty_lines_of_source_code_are_looked_at_once() -> None:
    text = "a {" + "\n" * SIGNS + "}\n\n \nb {\n\n}\n\nc"
    with in_time():
        assert [text[at:] for at in definition_starts(text, ".js")] == [
            text[text.index("b {") :],
            "c",
        ]


@pytest.mark.parametrize(
    "run",
    [
        "a" * SIGNS + "+",
        "." + "a" * SIGNS,
        "x=" + "0f" * SIGNS,
        "a" * SIGNS + "\n",
        "\u0633" * SIGNS + " \u200c",
    ],
)
def test_a_word_without_end_is_one_term(run: str) -> None:
    with in_time():
        assert 0 < len(Analysis(["english"]).terms(run)) < 5
        assert Analysis(["english"]).asked(run)


def test_what_slides_leave_is_cut_off_in_time() -> None:
    blank = "\n" * SIGNS
    with in_time():
        made = _by_slide("", f"{blank}One{blank}<!-- Slide number: 2 -->{blank}Two{blank}", {}, [])
        assert (made.text, made.places) == ("One\n\nTwo", [(5, {"slide": 2})])
        assert _EMBEDDED.sub(r"\1", "[" * SIGNS + "![a picture](data:image/png;base64,AA==)")


BLANK = " " * SIGNS
LIGHTLY_MARKED = [
    (".org", f"* a{BLANK}b :tag:\n", "# a"),
    (".org", "#+begin_quote\n" * (SIGNS // 4) + "a\n", "a"),
    (".adoc", f",===\na,b\nc{BLANK}d,e\n,===\n", "e"),
    (".geojson", "[" * SIGNS, "[["),
    (".md", f"# a{BLANK}b <br> {{#x}}\n", "# a"),
]


@pytest.mark.parametrize(("suffix", "text", "read"), LIGHTLY_MARKED)
def test_blanks_and_brackets_within_a_line_are_looked_at_once(
    suffix: str, text: str, read: str, tmp_path: Path
) -> None:
    (tmp_path / f"a{suffix}").write_text(text)
    with in_time():
        (document,) = read_documents(tmp_path)
    assert read in document.text


def test_what_a_notebook_printed_on_one_line_is_looked_at_once() -> None:
    out = {"output_type": "stream", "name": "stdout", "text": f"0%\r{'a' * SIGNS}"}
    cell = {"cell_type": "code", "source": "x", "outputs": [out], "metadata": {}}
    with in_time():
        made = notebook_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}).encode())
    assert "a" * 99 in made.text
    assert "0%" not in made.text


def test_a_cell_that_is_nearly_a_list_is_a_text() -> None:
    cell = "['a'" + " " * SIGNS + "x]"
    with in_time():
        assert [row for _, row in table_rows(f"answer\n{cell}\n", "t.csv")] == [{"answer": cell}]


@pytest.mark.parametrize(
    "header",
    ["To: " + "a@b.de, " * SIGNS, "To: " + "(" * SIGNS, 'From: "' + '("' * SIGNS, "To: a:;b:;",
     "Subject: " + "=?utf-8?Q?=41?= " * SIGNS, "Content-Type: text/plain; " + "a*0*=x;" * SIGNS],
    ids=["addresses", "remarks", "quotes", "groups", "words", "parameters"],
)  # fmt: skip
def test_a_header_of_a_mail_that_hurts_costs_no_mail(header: str) -> None:
    with in_time():
        assert mail_text(f"{header}\n\nThirty days.".encode()).text.endswith("Thirty days.")


def test_columns_without_end_are_read_and_a_few_are_named(tmp_path: Path) -> None:
    file = tmp_path / "wide.csv"
    file.write_text(",".join(f"c{n}" for n in range(SIGNS)) + "\n")
    with in_time(), pytest.raises(InputError, match=r"c19 and [\d,]+ more\. Rename") as refused:
        list(read_documents(file))
    assert len(str(refused.value)) < 500 + len(str(file))


def test_a_metric_of_digits_is_refused() -> None:
    with in_time(), pytest.raises(InputError):
        build_metric("1" * SIGNS)
