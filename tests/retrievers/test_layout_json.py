"""What other parsers found on pages and wrote as JSON is one document, with headings and pages."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.types import Document

TABLE = "<table><tr><th>Day</th><th>Hours</th></tr><tr><td>Monday</td><td>8</td></tr></table>"
LAYOUTS: dict[str, Any] = {
    "MinerU": [
        {"type": "header", "text": "ACME", "page_idx": 0},
        {"type": "text", "text": "Leave", "text_level": 1, "page_idx": 0},
        {"type": "text", "text": "Everybody has 30 days.", "page_idx": 0},
        {"type": "table", "table_caption": [], "table_body": TABLE, "page_idx": 1},
    ],
    "Unstructured": [
        {"type": "Header", "element_id": "0", "text": "ACME", "metadata": {"page_number": 1}},
        {"type": "Title", "element_id": "1", "text": "Leave", "metadata": {"page_number": 1}},
        {"type": "NarrativeText", "element_id": "2", "text": "Everybody has 30 days."},
        {
            "type": "Table",
            "element_id": "3",
            "text": "Day Hours Monday 8",
            "metadata": {"page_number": 2, "text_as_html": TABLE},
        },
    ],
    "Docling": {
        "schema_name": "DoclingDocument",
        "body": {"children": [{"$ref": "#/groups/0"}, {"$ref": "#/tables/0"}]},
        "groups": [{"children": [{"$ref": f"#/texts/{number}"} for number in (2, 0, 1, 1)]}],
        "texts": [
            {"label": "title", "text": "Leave", "prov": [{"page_no": 1}]},
            {"label": "text", "text": "Everybody has 30 days.", "prov": [{"page_no": 1}]},
            {"label": "page_header", "text": "ACME", "prov": [{"page_no": 1}]},
        ],
        "tables": [
            {
                "label": "table",
                "prov": [{"page_no": 2}],
                "data": {"grid": [[{"text": "Day"}, {"text": "Hours"}],
                                  [{"text": "Monday"}, {"text": "8"}]]},
            }
        ],
    },
}  # fmt: skip


def read(folder: Path, value: Any) -> Document:
    (folder / "parsed.json").write_text(json.dumps(value))
    (found,) = read_documents(folder)
    return found


@pytest.mark.parametrize("parser", LAYOUTS)
def test_a_parsed_document_is_one(tmp_path: Path, parser: str) -> None:
    found = read(tmp_path, LAYOUTS[parser])
    table = {"Docling": "| Day | Hours |\n|---|---|\n| Monday | 8 |"}
    rows = table.get(parser, "Day | Hours\nDay: Monday; Hours: 8")
    assert found.title == "Leave"
    assert found.text == f"# Leave\n\nEverybody has 30 days.\n\n{rows}"
    places = [(found.text[place.start :][:3], place.metadata["page"]) for place in found.places]
    assert places == [("# L", 1), (rows[:3], 2)]


@pytest.mark.parametrize("wrong", [
    {"schema_name": "DoclingDocument", "texts": [{"label": ["x"], "text": ["Leave"], "prov": [1]}]},
    {"schema_name": "DoclingDocument", "texts": [{"text": "Leave"}],
     "body": {"children": [{"$ref": "#/texts/0"}, {"$ref": "#/texts/99999999999"}, {"$ref": 1},
                           {"$ref": "#/body"}, 7]}},
    [{"type": {}, "text": "Leave", "page_idx": 10**30, "text_level": None}],
    [{"type": "Title", "element_id": 1, "text": "Leave", "metadata": {"category_depth": "x"}}],
    [{"type": "table", "table_body": 7, "text": "Leave", "page_idx": -5}],
])  # fmt: skip
def test_what_is_wrong_in_it_costs_nothing_else(tmp_path: Path, wrong: Any) -> None:
    assert read(tmp_path, wrong).text.lstrip("# ") == "Leave"
