"""Writes a compile's report as `report.html`, `report.md` and `report.json`.

The page is one file that loads nothing. Knows nothing of how the numbers were made, and writes
nothing that is not in the result.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

from ragwright.optimize.report.facts import report_facts
from ragwright.optimize.report.view import PROGRAMS, STAGES, build_report_view
from ragwright.optimize.result import CompileResult
from ragwright.optimize.scoring.attribution import FAILURES

SHOWN = 25
"""How many wins and how many losses the page shows; `report.json` has every question."""


def write_report(result: CompileResult, folder: str | Path) -> Path:
    """Write the three files into a folder and return the folder."""
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    view = build_report_view(result)
    made = f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC"
    templates = Environment(
        loader=PackageLoader("ragwright.optimize.report", "."),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    for name in ("report.html", "report.md"):
        text = templates.get_template(f"{name}.j2").render(
            view=view, kinds=FAILURES, programs=PROGRAMS, stages=STAGES, shown=SHOWN, made=made,
            release=version("ragwright"),
        )  # fmt: skip
        (place / name).write_text(text, encoding="utf-8")
    facts = json.dumps(report_facts(view), indent=1, ensure_ascii=False, allow_nan=False)
    (place / "report.json").write_text(facts + "\n", encoding="utf-8")
    return place
