"""How a compile's outcome looks: the table of compared programs, the verdict, the places.

Knows nothing of how it was measured.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from ragwright.artifacts.cli.compile import CompileOutput
from ragwright.artifacts.cli.view import (
    describe_spend,
    print_json,
    shell_command,
    short_path,
    show_next,
    show_notes,
    show_replies,
    stdout_console,
)  # fmt: skip
from ragwright.artifacts.manifest import Interval
from ragwright.artifacts.versions import CHAMPION, read_aliases
from ragwright.optimize.report.descriptions import describe_verdict
from ragwright.optimize.result import BASELINE, START, CompileResult
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.setting import flat_knobs
from ragwright.optimize.spending.estimate import Estimate, duration_as_text


def show_compiled(done: CompileOutput, as_json: bool) -> None:
    """Print what a compile gained and where everything lies."""
    if as_json:
        print_json(_facts(done))
        return
    result = done.result
    show_notes(result.notes)
    show_replies(result.unreadable)
    stdout_console().print(_programs(result))
    if result.comparisons:
        stdout_console().print(_together(result))
    stdout_console().print(_retrieval(result))
    stdout_console().print(f"\n[bold]Verdict: {result.verdict}.[/bold] {describe_verdict(result)}")
    stdout_console().print(describe_spend(result.spend) + "\n")
    for name, place in _places(done).items():
        stdout_console().print(f"{name:<9}{escape(place)}", soft_wrap=True)
    show_notes([*unproven_program(result), *_standing(done)])
    show_next(shell_command("rag", "serve", short_path(done.artifact)))


def show_estimate(found: Estimate, as_json: bool) -> None:
    """Print what a compile would take, stage by stage."""
    if as_json:
        print_json({**asdict(found), "calls": found.calls, "tokens": found.tokens})
        return
    table = _table("stage", "answers", "calls", "tokens", title="estimated, stage by stage")
    for need in found.needs:
        table.add_row(need.stage, str(need.questions), str(need.calls), str(need.tokens))
    table.add_row("[bold]all[/bold]", "", str(found.calls), str(found.tokens))
    stdout_console().print(table)
    price = f", about {found.cost:.2f} US$" if found.cost else ""
    stdout_console().print(
        f"About {found.calls} calls and {found.tokens} tokens{price}; {found.probed} questions "
        f"were answered to find out ({found.spent} calls). At that pace it takes up to "
        f"{duration_as_text(found.seconds)}. Keep within it with --max-calls or --max-seconds."
    )
    stdout_console().print(str(found.power))


def _together(result: CompileResult) -> Table:
    """Knobs and prompts together against either alone, and against the start."""
    table = _table("together, against the others", "difference (95 %)", "p", "+ / -", title="")
    for name, gain in result.comparisons.items():
        shown_gain = f"{gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        table.add_row(name, shown_gain, f"{gain.p:.4f}", f"{gain.wins} / {gain.losses}")
    return table


def _programs(result: CompileResult) -> Table:
    table = _table(
        "program",
        f"{result.recipe.compile.metric} (95 %)",
        "gain (95 %)",
        "p",
        "+ / -",
        title=f"answers to {result.gain.n} test questions",
    )
    for name, evaluation in result.test.items():
        score, gain = interval_of(evaluation), result.ablation[name]
        title = f"[bold]{name} *[/bold]" if name == result.chosen else name
        shown_score = f"{score.mean:.3f} ({score.low:.3f} to {score.high:.3f})"
        shown_gain = f"{gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        counted = f"{gain.wins} / {gain.losses}"
        compared = (shown_gain, f"{gain.p:.4f}", counted) if name != BASELINE else ("", "", "")
        table.add_row(title, shown_score, *compared)
    how = "of two that dev named, the one that test decided for" if result.why else "chosen on dev"
    table.caption = (
        f"* the compiled program, {how}; + / -: questions better / worse than the baseline"
    )
    if START in result.test:
        table.caption += "; start: the knobs that the recipe has, untuned"
    table.caption_justify = "left"
    return table


def _retrieval(result: CompileResult) -> Table:
    rows = result.retrieval
    metrics = list(rows[0].means) if rows else []
    title = f"passages for {rows[0].n} test questions" if rows else ""
    table = _table("retrieval", "k", *metrics, title=title)
    table.caption = "read recall: of what k and the context's budget let it read; the rest: of 10"
    table.caption_justify = "left"
    for row in rows:
        table.add_row(row.name, str(row.k), *(f"{row.means[metric]:.3f}" for metric in metrics))
    return table


def _table(*columns: str, title: str) -> Table:
    return Table(*columns, title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))


def _places(done: CompileOutput) -> dict[str, str]:
    store = done.tracking.uri.removeprefix("sqlite:///")
    return {
        "artifact": short_path(done.artifact),
        "report": short_path(done.report),
        "run": short_path(done.result.run_dir),
        "MLflow": shell_command("rag", "mlflow", short_path(Path(store).parent)),
    }


def unproven_program(result: CompileResult) -> list[str]:
    """Say what the artifact holds where the verdict is to keep what was there."""
    if result.verdict != "keep the baseline" or result.chosen == BASELINE:
        return []
    return [f"The artifact holds {result.chosen!r}, whose gain over the baseline is not shown."]


def _standing(done: CompileOutput) -> list[str]:
    """Say so if the artifact's name goes on meaning another version."""
    champion = read_aliases(done.artifact).get(CHAMPION)
    if champion is None:
        return []
    return [
        f"Version {done.version.name} is the candidate, version {champion} stays the champion: "
        f"`rag artifacts promote {short_path(done.artifact)}` changes that."
    ]


def _facts(done: CompileOutput) -> dict[str, Any]:
    result = done.result
    programs = {
        name: {
            "score": interval_of(evaluation).model_dump(),
            "gain": asdict(result.ablation[name]),
            "seconds": evaluation.seconds,
        }
        for name, evaluation in result.test.items()
    }
    return {
        "verdict": result.verdict,
        "metric": result.recipe.compile.metric,
        "n": result.gain.n,
        "chosen": result.chosen,
        "knobs": flat_knobs(result.program),
        "programs": programs,
        "why": result.why,
        "comparisons": {name: asdict(gain) for name, gain in result.comparisons.items()},
        "retrieval": [asdict(row) for row in result.retrieval],
        "spend": [asdict(stage) for stage in result.spend],
        "notes": result.notes,
        "artifact": str(done.artifact.resolve()),
        "version": str(done.version),
        "report": str(done.report),
        "mlflow": {**done.tracking.model_dump(), "model": done.model},
    }


def interval_of(done: Evaluation) -> Interval:
    """Return the mean score of an evaluation with its 95 % interval."""
    found = done.interval()
    return Interval(mean=found.mean, low=found.low, high=found.high)
