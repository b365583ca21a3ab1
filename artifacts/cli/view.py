"""How results look: tables for people, JSON for machines, progress on stderr.

Results go to stdout, everything else to stderr. Knows nothing of how results are made.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from ragwright.artifacts.cli.terminal import SafeConsole, escape_json_controls, printable
from ragwright.retrievers.text.numbers import count_with_noun

if TYPE_CHECKING:
    import dspy

    from ragwright.artifacts.cli.ingest import IngestOutput
    from ragwright.optimize.scoring.evaluation import Evaluation
    from ragwright.optimize.spending.spend import StageSpend
    from ragwright.retrievers.documents import Problem
    from ragwright.retrievers.result import RetrievalResult
    from ragwright.retrievers.types import Passage, Where

SHOWN_REPLIES = 3
SNIPPET = 100
_FEW = 3
"""Notes of a kind that are all shown."""
MANY = 10
"""Files that are listed and not counted."""
PIPED = 110
"""Columns for output that is no terminal's: a log or a file."""
CENT = 0.01
_MANY = 2000
"""Texts whose embedding takes long enough for a faster engine to be worth a word."""
_INGESTED = ("added", "changed", "deleted", "unchanged")


def stdout_console() -> Console:
    """Return the console for results; what is piped has no width, and tables need some."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return SafeConsole(highlight=False)
    return SafeConsole(highlight=False, width=PIPED)


def stderr_console() -> Console:
    """Return the console for everything else."""
    return SafeConsole(stderr=True, highlight=False)


def print_json(value: object) -> None:
    """Print one JSON document, and nothing but it."""
    print(escape_json_controls(json.dumps(value, indent=2, ensure_ascii=False, default=str)))


def short_path(path: str | Path) -> str:
    """Return a path as people like it: from here, where that is shorter."""
    absolute = Path(path).resolve()
    here = Path.cwd()
    near = str(absolute.relative_to(here)) if absolute.is_relative_to(here) else str(absolute)
    return near or "."


PLAIN_EVERY = 10.0
"""Seconds between two lines on how far something is, where no terminal shows bars."""


class _Rate(ProgressColumn):
    """How many are done in a second."""

    def render(self, task: Task) -> str:
        return f"{task.speed:.3g}/s" if task.speed else ""


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar per stage; yields what is called with stage, done and total (0 if not known).

    Where there is no terminal, bars are seen at the end only: a line now and then says how far it
    is.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    # Of the stream as it is now: what an optimizer prints goes to a log, where bars would follow.
    console = SafeConsole(file=sys.stderr, highlight=False)
    with Progress(*columns, console=console) as bars:
        tasks: dict[str, Any] = {}
        lock = Lock()
        told = [time.monotonic()]

        def tell(stage: str, done: int, total: int) -> None:
            if console.is_terminal or time.monotonic() - told[0] < PLAIN_EVERY:
                return
            told[0] = time.monotonic()
            console.print(escape(f"{stage}: {done}{f' of {total}' if total else ''}"))

        def advance(stage: str, done: int, total: int) -> None:
            with lock:
                if stage not in tasks:
                    tasks[stage] = bars.add_task(escape(stage), total=total or None)
                tell(stage, done, total)
            bars.update(tasks[stage], completed=done, total=total or None)

        yield advance


@contextmanager
def show_waiting(what: str) -> Iterator[None]:
    """Say on a terminal what is waited for, and for how long by now; elsewhere nothing."""
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    console = stderr_console()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bars:
        bars.add_task(escape(what), total=None)
        yield


def show_notes(notes: Sequence[str]) -> None:
    """Print notes to stderr, one a line."""
    for note in notes:
        stderr_console().print(f"note: {escape(note)}", soft_wrap=True)


def show_replies(replies: Sequence[str]) -> None:
    """Print the first replies that nothing could be made of, as the language model wrote them."""
    for reply in replies[:SHOWN_REPLIES]:
        said = "".join(sign if sign.isprintable() else " " for sign in reply)
        stderr_console().print(f"could not be read: {escape(repr(_snippet(said)))}", soft_wrap=True)
    if len(replies) > SHOWN_REPLIES:
        stderr_console().print(
            f"... and {len(replies) - SHOWN_REPLIES} more: the report has them all."
        )


def show_ingest(done: IngestOutput, as_json: bool) -> None:
    """Print what an ingest did."""
    report = done.report
    if as_json:
        skipped = [asdict(problem) for problem in done.skipped]
        notes = [asdict(note) for note in done.notes]
        found = {"skipped": skipped, "notes": notes}
        print_json({"index": str(done.index), **asdict(report), **found})
        return
    counts = (f"{getattr(report, name)} {name}" for name in _INGESTED)
    stdout_console().print(f"index {escape(short_path(done.index))}", soft_wrap=True)
    stdout_console().print(f"documents: {', '.join(counts)}")
    written, deleted, seconds = report.chunks_written, report.chunks_deleted, report.seconds
    stdout_console().print(
        f"{count_with_noun(written, 'chunk')} written, {deleted} deleted in {seconds:.1f} s"
    )
    if report.restored:
        stdout_console().print(
            f"{count_with_noun(report.restored, 'chunk')} given back to a vector store "
            "that had lost them"
        )
    stdout_console().print(
        f"{count_with_noun(report.embedded, 'text')} embedded by {report.engine}, "
        "the others known before"
    )
    if report.engine.startswith("onnx") and report.embedded >= _MANY:
        stdout_console().print(
            "note: OpenVINO may embed faster: pip install 'ragwright\\[openvino]'"
        )
    _show_reservations(done.notes)
    _show_skipped(done.skipped)
    if report.kept:
        stdout_console().print(
            f"{count_with_noun(report.kept, 'document')} of what cannot be read now stay as they "
            "were read before: exclude or remove the files, and they are deleted",
            soft_wrap=True,
        )
    show_notes(report.advice)


def describe_spend(stages: Iterable[StageSpend]) -> str:
    """Say what was asked of the language model, all stages together."""
    done = tuple(stages)
    calls, tokens = sum(one.calls for one in done), sum(one.tokens for one in done)
    seconds, cost = sum(one.seconds for one in done), sum(one.cost for one in done)
    price = "" if not cost else f", {cost:.2f} US$" if cost >= CENT else ", under 0.01 US$"
    return f"Spent: {calls} calls of the language model, {tokens} tokens{price}, {seconds:.0f} s."


def shell_command(*words: str | Path) -> str:
    """Return a command as a shell reads it: words with blanks in quotes."""
    return shlex.join(str(word) for word in words)


def show_next(*commands: str) -> None:
    """Print the commands that come next, each on a line, to be copied."""
    for number, line in enumerate(commands):
        before = "      " if number else "\nnext: "
        stdout_console().print(f"{before}{escape(printable(line))}", soft_wrap=True)


def _show_reservations(notes: Sequence[Problem]) -> None:
    """Print what was read with a reservation; of many of a kind, the first and how many more."""
    kinds: dict[str, list[Problem]] = {}
    for note in notes:
        kinds.setdefault(_kind(note.reason), []).append(note)
    for alike in kinds.values():
        few = alike if len(alike) <= _FEW else alike[:1]
        for note in few:
            more = f" ({len(alike) - 1} more of this kind)" if few != alike else ""
            stdout_console().print(
                escape(printable(f"note: {note.place}: {note.reason}{more}")), soft_wrap=True
            )


def _kind(reason: str) -> str:
    """Return a reason without the numbers and names that differ from file to file."""
    return re.sub(r"\d[\d,.]*|'[^']*'", "...", reason)


def _show_skipped(skipped: Sequence[Problem]) -> None:
    """Print every file that was skipped with its reason; of many, how many there are of each."""
    for problem in skipped:
        stdout_console().print(
            escape(printable(f"skipped {problem.place}: {problem.reason}")), soft_wrap=True
        )
    if len(skipped) > MANY:
        alike = Counter(_kind(one.reason) for one in skipped)
        stdout_console().print(f"{len(skipped)} skipped:")
        for reason, count in alike.most_common():
            stdout_console().print(escape(printable(f"  {count} {reason}")), soft_wrap=True)


def show_passages(
    question: str, found: RetrievalResult, as_json: bool, where: Where | None = None
) -> None:
    """Print passages with their scores; of none, why there may be none."""
    if as_json:
        print_json({"question": question, "passages": [_passage(p) for p in found.passages]})
        return
    if not found.passages:
        hint = " The filter lets none pass, perhaps." if where else ""
        stdout_console().print(f"No passage is found.{hint}")
        return
    signals = list(dict.fromkeys(name for passage in found for name in passage.signals))
    table = Table("", "score", *signals, "document", "passage", box=None, padding=(0, 1))
    for rank, passage in enumerate(found, start=1):
        values = [_number(passage.signals.get(name)) for name in signals]
        text = escape(_snippet(passage))
        table.add_row(str(rank), _number(passage.score), *values, escape(passage.document), text)
    stdout_console().print(table)


def show_answer(question: str, returned: Any, as_json: bool) -> None:
    """Print an answer, what a program of the user's own gives beside it, and what it cites."""
    from ragwright.programs.outputs import (
        answer_of,
        citations_of,
        find_prediction,
        other_outputs,
        passages_of,
    )
    from ragwright.retrievers.types import describe_place

    found, answer, outputs = find_prediction(returned), answer_of(returned), other_outputs(returned)
    passages = passages_of(found)
    cited = [(n, passages[n - 1]) for n in citations_of(found, len(passages))]
    plain = _plain_outputs(found)
    if as_json:
        citations = [{"number": number, **_passage(passage)} for number, passage in cited]
        told = {**plain, "question": question, "answer": answer, "citations": citations}
        print_json({**told, "outputs": outputs} if outputs else told)
        return
    stdout_console().print(f"[bold]{escape(answer)}[/bold]", soft_wrap=True)
    show_outputs({**outputs, **plain}, answer)
    for number, passage in cited:
        facts = passage.metadata
        within = [passage.document, describe_place(facts)]
        if "start" in facts and "end" in facts:
            within.append(f"characters {facts['start']}-{facts['end']}")
        place = ", ".join(filter(None, within))
        stdout_console().print(f"\\[{number}] {escape(place)}", soft_wrap=True)
        stdout_console().print(f"    {escape(_snippet(passage))}")


