"""Which rows of a table name its columns, in sheets, CSV and pages alike."""

from __future__ import annotations

import csv
import datetime
import html
import io
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents.columns import heading_of, is_form, is_value
from ragwright.retrievers.documents.convert import convert_file
from ragwright.retrievers.documents.sheets import sheets_text
from ragwright.retrievers.documents.tables import table_as_lines

Rows = list[list[str]]
WORDS = st.text("abcdefgé日", min_size=2, max_size=6)
NUMBERS = st.integers(0, 10**6).map(str) | st.sampled_from(["1,20", "3.5 %", "-7", "5 €"])
CASES: dict[str, tuple[Rows, int, Rows]] = {
    "years": ([["Region", "2022", "2023"]], 0, [["North", "12", "14"], ["South", "7", "8"]]),
    "years alone": ([["", "2022", "2023"]], 0, [["North", "12", "14"]]),
    "one name twice": (
        [["Date", "Amount", "Unit", "Amount", "Unit"]], 0, [["2026-01-01", "5", "EUR", "6", "USD"]]
    ),
    "side by side": ([["Name", "Town", "", "Name", "Town"]], 0, [["Ann", "Rom", "", "Bo", "Ulm"]]),
    "an export": (
        [["Account", "DE12"], ["Period", "01.01. to 31.01."], ["Day", "Payee", "Amount"]], 2,
        [["02.01.2026", "Water", "-45,30"], ["03.01.2026", "Shop", "-12,99"]],
    ),
    "a title": ([["Sales of 2026"], ["Part", "Price"]], 1, [["Bolt", "1.20"]]),
}  # fmt: skip
WITHOUT: list[Rows] = [
    [["Bolt", "1.20"], ["Nut", "0.80"]],
    [["Rome", "2022", "2023"], ["Paris", "2020", "2021"]],
    [["Bolt", "1", "2", "3"], ["Nut", "2", "3", "4"]],
    [["2026-01-01", "low"], ["2026-01-02", "high"]],
    [["yes", "yes"], ["yes", "no"]],
    [["one"], ["two"]],
]


def sheet(rows: list[list[Any]], formats: dict[str, str] | None = None, merged: str = "") -> str:
    """Return the lines of a workbook with these rows, without the name of its sheet."""
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in rows:
        book.active.append(row)
    for place, form in (formats or {}).items():
        book.active[place].number_format = form
    for place in merged.split():
        book.active.merge_cells(place)
    made = io.BytesIO()
    book.save(made)
    return sheets_text(made.getvalue()).text.partition("\n\n")[2]


def page(rows: Rows) -> str:
    cells = "".join(
        f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in row)}</tr>" for row in rows
    )
    made = f"<meta charset=utf-8><table>{cells}</table>".encode()
    return convert_file(made, ".html", 1 << 20).text


def written(rows: Rows) -> str:
    made = io.StringIO()
    csv.writer(made, delimiter=";").writerows(rows)
    return table_as_lines(made.getvalue()).rstrip("\n")


@pytest.mark.parametrize("kind", CASES)
@pytest.mark.parametrize("read", [sheet, page, written])
def test_the_names_of_columns_stand_in_every_row(kind: str, read: Any) -> None:
    tops, before, rows = CASES[kind]
    names = tops[before]
    said = read([*tops, *rows]).splitlines()
    assert len(said) == before + 1 + len(rows)
    assert said[before] == " | ".join(filter(None, names))
    for line, row in zip(said[before + 1 :], rows, strict=True):
        pairs = [(name, cell) for name, cell in zip(names, row, strict=True) if cell]
        assert line == "; ".join(f"{name}: {cell}" if name else cell for name, cell in pairs)


@pytest.mark.parametrize("rows", WITHOUT)
def test_a_row_of_values_names_nothing(rows: Rows) -> None:
    assert heading_of(rows).rows == 0
    assert ":" not in sheet(rows)


@settings(deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=5, unique=True), st.data())
def test_any_names_above_numbers_are_names(names: list[str], data: st.DataObject) -> None:
    above = data.draw(st.lists(WORDS.map(lambda word: [f"# {word}"]), max_size=3))
    row = st.lists(NUMBERS, min_size=len(names), max_size=len(names))
    rows = data.draw(st.lists(row, min_size=2, max_size=5))
    assert heading_of([*above, names, *rows]) == (len(above), 1, names)
    said = written([*above, names, *rows]).splitlines()
    assert said[-1] == "; ".join(f"{n}: {cell}" for n, cell in zip(names, rows[-1], strict=True))


