"""Tables: no row is without the names of its columns, wherever it is cut, and no row is lost."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ragwright.programs.context import build_context
from ragwright.retrievers.chunking import (
    ChunkSettings,
    chunk,
    parent_chunks,
    text_to_search,
)
from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.documents.tables import table_as_lines
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.sparse import KeywordRetriever
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.types import TABLE_HEADER, Document

CELLS = st.text("abcxyz 0123456789äß中é.,", min_size=1, max_size=9).map(
    lambda cell: cell.strip() or "x"
)
RULES = st.sampled_from(["|---|:--:|---:|", "--- | --- | ---", "| - | - | - |", "> |---|---|---|"])
NAMES = "ColumnA | ColumnB | ColumnC"


@st.composite
def _texts(draw: st.DrawFn) -> tuple[str, str]:
    """Return a text with a table, and its first row."""
    rule, end = draw(RULES), draw(st.sampled_from(["\n", "\r\n"]))
    before = "> " if rule.startswith(">") else ""
    rows = draw(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=60))
    lines = [f"{before}| {' | '.join(cells)} |" for cells in rows]
    table = [f"{before}| {NAMES} |", rule, *lines]
    parts = ["# Title", "", "Words before.", "", *table, "", "Words after it. " * 20, ""]
    return end.join(parts), lines[0]


@settings(max_examples=40, deadline=None)
@given(_texts(), st.sampled_from([16, 40, 200]), st.sampled_from([0, 300]), st.integers(0, 8))
def test_rows_of_markdown_know_their_columns(
    made: tuple[str, str], size: int, parent: int, overlap: int
) -> None:
    text, first = made
    begin, end = text.index(first), text.index("Words after")
    for kind in ("recursive", "markdown", "token", "levels"):
        cut = ChunkSettings(kind=kind, size=size, parent_size=parent, overlap=overlap)
        for piece in (
            *chunk(Document("d", text), cut),
            *parent_chunks(Document("d", text), cut),
        ):
            assert text[piece.start : piece.end] == piece.text
            in_row = "|" in text[piece.start : end].splitlines()[0] if piece.start < end else False
            if begin <= piece.start and in_row:
                assert piece.metadata[TABLE_HEADER] == NAMES
                assert f"{NAMES}\n" in text_to_search(piece, cut)
            elif piece.start >= end or piece.start <= text.index("Column"):
                assert TABLE_HEADER not in piece.metadata


def test_source_code_and_a_key_of_the_users_own_are_left_alone() -> None:
    text = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 90
    cut = ChunkSettings(kind="code", size=40)
    assert not any(TABLE_HEADER in piece.metadata for piece in chunk(Document("d", text), cut))
    own = Document("d", text, metadata={TABLE_HEADER: 5})
    kept = chunk(own, ChunkSettings(size=40))
    assert {piece.metadata[TABLE_HEADER] for piece in kept} == {5}
    assert all(piece.shown == piece.text for piece in kept)


def test_a_child_of_a_parent_that_starts_among_rows() -> None:
    text = "| a | b |\n|---|---|\n" + "| 1 | 2 |\n" * 200 + "\n" + "Plain words follow. " * 40
    found = chunk(Document("d", text), ChunkSettings(size=20, parent_size=100))
    plain = [piece for piece in found if piece.start > text.index("Plain")]
    assert plain
    assert not any(TABLE_HEADER in piece.metadata for piece in plain)
    assert sum(piece.metadata.get(TABLE_HEADER) == "a | b" for piece in found) > 50


def test_a_row_is_found_by_its_column_and_read_under_it(tmp_path: Path) -> None:
    rows = "".join(f"| Item {n} | {n * 3} |\n" for n in range(100))
    text = f"# Prices\n\n| product | surcharge |\n|---|---:|\n{rows}"
    cut = ChunkSettings(size=60)
    ingest([Document("d", text)], tmp_path, IndexSettings(embedder="hash", chunking=cut))
    found = KeywordRetriever(str(tmp_path), k=1)("surcharge Item 93 279").passages[0]
    assert "| Item 93 | 279 |" in found
    assert "surcharge" not in found
    context = build_context([found], budget=500)
    assert context.numbered[0].startswith("[1] product | surcharge\n")
    assert open_index(str(tmp_path)).tokens([found.id])[found.id] == found.metadata["tokens"]
    short = build_context([found], budget=30)
    assert short.truncated
    assert short.numbered[0].startswith("[1] product | surcharge\n|")
    assert TABLE_HEADER not in build_context([found], budget=10).passages[0].metadata


def _read(file: Path, data: str, **options: Any) -> tuple[list[Document], list[Problem]]:
    file.write_bytes(data.encode())
    problems: list[Problem] = []
    chosen = ReadOptions(on_error="skip", on_problem=problems.append, **options)
    return list(read_documents(file, chosen)), problems


@pytest.mark.parametrize(
    ("data", "wanted", "problems"),
    [
        ("text,n\na,3,\nb,4,,\n", [("a", 3), ("b", 4)], 0),
        ("text,n,,\na,3,,\n", [("a", 3)], 0),
        ('"text","n"\n"a\nb",3\n', [("a\nb", 3)], 0),
        ('"unit\nprice",text,n\n1,a,3\n', [("a", 3)], 0),
        ("ID, Text ,n\n7,a,3\n", [("a", 3)], 0),
        ('text,n\na,3\n"b,4\nc,5\n', [("a", 3)], 1),
        ('text,n\na,3\n"b,4\nc,5', [("a", 3)], 1),
        ('text,n\n5" disk,3\n', [('5" disk', 3)], 0),
        ("text,n\na,3,4\nb,4\n", [("b", 4)], 1),
        ("text,n\n\na,3\n\n", [("a", 3)], 0),
    ],
)
def test_rows_of_csv(
    tmp_path: Path, data: str, wanted: list[tuple[str, int]], problems: int
) -> None:
    found, told = _read(tmp_path / "a.csv", data)
    assert [(one.text, one.metadata["n"]) for one in found] == wanted
    assert len(told) == problems


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", '{"page_content": "hello", "id": "1"}\n'),
        ("a.csv", "page_content,id\nhello,1\n"),
    ],
)
def test_the_text_may_have_another_name(tmp_path: Path, name: str, data: str) -> None:
    found, _ = _read(tmp_path / name, data, text="page_content")
    assert [(one.id, one.text, dict(one.metadata)) for one in found] == [("1", "hello", {})]


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        (
            "Ann,Rome,a\nBob,Oslo\nCy,Lima,b\n",
            ["name: Bob; city: Oslo", "name: Cy; city: Lima; note: b"],
        ),
        (
            "Ann,Rome,a\nBob,Oslo,b,c\nCy,Lima,d\n",
            ["Bob | Oslo | b | c", "name: Cy; city: Lima; note: d"],
        ),
        (
            'Ann, "Rome, Italy", a\nBob, "Oslo, Norway", b\n',
            ["name: Bob; city: Oslo, Norway; note: b"],
        ),
        ('Ann,Rome,"a \\"b\\", c"\n', ['name: Ann; city: Rome; note: a "b", c']),
        ("Ann,Rome,a\n# made by a tool\n", ["name: Ann; city: Rome; note: a", "# made by a tool"]),
    ],
)
def test_rows_that_do_not_fit_cost_no_names(rows: str, lines: list[str]) -> None:
    assert (
        table_as_lines(f"# exported\nname,city,note\n{rows}").splitlines()[-len(lines) :] == lines
    )
    assert table_as_lines(said := "One, two.\nThree.\nFour, five, six, seven.\n") == said


def test_blanks_behind_commas_are_no_part_of_cells(tmp_path: Path) -> None:
    found, told = _read(tmp_path / "a.csv", 'id, text, place\n1, "Hot, dry", Rome\n2, x, "A, B"\n')
    assert [(one.text, dict(one.metadata)) for one in found] == [
        ("Hot, dry", {"place": "Rome"}), ("x", {"place": "A, B"})
    ]  # fmt: skip
    assert not told


def test_a_row_without_text_says_what_it_has(tmp_path: Path) -> None:
    _, told = _read(tmp_path / "a.jsonl", '{"said": "hello", "metadata": {}}\n')
    assert told[0].reason == "it lacks 'text', and has 'said', 'metadata'"


@pytest.mark.parametrize(
    ("name", "data", "read"),
    [
        ("a.jsonl", '{"id": 1, "content": "hello"}\n{"id": 2, "content": "you"}\n', "12"),
        (
            "a.json",
            '{"count": 2, "articles": [{"id": 1, "body": "x"}, {"id": 2, "body": "y"}]}',
            "12",
        ),
        ("a.json", '{"a": [{"id": 1, "body": "x"}], "b": [{"id": 2, "body": "y"}]}', ["a.json"]),
        ("a.json", '[{"id": 1, "price": 7}]', ["a.json"]),
        (
            "a.json",
            '{"text": "All of it, in many more words than are beside it.", "id": "t"}',
            "t",
        ),
        ("a.json", '{"button": "Sign in", "body": "Welcome", "error": "Wrong"}', ["a.json"]),
        ("a.json", '{"text": "A", "segments": [{"text": "A", "start": 0}]}', ["a.json"]),
        ("a.jsonl", '{"role": "user", "content": "hello"}\n', ["a.jsonl"]),
    ],
)
def test_the_text_of_rows_is_told_by_the_names_in_use(
    tmp_path: Path, name: str, data: str, read: Sequence[str]
) -> None:
    (tmp_path / name).write_text(data)
    said: list[Problem] = []
    found = [one.id for one in read_documents(tmp_path, ReadOptions(on_note=said.append))]
    assert found == [*read]
    assert [note.place for note in said] == ([name] if read == "12" else [])


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("<p>Hot &amp; dry</p><ul><li>one</li></ul>", "Hot & dry\n\n* one"),
        ("<p>one paragraph", "<p>one paragraph"),
        ("<project><a>1</a></project>", "<project><a>1</a></project>"),
        ("a <b>bold</b>", "a <b>bold</b>"),
        ("<div>" * 2500 + "x</div>", "<div>" * 2500 + "x</div>"),
    ],
)
def test_the_text_of_a_row_may_be_a_part_of_a_page(tmp_path: Path, text: str, read: str) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}) + "\n" + json.dumps({"text": "y"}))
    notes: list[Problem] = []
    found = [*read_documents(tmp_path, ReadOptions(on_note=notes.append))]
    assert [one.text for one in found] == [read, "y"]
    assert len(notes) == (text != read)


@pytest.mark.parametrize("data", ['[{"text": "a"},\n{"text": "b"}]', '{\n"text": "a"\n}\n', "[\n]"])
def test_json_that_is_not_one_object_a_line(tmp_path: Path, data: str) -> None:
    _, told = _read(tmp_path / "a.jsonl", data)
    assert "one object a line is wanted, as jq -c" in told[0].reason
    with pytest.raises(InputError, match="jq -c"):
        list(read_documents(tmp_path / "a.jsonl"))


def test_a_table_in_a_folder_is_rows_with_their_columns(tmp_path: Path) -> None:
    rows = "".join(f"Lathe {n},{n * 3},in stock\n" for n in range(200))
    (tmp_path / "parts.csv").write_text(f"name,price_eur,status\n{rows}", encoding="utf-8")
    (document,) = read_documents(tmp_path)
    pieces = chunk(document, ChunkSettings(size=60))
    assert all("price_eur" in piece.text for piece in pieces)
    assert "name: Lathe 199; price_eur: 597; status: in stock" in pieces[-1].text


ROWS = [{"id": "1", "text": "red, green", "k": "a"}, {"id": "2", "text": "blue", "k": "b"}]


def _write_rows(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    import pyarrow
    from pyarrow import parquet

    table = "\n".join(["id\ttext\tk", *("\t".join(row.values()) for row in rows)])
    if name.endswith(".parquet"):
        parquet.write_table(pyarrow.Table.from_pylist(rows), folder / name)
    elif name.endswith(".json"):
        (folder / name).write_text(json.dumps(rows, indent=1))
    elif name.endswith(".jsonl"):
        (folder / name).write_text("\n".join(map(json.dumps, rows)))
    else:
        (folder / name).write_text(table if name.endswith(".tsv") else _csv(rows))


def _csv(rows: list[dict[str, str]]) -> str:
    made = io.StringIO()
    writer = csv.DictWriter(made, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    return made.getvalue()


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.json", "a.jsonl", "a.parquet"])
def test_rows_in_a_folder_are_documents_that_know_their_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "sub").mkdir()
    _write_rows(tmp_path / "sub", name, ROWS)
    (tmp_path / "other.txt").write_text("text")
    found = list(read_documents(tmp_path))
    assert [one.id for one in found] == ["other.txt", "1", "2"]
    assert [one.text for one in found[1:]] == ["red, green", "blue"]
    facts = {"path": f"sub/{name}", "suffix": Path(name).suffix, "k": "a"}
    assert dict(found[1].metadata) == facts


def test_a_row_in_a_folder_is_refused_by_the_name_of_its_file(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.csv").write_text("id,text\n1,one\n2,two,too,many\n3,\n")
    (tmp_path / "b.parquet").write_bytes(b"no table")
    told: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=told.append)
    assert [one.id for one in read_documents(tmp_path, options)] == ["1"]
    assert [one.place for one in told] == ["b.parquet", "sub/a.csv:2", "sub/a.csv:3"]


@pytest.mark.parametrize("text", ["[]", "[1]", '[{"a": 1}]', '[{"text": "x"}, {}]', "{}"])
def test_json_that_lists_no_texts_is_one_text(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text)
    (document,) = read_documents(tmp_path)
    assert (document.id, document.text) == ("a.json", text)


def test_a_table_without_rows_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n")
    empty = pyarrow.table({"text": pyarrow.array([], pyarrow.string())})
    parquet.write_table(empty, tmp_path / "b.parquet")
    (tmp_path / "c.md").write_text("Words.")
    told: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=told.append)
    assert [one.id for one in read_documents(tmp_path, options)] == ["c.md"]
    assert told == [Problem(name, "it holds no rows", read=True) for name in ("a.csv", "b.parquet")]


@given(st.lists(st.sampled_from(["1,one", "2,two", "", ",", " , ,,", "\t,"]), max_size=8))
def test_empty_rows_of_a_sheet_are_no_matter(lines: list[str]) -> None:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "a.csv"
        path.write_text("\n".join(["id,text", *lines, ",,,"]))
        found = [f"{one.id},{one.text}" for one in read_documents(path)]
    assert found == [line for line in lines if line.strip(" ,\t")]


@pytest.mark.parametrize("text", ["", "a", "a,b", "1,2\n3,4\n", "\0", "a,b\n1\n2\n3,4\n"])
def test_what_is_no_table_stays_as_it_is(text: str) -> None:
    assert table_as_lines(text) == text


@given(st.text('ab",;\t|\n\r\0 1é', max_size=60))
def test_any_text_may_be_called_a_table(text: str) -> None:
    assert isinstance(table_as_lines(text), str)


STAFF = [["Name", "Days"], ["Ana", 30], ["Bo", 25]]
SALES = [["Region", "Year", "Sales"], ["North", "2024", 12], ["South", "2024", 7]]
TEAMS = [["Team", "Lead"], ["Red", "Ana"], ["Blue", "Bo"]]
SALES_LINES = [
    "Region | Year | Sales", "Region: North; Year: 2024; Sales: 12",
    "Region: South; Year: 2024; Sales: 7",
]  # fmt: skip


@pytest.mark.parametrize(
    ("rows", "lines"),
    [
        ([*STAFF, [], *SALES], SALES_LINES),
        ([*STAFF, [], [], ["Sales by region"], *SALES], ["Sales by region", *SALES_LINES]),
        ([*STAFF, [], *TEAMS], ["Team | Lead", "Team: Red; Lead: Ana", "Team: Blue; Lead: Bo"]),
        ([*STAFF, [], ["Cy", 20]], ["Name: Cy; Days: 20"]),
        ([*STAFF, [], ["Total", "see above"]], ["Name: Total; Days: see above"]),
        (
            [*TEAMS, [], ["Green", "Cy"], ["Pink", "Di"]],
            ["Team: Green; Lead: Cy", "Team: Pink; Lead: Di"],
        ),
        ([*STAFF, *SALES[1:]], ["Name: North; Days: 2024; 12", "Name: South; Days: 2024; 7"]),
    ],
)  # fmt: skip
def test_a_second_table_of_a_sheet_has_its_own_columns(
    tmp_path: Path, rows: list[list[Any]], lines: list[str]
) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    book.save(tmp_path / "two.xlsx")
    (document,) = read_documents(tmp_path)
    found = document.text.splitlines()
    assert found[-len(lines) :] == lines
    above = 3 if rows[0] == STAFF[0] else len(TEAMS)
    assert len(found) == 2 + above + len(lines)


def test_merged_cells_stand_in_each_row_and_lost_formulas_are_said(tmp_path: Path) -> None:
    import openpyxl

    book = openpyxl.Workbook()
    for row in (["town", "year", "code"], ["Rome", 1, "A"], [None, 2, None], [None, "=B2*2", "B"]):
        book.active.append(row)
    book.create_sheet("Old").sheet_state = "hidden"
    book.active.merge_cells("A2:A4")
    book.active.merge_cells("C2:C3")
    book.save(tmp_path / "a.xlsx")
    notes: list[Problem] = []
    (document,) = read_documents(tmp_path / "a.xlsx", ReadOptions(on_note=notes.append))
    assert document.text.splitlines()[-3:] == [
        "town: Rome; year: 1; code: A",
        "town: Rome; year: 2; code: A",
        "town: Rome; code: B",
    ]
    assert "1 formulas of the sheet 'Sheet' have no value" in notes[0].reason
    assert notes[1].reason == "the sheet 'Old' is hidden, and is not read"


def test_cells_of_a_table_that_are_html_are_read_as_a_page_shows_them() -> None:
    """As help desks and shops export what was written in an editor of theirs."""
    text = (
        "id\tbody\tstatus\n"
        "1\t<p>The <b>lamp</b> of the beamer&nbsp;is &quot;ELPLP97&quot;.</p>\topen\n"
        "2\ta < b\tclosed\n"
        '3\t"<ul>\n<li>one</li>\n<li>two</li>\n</ul>"\t\n'
        "4\t<none>\topen\n"
    )
    assert table_as_lines(text).splitlines()[1:] == [
        'id: 1; body: The **lamp** of the beamer is "ELPLP97".; status: open',
        "id: 2; body: a < b; status: closed",
        "id: 3; body: * one * two",
        "id: 4; body: <none>; status: open",
    ]