def show_outputs(outputs: Mapping[str, Any], answer: str) -> None:
    """Print what a program gave beside its answer, a line each; data as JSON.

    An answer whose field has another name is among them, and was printed already.
    """
    from ragwright.programs.outputs import find_answer_output

    main = find_answer_output({name: outputs[name] for name in outputs if name != "answer"})
    said = [name for name, value in outputs.items() if value is main and str(value) == answer]
    for name, value in outputs.items():
        if name in said[:1]:
            continue
        shown = json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value
        stdout_console().print(escape(printable(f"{name}: {shown}")), soft_wrap=True)


def _plain_outputs(found: dspy.Prediction) -> dict[str, str | int | float | bool]:
    """What is plain among what a program gives besides the fields of every program of ours."""
    ours = {"answer", "citations", "invented", "abstained", "context", "passages", "cut",
            "retrieved", "degraded", "read"}  # fmt: skip
    return {
        name: value
        for name, value in found.items()
        if name not in ours and isinstance(value, str | int | float | bool)
    }


def show_evaluation(done: Evaluation, metric: str, as_json: bool) -> None:
    """Print the mean score with its interval, and what went wrong."""
    interval = done.interval()
    if as_json:
        rows = [asdict(row) for row in done.rows]
        print_json({"metric": metric, "n": len(rows), **asdict(interval), "rows": rows})
        return
    table = Table("metric", "n", "mean", "95 % interval", "failed", "seconds (median)")
    spread = f"{interval.low:.3f} to {interval.high:.3f}"
    failed = str(sum(done.errors.values()))
    table.add_row(
        metric, str(len(done.rows)), f"{interval.mean:.3f}", spread, failed, f"{done.seconds:.3f}"
    )
    stdout_console().print(table)
    show_notes(
        [
            f"{count_with_noun(count, 'question')} failed with {kind}"
            for kind, count in done.errors.items()
        ]
    )
    odd = {how: done.reads[how] for how in ("salvaged", "plain") if done.reads.get(how)}
    show_notes([f"{count} replies were read as {how}" for how, count in odd.items()])
    show_replies(done.unreadable)


def _passage(passage: Passage) -> dict[str, Any]:
    return {
        "id": passage.id,
        "document": passage.document,
        "score": passage.score,
        "signals": dict(passage.signals),
        "metadata": dict(passage.metadata),
        "text": str(passage),
    }


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= SNIPPET else line[: SNIPPET - 3].rstrip() + "..."


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
