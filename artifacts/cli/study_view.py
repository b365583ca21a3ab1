"""What a study found, on the terminal, in its report and as a run in MLflow."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ragwright.retrievers.errors import RecordFault

if TYPE_CHECKING:
    from ragwright.optimize.study.tracking import Study
    from ragwright.optimize.study.writing import Findings
    from ragwright.programs.recipe import Recipe


@dataclass(frozen=True)
class WrittenStudy:
    """A study whose report is written."""

    study: Study
    findings: Findings
    report: Path


def write_study_report(study: Study, findings: Findings, folder: Path) -> WrittenStudy:
    """Write a study's report."""
    from ragwright.optimize.study.writing import write_findings

    return WrittenStudy(study, findings, write_findings(findings, folder))


def show_study(
    done: WrittenStudy, as_json: bool, recipe: Path, tracked: Recipe | None, *, refused: str
) -> None:
    """Keep a run in MLflow, if it is wanted, and print what was found.

    Args:
        done: The study.
        as_json: Whether JSON is printed.
        recipe: The recipe's path.
        tracked: The recipe, if a run is to be kept.
        refused: Why a compile would not take these questions; "" if it would.
    """
    from rich.markup import escape

    from ragwright.artifacts.cli import view

    run = _tracked(done, recipe, tracked) if tracked else ""
    if as_json:
        kept = {"mlflow_run": run} if run else {}
        view.print_json({**done.findings.facts, "report": str(done.report), **kept})
        return
    out = view.stdout_console()
    _show_tables(done.findings)
    out.print(escape(done.findings.summary), soft_wrap=True)
    out.print(f"report {escape(view.short_path(done.report / 'study.html'))}", soft_wrap=True)
    if run:
        shown = view.shell_command("rag", "mlflow", view.short_path(recipe))
        out.print(f"run {run}: {escape(shown)}", soft_wrap=True)
    if refused:
        view.show_notes([f"`rag compile` would refuse these questions: {refused}"])
        return
    view.show_next(view.shell_command("rag", "compile", recipe))


def _show_tables(findings: Findings) -> None:
    from rich.markup import escape
    from rich.table import Table

    from ragwright.artifacts.cli import view

    for listed in findings.tables:
        columns, title = map(escape, listed.columns), escape(listed.title)
        table = Table(*columns, title=title, title_justify="left", box=None, padding=(0, 1))
        for row in listed.rows:
            table.add_row(*map(escape, row))
        view.stdout_console().print(table)
        view.stdout_console().print()


def _tracked(done: WrittenStudy, recipe: Path, read: Recipe) -> str:
    """Keep a run beside those of compiles; the empty text, and a note, where that cannot be."""
    from ragwright.artifacts.cli import view
    from ragwright.artifacts.cli.store import quiet_mlflow
    from ragwright.programs.variants import parse_recipe_reference

    if find_spec("mlflow") is None:
        return ""
    quiet_mlflow()
    from ragwright.optimize.study.tracking import track_study

    file, _ = parse_recipe_reference(recipe)
    workspace = (file if file.is_dir() else file.parent).resolve() / ".rag"
    try:
        return track_study(
            done.study,
            done.findings,
            done.report,
            recipe=read,
            tracking_uri=f"sqlite:///{workspace / 'mlflow.db'}",
            artifact_location=workspace / "mlartifacts",
        )
    except RecordFault as error:
        view.show_notes([str(error)])
        return ""
