"""A recipe or an artifact laid out for reading: settings, knobs, predictors, scores."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, get_args

import dspy
from rich.markup import escape
from rich.table import Table

from ragwright.artifacts.cli.actions import ProgramToShow
from ragwright.artifacts.cli.view import print_json, show_notes, stdout_console
from ragwright.artifacts.learned import sources_of
from ragwright.artifacts.manifest import Interval, Manifest
from ragwright.programs.anatomy import knobs_of
from ragwright.programs.knobs import Knobs, KnobValues


@dataclass(frozen=True)
class KnobRow:
    """One knob: its value here, its default and what it may be."""

    name: str
    value: float | int | str
    default: float | int | str
    range: str


def show_described(found: ProgramToShow, as_json: bool) -> None:
    """Print what a program is made of."""
    knobs = _all_knobs(found.program)
    predictors = [
        {
            "name": name,
            "instructions": predictor.signature.instructions,
            "demos": len(predictor.demos),
        }
        for name, predictor in found.program.named_predictors()
    ]
    if as_json:
        print_json(
            {
                "settings": found.recipe.model_dump(mode="json"),
                "knobs": [asdict(row) for row in knobs],
                "learned": [
                    {"stage": place, "source": name, "described": described}
                    for place, name, described in _learned(found.program)
                ],
                "predictors": predictors,
                "manifest": found.manifest.model_dump(mode="json") if found.manifest else None,
                "notes": list(found.notes),
            }
        )
        return
    _show_settings(found)
    _show_knobs(knobs)
    _show_learned(_learned(found.program))
    _show_predictors(predictors)
    if found.manifest:
        _show_manifest(found.manifest)
    show_notes(found.notes)


def _learned(program: dspy.Module) -> list[tuple[str, str, str]]:
    """Place, name and description of every source that a program learned."""
    return [
        (place, part.signal.name, part.described)
        for place, parts in sources_of(program).items()
        for part in parts
    ]


def _all_knobs(program: dspy.Module) -> list[KnobRow]:
    """The knobs of a program's stages; where they have several sets, each by its place."""
    found = {id(leaf): (place, leaf) for place, leaf in knobs_of(program).items()}
    if len(found) == 1:
        return [row for _, leaf in found.values() for row in knob_rows(leaf)]
    return [
        replace(row, name=f"{place.removesuffix('.knobs')}: {row.name}")
        for place, leaf in found.values()
        for row in knob_rows(leaf)
    ]


def knob_rows(knobs: Knobs) -> list[KnobRow]:
    """Return every knob with its value and range: those of every program, and its parts' own."""
    values = knobs.values
    rows = [
        KnobRow(name, getattr(values, name), field.default, _range(field))
        for name, field in KnobValues.model_fields.items()
    ]
    for signal in knobs.signals:
        rows.append(KnobRow(signal.weight, values.weight(signal.name), 0.0, "0 to 1"))
        rows += [
            KnobRow(name, values.get(name, number.default), number.default,
                    f"{number.low:g} to {number.high:g}")
            for number in signal.numbers
            for name in (signal.knob(number),)
        ]  # fmt: skip
    return rows


def _show_settings(found: ProgramToShow) -> None:
    table = _table("setting", "value", title=f"recipe {found.recipe.name}")
    settings = found.recipe.model_dump(mode="json", exclude={"name", "knobs", "baseline"})
    for name, value in _flat(settings):
        table.add_row(name, escape(str(value)))
    stdout_console().print(table)


def _show_knobs(knobs: list[KnobRow]) -> None:
    table = _table("knob", "value", "default", "range", title="knobs")
    for row in knobs:
        value = f"[bold]{row.value}[/bold]" if row.value != row.default else str(row.value)
        table.add_row(row.name, value, str(row.default), row.range)
    stdout_console().print(table)


def _show_learned(rows: list[tuple[str, str, str]]) -> None:
    if not rows:
        return
    table = _table("source", "stage", "", title="learned")
    for place, name, described in rows:
        table.add_row(name, escape(place), described)
    stdout_console().print(table)


def _show_predictors(predictors: list[dict[str, Any]]) -> None:
    table = _table("predictor", "demonstrations", "instructions", title="predictors")
    for row in predictors:
        table.add_row(row["name"], str(row["demos"]), escape(row["instructions"].split("\n")[0]))
    stdout_console().print(table)


def _show_manifest(manifest: Manifest) -> None:
    provenance = manifest.provenance
    table = _table("", "", title="artifact")
    table.add_row("saved", f"{manifest.created}, format {manifest.format}")
    table.add_row("releases", ", ".join(f"{k} {v}" for k, v in manifest.versions))
    if (facts := manifest.program) is not None:
        table.add_row("program", escape(f"{facts.module}:{facts.name} {facts.version}".strip()))
        for place, stage in facts.stages.items():
            table.add_row("stage", escape(f"{place}: {stage.kind}, {stage.index.path}"))
    for index in manifest.bindings:
        table.add_row("index", f"{escape(index.path)}: {index.documents} documents")
        table.add_row("embedder", f"{index.embedder.model} ({index.embedder.dimension} dimensions)")
    table.add_row("language model", manifest.language_model)
    if comparison := provenance.comparison:
        table.add_row("test questions", f"{comparison.n}, {comparison.metric}")
        table.add_row("baseline", _interval(comparison.baseline))
        table.add_row("compiled", _interval(comparison.compiled))
        table.add_row("difference", f"{_interval(comparison.difference)}, p = {comparison.p:.4f}")
        table.add_row("verdict", comparison.verdict)
    stdout_console().print(table)


def _table(*columns: str, title: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=None, padding=(0, 1))


def _interval(value: Interval) -> str:
    return f"{value.mean:.3f} ({value.low:.3f} to {value.high:.3f})"


def _range(field: Any) -> str:
    if choices := get_args(field.annotation):
        return " or ".join(str(choice) for choice in choices)
    low = next(rule.ge for rule in field.metadata if hasattr(rule, "ge"))
    high = next(rule.le for rule in field.metadata if hasattr(rule, "le"))
    return f"{low} to {high}"


def _flat(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
