"""What people thought of answers: two versions told apart, and a training set made of it.

Knows not where it is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

CANDIDATE = "candidate"
INCUMBENT = "incumbent"
"""The arms of a comparison."""


@dataclass(frozen=True)
class AnswerRecord:
    """An answer that was given.

    Attributes:
        documents: Those it cites.
        scope: What its caller might see: who may see other things may not rate it; "" is all.
        arm: `CANDIDATE` or `INCUMBENT` while two versions are compared; "" while none are.
    """

    id: str
    question: str
    answer: str
    documents: tuple[str, ...]
    artifact: str
    version: str
    trace: str | None = None
    scope: str = ""
    arm: str = ""


@dataclass(frozen=True)
class Opinion:
    """Feedback with the answer that it is about, and who gave it: a key's name, or an address."""

    given: AnswerRecord
    at: str
    rating: str
    comment: str
    correction: str
    caller: str = ""

    @property
    def asked(self) -> str:
        """The question, however it was spaced and cased."""
        return _folded(self.given.question)

    @property
    def corrected(self) -> str:
        """What the answer should have been; "" if it does not say."""
        return _folded(self.correction)

    @property
    def answered(self) -> str:
        """The answer that it is about."""
        return _folded(self.given.answer)

    @property
    def teaches(self) -> bool:
        """Whether it says what is right: a correction, or the answer as it was given."""
        return bool(self.corrected) or self.rating == "up"


def training_set(
    opinions: Sequence[Opinion], *, per_caller: int | None = None
) -> list[dict[str, object]]:
    """Turn feedback into lines that `rag compile` takes: the latest word on each question.

    A correction is the answer; without one, an answer rated "up" is. What was rated "down" and
    not corrected teaches nothing and is left out. So is a question on which callers contradict
    each other: nobody's word replaces another's.

    Args:
        opinions: Oldest first.
        per_caller: At most so many questions of one caller, the latest; None for all.
    """
    lines: list[dict[str, object]] = []
    taken: Counter[str] = Counter()
    latest = [
        next((one for one in reversed(said) if one.teaches), None)
        for said in _latest_words(opinions).values()
        if not _contradict(said)
    ]
    for opinion in filter(None, reversed(latest)):
        if taken[opinion.caller] == per_caller:
            continue
        taken[opinion.caller] += 1
        lines.append(_line(opinion))
    return lines[::-1]


def contradicted_questions(opinions: Sequence[Opinion]) -> list[str]:
    """The questions on which the latest words of different callers cannot all be right."""
    return [asked for asked, said in _latest_words(opinions).items() if _contradict(said)]


def _latest_words(opinions: Sequence[Opinion]) -> dict[str, list[Opinion]]:
    """The latest word of every caller on each question, oldest first."""
    words: dict[str, dict[str, Opinion]] = {}
    for opinion in opinions:
        said = words.setdefault(opinion.asked, {})
        said.pop(opinion.caller, None)
        said[opinion.caller] = opinion
    return {asked: list(said.values()) for asked, said in words.items()}


def _contradict(said: Sequence[Opinion]) -> bool:
    """Tell whether words of different callers on one question cannot all be right.

    Versions answer a question differently: who rejects one answer does not contradict who approves
    another, and approving what somebody corrected an earlier answer to agrees with it.
    """
    if len(said) == 1:
        return False
    corrected = {one.corrected for one in said if one.corrected}
    approved = {one.answered for one in said if one.rating == "up" and not one.corrected}
    rejected = {
        one.answered for one in said if one.rating == "down" and one.answered != one.corrected
    }
    right = corrected | approved
    return len(corrected) > 1 or bool(corrected and approved - corrected) or bool(right & rejected)


def _folded(text: str) -> str:
    """Return a text however it was spaced and cased."""
    return " ".join(text.split()).casefold()


def _line(opinion: Opinion) -> dict[str, object]:
    given = opinion.given
    answer = opinion.correction.strip() or given.answer
    line: dict[str, object] = {"id": given.id, "question": given.question, "answer": answer}
    # Documents cited by an answer that was wrong are no evidence for the right one.
    if opinion.rating == "up" and given.documents:
        line["documents"] = list(given.documents)
    return line