GROUPED: Rows = [
    ["Month", "Net", "Share", "Net", "Share"], ["Jan", "12", "30", "9", "20"],
    ["Feb", "14", "31", "8", "21"],
]  # fmt: skip
LINE = "Month: Jan; North Net: 12; North Share: 30; South Net: 9; South Share: 20"


def test_groups_of_columns_are_said_with_each() -> None:
    assert LINE in sheet([["", "North", "", "South", ""], *GROUPED], merged="B1:C1 D1:E1")
    assert LINE in sheet([["", "North", "", "South", ""], *GROUPED])
    assert LINE in page([["", "North", "North", "South", "South"], *GROUPED])
    assert LINE in written([["", "North", "", "South", ""], *GROUPED])
    own = [["", "2025", "", "2026", ""], ["Month", "Net", "Costs", "Sum", "Rest"],
           ["Jan", "1", "2", "3", "4"]]  # fmt: skip
    assert "2025 Net: 1; 2025 Costs: 2; 2026 Sum: 3" in sheet(own, merged="B1:C1 D1:E1")


def test_a_form_says_each_name_with_its_value() -> None:
    form = [["Customer", "ACME Ltd"], ["Order no", "00417"], ["Date", "2026-02-01"],
            ["Contact", "Ann Lee"]]  # fmt: skip
    said = ["Customer: ACME Ltd", "Order no: 00417", "Date: 2026-02-01", "Contact: Ann Lee"]
    assert sheet(form).splitlines() == said
    assert is_form([["Town:", "Rome"], ["Lead:", "Ann"], ["Rank:", "first"]])
    assert not is_form([["Name", "Sum"], ["A", "2"], ["B", "n/a"], ["C", "5"]])
    assert sheet([["Part", "Price"], ["Bolt", 5], [], *form]).splitlines()[2:] == said


@pytest.mark.parametrize(
    ("value", "form", "shown"),
    [
        (1234.5, '#,##0.00 "€"', "1234.50 €"),
        (99, "[$$-409]#,##0.00", "$99.00"),
        (2.5, '0.0" kg"', "2.5 kg"),
        (5.25, r"#,##0.00\ [$CHF-807]", "5.25 CHF"),
        (7.5, r'_-* #,##0.00\ "€"_-;\-* #,##0.00\ "€"_-', "7.50 €"),
        (3, "0.00_);[Red](0.00)", "3.00"),
        (0.125, "0.0%", "12.5%"),
        (2_500_000, '0.0,,"M"', "2500000"),
        (7, "00000", "00007"),
        (datetime.date(2026, 1, 31), "dd.mm.yyyy", "2026-01-31"),
    ],
)
def test_amounts_of_a_sheet_say_their_unit(value: Any, form: str, shown: str) -> None:
    assert sheet([["Name", "Sum"], ["A", value]], {"B2": form}).endswith(f"Sum: {shown}")


@pytest.mark.parametrize("cell", ["5", "-1,20", "12.5 %", "$99.00", "5 EUR", "2026-01-31", "9:30"])
def test_values(cell: str) -> None:
    assert is_value(cell)
    assert not is_value(f"{cell} or so")


def test_a_table_that_only_places_things_is_what_it_places() -> None:
    inner = "<table><tr><th>Part<th>Price<tr><td>Bolt, made of steel, zinc plated<td>1.20"
    letter = f"<table><tr><td><h2>Offer</h2><p>Hello.</p>{inner * 2}</table></table>Bye</table>"
    text = convert_file(f"<meta charset=utf-8>{letter}".encode(), ".html", 1 << 20).text
    assert text.split("\n\n")[:2] == ["## Offer", "Hello."]
    assert "\nPart: Bolt, made of steel, zinc plated; Price: 1.20" in text
    data = "<table><tr><td>Part<td>Sizes<tr><td>Bolt<td>5 <table><tr><td>k<td>v<tr><td>a<td>6"
    assert "Part: Bolt; Sizes: 5 (k | v; k: a; v: 6)" in (
        convert_file(data.encode(), ".html", 1 << 20).text
    )


def test_a_table_of_other_tags_has_rows() -> None:
    rows = "".join(
        f"<div role=row>{''.join(f'<span role={role}>{cell}</span>' for cell in cells)}</div>"
        for role, cells in (("columnheader", ("Name", "Age")), ("gridcell", ("Bob", "42")))
    )
    text = convert_file(f"<div role=grid>{rows}</div>".encode(), ".html", 1 << 20).text
    assert text == "Name | Age\nName: Bob; Age: 42"
