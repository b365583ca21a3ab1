"""Measures how much of what a question wants stands in the passages that are read.

Labels name chunks, so that they differ between indexes that cut alike documents otherwise. What is
counted here does not depend on where a text is cut: runs of words of the wanted texts, in whatever
passages they stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

from ragwright.optimize.questions.data import Question
from ragwright.retrievers.text import normalized_words
from ragwright.retrievers.types import Passage

RUN = 4
"""Words of a run: so many in a row hardly stand anywhere by chance."""

EvidenceKind = Literal["evidence", "answer", "documents"]


@dataclass(frozen=True)
class WantedEvidence:
    """What one question wants read.

    Attributes:
        kind: What tells it: evidence; an answer that is looked for in the documents that the
            question names, or anywhere; or these documents, which say least: of two indexes the
            one with smaller chunks reads more documents in as many tokens.
        runs: Of every wanted text the runs of words.
        documents: Where they count, if a question names any.
    """

    kind: EvidenceKind
    runs: tuple[frozenset[tuple[str, ...]], ...]
    documents: frozenset[str]

    @classmethod
    def by(cls, question: Question) -> Self:
        """Take what a question says of it."""
        documents = frozenset(question.documents)
        if question.evidence:
            texts = (_runs(snippet, RUN) for snippet in question.evidence)
            return cls("evidence", tuple(runs for runs in texts if runs), documents)
        answers = [_runs(answer, 1) for answer in question.answers]
        told = frozenset[tuple[str, ...]]().union(*answers[:1])
        # An id in an answer's place, as where there is no answer, stands in no text.
        if documents and (not told or question.answers == (question.id,)):
            return cls("documents", (), documents)
        return cls("answer", (told,) if documents else tuple(answers[:1]), documents)

    def held(self, passages: Sequence[Passage]) -> float:
        """Return the share, from 0 to 1, of what is wanted that these passages hold together."""
        if self.kind == "documents":
            read = {passage.document for passage in passages} & self.documents
            return len(read) / len(self.documents)
        counting = [passage for passage in passages
                    if not self.documents or passage.document in self.documents]  # fmt: skip
        size = RUN if self.kind == "evidence" else 1
        seen = frozenset().union(*(_grams(str(one), size, self.shortest) for one in counting))
        shares = [len(runs & seen) / len(runs) for runs in self.runs]
        return sum(shares) / len(shares) if shares else 0.0

    @property
    def shortest(self) -> int:
        """Words of the shortest run: a wanted text shorter than a run is one run."""
        return min((len(run) for runs in self.runs for run in runs), default=RUN)


def _runs(text: str, size: int) -> frozenset[tuple[str, ...]]:
    found = normalized_words(text)
    return _of(found, min(size, len(found)))


def _grams(text: str, size: int, shortest: int) -> frozenset[tuple[str, ...]]:
    found = normalized_words(text)
    grams = _of(found, size)
    for other in range(shortest, size):
        grams |= _of(found, other)
    return grams


def _of(found: Sequence[str], size: int) -> frozenset[tuple[str, ...]]:
    if not size:
        return frozenset()
    return frozenset(tuple(found[at : at + size]) for at in range(len(found) - size + 1))
