"""Golden questions: what a saved program answered, kept with it, to compare later answers with.

Comes in: questions with the answers of then and of now. Goes out: the text of `golden.json` and
back, and for each question what moved and why. Knows neither how answers are scored nor when a
drop is significant: whoever replays them says.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from ragwright.artifacts.files import read_text
from ragwright.artifacts.manifest import ManifestTable, parse_json
from ragwright.retrievers.errors import ArtifactError
from ragwright.retrievers.settings import describe_setting_errors
from ragwright.retrievers.types import content_hash

GOLDEN = "golden.json"
FORMAT = 1
SAMPLE = 100
"""How many questions are kept: offline, replaying them takes seconds."""

MoveCause = Literal["failed", "documents changed", "displaced", "answered differently"]


class GoldenPassage(ManifestTable):
    """A passage that stood in the context: its chunk and its document."""

    chunk: str
    document: str


class GoldenAnswer(ManifestTable):
    """What a program gave for a question.

    Attributes:
        answer: Its answer; empty if it failed.
        score: From 0 to 1, by the recipe's metric.
        citations: Numbers into `passages`, counted from 1.
        passages: What stood in the context, in order.
        error: Why it failed; empty if it did not.
    """

    answer: str
    score: float
    citations: tuple[int, ...] = ()
    passages: tuple[GoldenPassage, ...] = ()
    error: str = ""

    @model_validator(mode="after")
    def _citations_exist(self) -> Self:
        if any(not 1 <= number <= len(self.passages) for number in self.citations):
            raise ValueError(f"citations {self.citations} of {len(self.passages)} passages")
        return self


class GoldenQuestion(ManifestTable):
    """A question, what is accepted as its answer, and what the saved program gave.

    Attributes:
        id: Unique among the golden questions.
        question: What is asked.
        answers: All accepted answers.
        documents: Documents that hold the answer; may be empty.
        evidence: Verbatim snippets that support the answer; may be empty.
        example: Everything that a program of one's own is asked with and judged by; empty for ours.
        inputs: Which of it the program is called with.
        given: What the program gave when it was saved.
    """

    id: str
    question: str
    answers: tuple[str, ...]
    documents: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    example: dict[str, JsonValue] = Field(default_factory=dict)
    inputs: tuple[str, ...] = ()
    given: GoldenAnswer

    def __hash__(self) -> int:
        return hash((self.id, self.question))


class GoldenFile(ManifestTable):
    """The contents of `golden.json`."""

    format: int = FORMAT
    questions: tuple[GoldenQuestion, ...]


@dataclass(frozen=True)
class Move:
    """What became of one golden question.

    Attributes:
        golden: The question, and what was given then.
        now: What is given now.
        gone: Chunks of then that the index no longer holds.
        displaced: Chunks of then that it holds, and that are no longer in the context.
        new: Chunks in the context that were not there then.
    """

    golden: GoldenQuestion
    now: GoldenAnswer
    gone: tuple[str, ...]
    displaced: tuple[str, ...]
    new: tuple[str, ...]

    @property
    def passages_moved(self) -> bool:
        """Whether the context holds other chunks, or the same ones in another order."""
        return self.now.passages != self.golden.given.passages

    @property
    def answer_moved(self) -> bool:
        return self.now.answer != self.golden.given.answer

    @property
    def gain(self) -> float:
        """Score now minus score then."""
        return self.now.score - self.golden.given.score

    @property
    def cause(self) -> MoveCause:
        """The likeliest reason of a change, judged by the passages that were cited."""
        given = self.golden.given
        cited = {given.passages[number - 1].chunk for number in given.citations}
        watched = cited or {source.chunk for source in given.passages}
        if self.now.error:
            return "failed"
        if watched & set(self.gone):
            return "documents changed"
        return "displaced" if watched & set(self.displaced) else "answered differently"


def dump_golden(questions: Sequence[GoldenQuestion]) -> str:
    """Return the text of `golden.json`."""
    return GoldenFile(questions=tuple(questions)).model_dump_json(indent=1) + "\n"


def read_golden(version: Path) -> tuple[GoldenQuestion, ...]:
    """Return the golden questions in a version's folder; none if it was saved without any.

    Raises:
        ArtifactError: The file is damaged, or of a format that this release does not read.
    """
    file = version / GOLDEN
    if not file.is_file():
        return ()
    table = parse_json(read_text(file), source=str(file))
    found = table.get("format") if isinstance(table, dict) else None
    if found != FORMAT:
        raise ArtifactError(
            f"{str(file)!r} has format {found!r}, and this release reads format {FORMAT}.",
            hint="Use the ragwright release that saved it, or compile again.",
        )
    try:
        return GoldenFile.model_validate(table).questions
    except ValidationError as error:
        raise ArtifactError(
            f"Wrong golden questions {str(file)!r}: {describe_setting_errors(error)}.",
            hint="Restore the file or compile again.",
        ) from error


def sample_questions(
    questions: Sequence[GoldenQuestion], n: int = SAMPLE
) -> tuple[GoldenQuestion, ...]:
    """Return n of the questions, the same ones in any run, in their order."""
    drawn = sorted(questions, key=lambda question: content_hash(question.id))[:n]
    chosen = {question.id for question in drawn}
    return tuple(question for question in questions if question.id in chosen)


def compare_answers(golden: GoldenQuestion, now: GoldenAnswer, held: Collection[str]) -> Move:
    """Compare what a question is given now with what it was given then.

    Args:
        golden: The question, and what was given then.
        now: What is given now.
        held: Those chunks of then that the index still holds.
    """
    before = [source.chunk for source in golden.given.passages]
    after = [source.chunk for source in now.passages]
    return Move(
        golden=golden,
        now=now,
        gone=tuple(chunk for chunk in before if chunk not in held),
        displaced=tuple(chunk for chunk in before if chunk in held and chunk not in after),
        new=tuple(chunk for chunk in after if chunk not in before),
    )
