"""How `rag artifacts verify` and `check` look. Knows nothing of how it was found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from ragwright.artifacts.cli.golden import GoldenCheck, VerifyOutput
from ragwright.artifacts.cli.view import print_json, show_notes, stdout_console
from ragwright.artifacts.golden import Move

SHOWN = 10
"""How many questions that got worse are printed; `--json` has all."""


def show_verified(found: VerifyOutput, as_json: bool) -> None:
    """Print what `verify` found."""
    if as_json:
        facts = {name: getattr(found, name) for name in ("findings", "notes", "files", "replayed")}
        print_json({"artifact": found.manifest.name, "verified": not found.findings, **facts})
        return
    show_notes(found.notes)
    for finding in found.findings:
        stdout_console().print(f"[red]differs[/red] {escape(finding)}", soft_wrap=True)
    if not found.findings:
        counts = f"{found.files} files, {found.replayed} golden questions"
        stdout_console().print(f"[bold]Verified:[/bold] {counts}, all as saved.")


def show_checked(found: GoldenCheck, as_json: bool) -> None:
    """Print what `check` found and what to do."""
    if as_json:
        print_json(_facts(found))
        return
    show_notes(found.notes)
    gain = found.gain
    then, now = found.documents
    table = Table("golden questions", str(gain.n), box=None, padding=(0, 1))
    table.add_row("documents", f"{then} when it was saved, {now} now")
    for name, count in found.counts.items():
        table.add_row(name, str(count))
    stdout_console().print(table)
    for line in _worse(found.moves):
        stdout_console().print(line, soft_wrap=True)
    stdout_console().print(
        f"\n[bold]{'Dropped' if found.dropped else 'Holds'}.[/bold] {golden_advice(found)}"
    )


def golden_advice(found: GoldenCheck) -> str:
    """Say what was measured and what to do about it."""
    gain = found.gain
    before = sum(m.golden.given.score for m in found.moves) / gain.n
    measured = (
        f"On {gain.n} golden questions the score was {before:.3f} and is {before + gain.gain:.3f}: "
        f"{gain.gain:+.3f} (95 % interval {gain.low:+.3f} to {gain.high:+.3f}, p = {gain.p:.4f})."
    )
    if found.dropped:
        return f"{measured} Compile again on these documents: `rag compile RECIPE`."
    if gain.detectable:
        return (
            f"{measured} With so many questions a drop of {gain.detectable:.3f} would have shown 4 "
            "times out of 5."
        )
    return measured


def _worse(moves: Sequence[Move]) -> list[str]:
    worse = sorted((m for m in moves if m.gain < 0), key=lambda m: m.gain)
    if not worse:
        return []
    causes = ", ".join(
        f"{count} {cause}" for cause, count in Counter(m.cause for m in worse).items()
    )
    lines = [f"\nworse: {causes}"]
    for m in worse[:SHOWN]:
        then, now = m.golden.given.answer, m.now.answer or m.now.error
        lines.append(escape(f"  {m.golden.question} {then!r}, now {now!r} ({m.cause})"))
    more = len(worse) - SHOWN
    return [*lines, f"  and {more} more"] if more > 0 else lines


def _facts(found: GoldenCheck) -> dict[str, Any]:
    moved = [m for m in found.moves if m.answer_moved or m.passages_moved]
    return {
        "artifact": found.manifest.name,
        "verdict": "dropped" if found.dropped else "holds",
        "advice": golden_advice(found),
        "metric": found.metric,
        **asdict(found.gain),
        "documents": {"then": found.documents[0], "now": found.documents[1]},
        "counts": found.counts,
        "moved": [
            {
                "id": m.golden.id,
                "question": m.golden.question,
                "then": m.golden.given.answer,
                "now": m.now.answer,
                "error": m.now.error,
                "gain": m.gain,
                "cause": m.cause,
                "gone": m.gone,
                "displaced": m.displaced,
                "new": m.new,
            }
            for m in moved
        ],
        "notes": found.notes,
    }
