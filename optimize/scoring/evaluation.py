"""An evaluation: one record per question of what a program made of it, and how it scored.

Rows go to disk as JSONL. Knows nothing of intervals and verdicts: `statistics.py`.
"""

from __future__ import annotations

import json
import os
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
from dspy.utils.exceptions import AdapterParseError

from ragwright.optimize.scoring.statistics import Mean, Scores, mean_interval
from ragwright.retrievers import html

UNREADABLE = AdapterParseError.__name__
"""The kind of error of a reply that nothing could be made of."""

SHOWN = 10
"""Questions of an evaluation that a notebook shows."""


@dataclass(frozen=True, slots=True)
class EvaluationRow:
    """What a program made of one question.

    Attributes:
        id: The question's id.
        question: Its text.
        expected: The accepted answers.
        answer: What the program answered; empty if it failed.
        score: From 0 to 1; 0 if it failed.
        context: The numbered passages that the language model read.
        citations: Numbers into `context`.
        documents: The document of every passage in `context`.
        chunks: The id of every passage in `context`.
        seconds: Wall clock of the whole program, with what answers from the ledger once took.
        prompt_tokens: As the provider counts them.
        completion_tokens: As above.
        error: Kind and message of the failure; empty if there was none.
        group: The question's group.
        parts: The score by each part of a metric that is a sum; empty if it failed.
        read: How the reply was read: "chat", "json", "salvaged" or "plain"; empty if it failed.
        reply: What the language model wrote, where nothing could be made of it.
        runs: The score of every time it was answered, where that was more than once: `score`,
            `parts`, seconds and tokens are their means, all else is of the first time.
    """

    id: str
    question: str
    expected: tuple[str, ...]
    answer: str = ""
    score: float = 0.0
    context: tuple[str, ...] = ()
    citations: tuple[int, ...] = ()
    documents: tuple[str, ...] = ()
    chunks: tuple[str, ...] = ()
    seconds: float = 0.0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    error: str = ""
    group: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)
    read: str = ""
    reply: str = ""
    runs: tuple[float, ...] = ()

    @property
    def given(self) -> dict[str, Any]:
        """What the program gave, as an artifact's golden questions have it."""
        places = zip(self.chunks, self.documents, strict=True)
        return {
            "answer": self.answer,
            "score": self.score,
            "citations": list(self.citations),
            "passages": [{"chunk": chunk, "document": document} for chunk, document in places],
            "error": self.error,
        }

    @classmethod
    def from_json(cls, line: str) -> Self:
        """Read what `Evaluation.write` wrote."""
        values = json.loads(line).items()
        row: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values}
        return cls(**row)


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The rows of all questions, in their order."""

    rows: tuple[EvaluationRow, ...]

    def __repr__(self) -> str:
        """What a prompt shows: the mean, not all that it was taken over."""
        return f"Evaluation({self.mean:.3f} of {len(self.rows)} questions)"

    def _repr_html_(self) -> str:
        """What a notebook shows: the mean with its interval, and the questions, worst first."""
        mean = self.interval()
        worst = sorted(self.rows, key=lambda row: row.score)[:SHOWN]
        rows = [(row.question, row.answer or row.error, " / ".join(row.expected), row.score)
                for row in worst]  # fmt: skip
        said = f"{mean.mean:.3f} (95 % interval {mean.low:.3f} to {mean.high:.3f})"
        head = f"<p><b>{said}</b>, {len(self.rows)} questions; the {len(rows)} worst:</p>"
        return head + html.html_table(("question", "answer", "expected", "score"), rows)

    @property
    def scores(self) -> Scores:
        """Score of every question, shape (n,)."""
        return np.array([row.score for row in self.rows], dtype=np.float64)

    @property
    def repeats(self) -> int:
        """How often each question was answered."""
        return max((len(row.runs) for row in self.rows), default=0) or 1

    @property
    def noise(self) -> float:
        """By how much the mean of one run differs from another's: the standard deviation.

        What it leaves in the mean of all runs is part of every interval, which comes from the
        spread over questions of the means of their runs.
        """
        if self.repeats < 2:
            return 0.0
        return float(np.std(np.array([row.runs for row in self.rows]).mean(axis=0), ddof=1))

    def part(self, name: str) -> Scores:
        """Score of every question by one part of a metric that is a sum, shape (n,)."""
        return np.array([row.parts.get(name, 0.0) for row in self.rows], dtype=np.float64)

    @property
    def mean(self) -> float:
        """Mean score, failures counting 0."""
        return float(self.scores.mean())

    @property
    def groups(self) -> tuple[str, ...]:
        """Group of every question."""
        return tuple(row.group for row in self.rows)

    def interval(self, *, seed: int = 0) -> Mean:
        """Mean score with its 95 % interval, groups resampled."""
        return mean_interval(self.scores, groups=self.groups, seed=seed)

    @property
    def errors(self) -> Mapping[str, int]:
        """How many questions failed, by kind of error."""
        return dict(Counter(row.error.split(":")[0] for row in self.rows if row.error))

    @property
    def reads(self) -> Mapping[str, int]:
        """How many replies were read in which way."""
        return dict(Counter(row.read for row in self.rows if row.read))

    @property
    def unreadable(self) -> tuple[str, ...]:
        """The replies that nothing could be made of, as they were written."""
        return tuple(row.reply for row in self.rows if row.error.startswith(UNREADABLE))

    @property
    def seconds(self) -> float:
        """Median seconds per question."""
        return float(np.median([row.seconds for row in self.rows]))

    @property
    def tokens(self) -> float:
        """Mean prompt and completion tokens per question."""
        return float(np.mean([row.prompt_tokens + row.completion_tokens for row in self.rows]))

    @property
    def usage(self) -> Mapping[str, float]:
        """Median seconds and mean tokens of an answer, by name."""
        counted = ("prompt_tokens", "completion_tokens")
        means = {
            name: float(np.mean([getattr(row, name) for row in self.rows])) for name in counted
        }
        return {"seconds": self.seconds, **means}

    def write(self, file: Path, *, checksum: bool = False) -> None:
        """Write the rows as JSONL, with a line more to check them by if they are to be read again.

        The file is complete or not there.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
        names = [one.name for one in fields(EvaluationRow)]
        lines = [json.dumps({name: getattr(row, name) for name in names}) for row in self.rows]
        lines += [_checksum(lines)] if checksum else []
        partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        partial.replace(file)

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `write` wrote with a checksum.

        Raises:
            ValueError: It is not what was written.
        """
        *lines, end = file.read_text(encoding="utf-8").removesuffix("\n").split("\n")
        if end != _checksum(lines):
            raise ValueError(f"{str(file)!r} is not what was written.")
        return cls(tuple(EvaluationRow.from_json(line) for line in lines))


def average_evaluations(runs: Sequence[Evaluation]) -> Evaluation:
    """Join evaluations of the same questions; the first one's answers stand for all."""
    if len(runs) == 1:
        return runs[0]
    return Evaluation(tuple(map(_averaged, zip(*(one.rows for one in runs), strict=True))))


def _averaged(rows: tuple[EvaluationRow, ...]) -> EvaluationRow:
    names = dict.fromkeys(name for row in rows for name in row.parts)
    return replace(
        rows[0],
        score=float(np.mean([row.score for row in rows])),
        parts={name: float(np.mean([row.parts.get(name, 0.0) for row in rows])) for name in names},
        seconds=float(np.mean([row.seconds for row in rows])),
        prompt_tokens=round(np.mean([row.prompt_tokens for row in rows])),
        completion_tokens=round(np.mean([row.completion_tokens for row in rows])),
        runs=tuple(row.score for row in rows),
    )


def _checksum(lines: Sequence[str]) -> str:
    """Return the last line of a file of rows."""
    return json.dumps({"crc": zlib.crc32("\n".join(lines).encode())})
