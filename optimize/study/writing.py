"""Writes what a study found as one HTML page, Markdown and JSON: the same tables in each."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Bars:
    """Means to draw side by side, with their intervals where there are any.

    Attributes:
        title: What is drawn.
        rows: Label, mean, lower and upper end of each bar; all from 0 to 1.
        note: What title and labels mean.
    """

    title: str
    rows: tuple[tuple[str, float, float, float], ...]
    note: str = ""

    @property
    def has_intervals(self) -> bool:
        """Whether any bar has one that can be seen."""
        return any(high > low for _, _, low, high in self.rows)


@dataclass(frozen=True)
class ReportTable:
    """A table of text.

    Attributes:
        title: What it tells.
        columns: Headings.
        rows: Cells.
        note: What to decide by it.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Findings:
    """A study as people read it.

    Attributes:
        title: Such as "Retrieval of handbook".
        summary: One sentence.
        bars: What is drawn.
        tables: What is listed.
        facts: The same numbers, for programs; plain JSON types.
    """

    title: str
    summary: str
    bars: tuple[Bars, ...]
    tables: tuple[ReportTable, ...]
    facts: Mapping[str, Any]


def write_findings(findings: Findings, folder: Path) -> Path:
    """Write `study.html`, `study.md` and `study.json`, and return the folder."""
    from jinja2 import (
        ChoiceLoader,
        Environment,
        PackageLoader,
        StrictUndefined,
        select_autoescape,
    )

    folder.mkdir(parents=True, exist_ok=True)
    templates = Environment(
        loader=ChoiceLoader(  # the study's page, with the looks of the compile's report
            [PackageLoader(f"ragwright.optimize.{name}", ".") for name in ("study", "report")]
        ),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = templates.get_template("study.html.j2").render(
        found=findings,
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        release=version("ragwright"),
    )
    (folder / "study.html").write_text(page, encoding="utf-8")
    (folder / "study.md").write_text(_markdown(findings), encoding="utf-8")
    facts = json.dumps(findings.facts, indent=1, ensure_ascii=False)
    (folder / "study.json").write_text(facts + "\n", encoding="utf-8")
    return folder


def _markdown(findings: Findings) -> str:
    parts = [f"# {findings.title}", findings.summary]
    for table in findings.tables:
        lines = [f"## {table.title}", ""]
        if table.note:
            lines += [table.note, ""]
        lines.append("| " + " | ".join(map(_cell, table.columns)) + " |")
        lines.append("|" + " --- |" * len(table.columns))
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
