"""Questions written by a language model from a corpus's own chunks, each checked before it is kept.

`QuestionWriter` is a DSPy program like any other, so that it can be compiled itself. What it writes
passes a filter: the evidence stands verbatim in the chunk, another call finds the same answer from
the evidence alone, and none finds it without.
"""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, TypeAlias

import dspy

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.attempts import (
    AttemptError,
    FailureWatch,
    run_attempts,
    server_failure,
)
from ragwright.optimize.scoring.metrics import normalize_answer, token_f1
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.retrievers.types import Chunk, content_hash

WrittenKind = Literal["fact", "comparison", "multi-hop", "summary", "unanswerable"]

WANTED: Mapping[WrittenKind, str] = {
    "fact": "asks for a single fact that the passage states",
    "comparison": "compares two things, one of each passage, and needs both to answer",
    "multi-hop": "can be answered only by joining a fact of one passage with a fact of the other",
    "summary": "asks what the passage says about its subject, to be answered in one sentence",
    "unanswerable": "sounds as if the passage answered it, but the passage does not",
}
TWO_PASSAGES = frozenset({"comparison", "multi-hop"})
SAME_ANSWER = 0.6
"""Word F1 from which two answers count as the same."""
MOST_OVERLAP = 0.8
"""Share of a question's words that may stand in one sentence of the evidence."""
RARE = 20
"""Chunks that a word may stand in to link two of them."""
SHORTEST = 120
"""Characters of a chunk below which there is nothing to ask about."""
LONGEST = 2000
"""Characters of a question, or of an answer."""
_NO_TEXT = frozenset({"Cc", "Cs"})
"""Unicode's categories of control characters and half pairs."""

_Plan: TypeAlias = tuple[tuple[Chunk, ...], WrittenKind]
"""What is asked about, and which kind is wanted."""


class WriteQuestion(dspy.Signature):
    """Write a question that a user of these documents would ask, and its answer.

    Write in the language of the passages and in the words of somebody who has not read them: do not
    turn one of their sentences round. Name what is meant, so that the question is clear by itself.
    The evidence is copied from the passages character by character. Leave answer and evidence empty
    where the question is to be unanswerable.
    """

    passages: list[str] = dspy.InputField(desc="what the question is about")
    kind: str = dspy.InputField(desc="what kind of question to write")
    examples: list[str] = dspy.InputField(desc="questions in the style that is wanted; may be none")
    question: str = dspy.OutputField()
    answer: str = dspy.OutputField(desc="as short as possible")
    evidence: list[str] = dspy.OutputField(desc="verbatim: the shortest part of each passage")


class AnswerFromEvidence(dspy.Signature):
    """Answer from the evidence alone, as short as possible; say "unknown" if it does not tell."""

    evidence: list[str] = dspy.InputField()
    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class AnswerFromMemory(dspy.Signature):
    """Answer as short as possible; say "unknown" if you do not know."""

    question: str = dspy.InputField()
    answer: str = dspy.OutputField()


class QuestionWriter(dspy.Module):
    """Writes a question about passages, and checks it: `writer(passages=, kind=, examples=)`.

    Returns a prediction with `question`, `answer`, `evidence` and `rejected`: why the question
    should not be used, or nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.write = dspy.Predict(WriteQuestion)
        self.check = dspy.Predict(AnswerFromEvidence)
        self.recall = dspy.Predict(AnswerFromMemory)

    def forward(
        self, passages: list[str], kind: WrittenKind, examples: list[str] | None = None
    ) -> dspy.Prediction:
        written = self.write(
            passages=passages, kind=f"{kind}: it {WANTED[kind]}", examples=examples or []
        )
        question, answer = str(written.question or "").strip(), str(written.answer or "").strip()
        evidence = list(dict.fromkeys(filter(None, map(str.strip, written.evidence or []))))
        if kind == "unanswerable":
            answer, evidence = "", []
        rejected = self._rejected(passages, kind, question, answer, evidence)
        return dspy.Prediction(
            question=question, answer=answer, evidence=evidence, rejected=rejected
        )

    def _rejected(
        self,
        passages: Sequence[str],
        kind: WrittenKind,
        question: str,
        answer: str,
        evidence: Sequence[str],
    ) -> str:
        if not question:
            return "no question"
        if wrong := _unfit(question, answer):
            return wrong
        if kind == "unanswerable":
            given = self.check(evidence=list(passages), question=question).answer
            return "" if _unknown(given) else "the passage answers it after all"
        return _malformed(passages, question, answer, evidence) or self._unproved(
            question, answer, evidence
        )

    def _unproved(self, question: str, answer: str, evidence: Sequence[str]) -> str:
        """Ask twice more: with the evidence alone, and with nothing."""
        if not _same(self.check(evidence=list(evidence), question=question).answer, answer):
            return "the evidence does not give the answer"
        if _same(self.recall(question=question).answer, answer):
            return "it can be answered without documents"
        return ""


@dataclass(frozen=True, slots=True)
class WrittenQuestion:
    """A question that passed, with what it was written from."""

    question: str
    answer: str
    evidence: tuple[str, ...]
    documents: tuple[str, ...]
    kind: WrittenKind

    def row(self) -> dict[str, object]:
        """Return the line of a training set; an unanswerable question has no answer."""
        return {
            "id": f"written-{content_hash(*self.documents, self.question)[:12]}",
            "question": self.question,
            "answer": self.answer,
            "documents": list(self.documents) if self.answer else [],
            "evidence": list(self.evidence),
            "group": self.documents[0],
            "synthetic": True,
            "kind": self.kind,
        }


@dataclass(frozen=True)
class WritingSettings:
    """What is written.

    Attributes:
        count: How many questions are wanted.
        kinds: Kinds and their shares; those that need two passages take linked ones.
        examples: Questions whose style is followed.
        attempts: Most attempts per wanted question.
        seed: Decides which chunks are asked about.
        threads: How many are written at a time; what is kept does not depend on it.
    """

    count: int = 200
    kinds: Mapping[WrittenKind, float] = field(
        default_factory=lambda: {"fact": 0.6, "summary": 0.1, "comparison": 0.1, "multi-hop": 0.1,
                                 "unanswerable": 0.1}
    )  # fmt: skip
    examples: tuple[str, ...] = ()
    attempts: int = 3
    seed: int = 0
    threads: int = 1


@dataclass(frozen=True)
class WrittenQuestions:
    """What was written: what passed, what was dropped by reason, and why it ended early if so."""

    kept: tuple[WrittenQuestion, ...]
    dropped: Mapping[str, int]
    stopped: str = ""


def write_questions(
    chunks: Iterable[Chunk],
    settings: WritingSettings,
    *,
    found: Callable[[str, Sequence[str]], bool],
    writer: QuestionWriter | None = None,
    progress: StageProgress | None = None,
) -> WrittenQuestions:
    """Write questions about chunks, spread over documents, until enough have passed.

    The language model is DSPy's configured one. A reply that cannot be read costs one attempt, and
    so does a passage that its server refuses; if it fails several in a row, or if nothing can be
    read from the start, that is the end.
    However many are written at a time, they are judged in one order, and none is begun that might
    not be needed: where no cap ends it, what is kept and what is spent are always the same.

    Args:
        chunks: The chunks of an index.
        settings: How many, of which kinds, in which style.
        found: Told a question and the documents it needs: whether retrieval finds them somewhere.
        writer: The program that writes; compile one of your own to change what it asks.
        progress: Told about every attempt, and about how many questions passed.

    Raises:
        ModelError: The language model fails before anything is kept.
    """
    asking = writer or QuestionWriter()
    kept: dict[str, WrittenQuestion] = {}
    dropped: Counter[str] = Counter()
    stopped, failing = "", FailureWatch()

    def attempt(plan: _Plan) -> dspy.Prediction:
        passages = [chunk.text for chunk in plan[0]]
        return asking(passages=passages, kind=plan[1], examples=list(settings.examples))

    most = settings.count * settings.attempts
    tried = run_attempts(
        attempt,
        islice(_plans(list(chunks), settings), most),
        threads=settings.threads,
        missing=lambda: settings.count - len(kept),
    )
    for number, (plan, said) in enumerate(tried, 1):
        if progress:
            progress("attempts", number, most)
        if isinstance(said, BudgetSpent):
            stopped = stopped or str(said)
            continue
        reason, written = _judged(plan, said, kept, found)
        if written is None:
            dropped[reason] += 1
            if why := failing.for_good(said, kept):
                return WrittenQuestions(tuple(kept.values()), dict(dropped), why)
            continue
        kept[_plain(written.question)] = written
        if progress:
            progress("questions", len(kept), settings.count)
    return WrittenQuestions(tuple(kept.values()), dict(dropped), stopped)


def _judged(
    plan: _Plan,
    said: dspy.Prediction | AttemptError,
    kept: Mapping[str, WrittenQuestion],
    found: Callable[[str, Sequence[str]], bool],
) -> tuple[str, WrittenQuestion | None]:
    """Return why a question is not kept, or else the question."""
    if cause := server_failure(said):
        return f"the language model failed ({cause.kind})", None
    if isinstance(said, AttemptError):
        return "a reply could not be read", None
    passages, kind = plan
    documents = tuple(dict.fromkeys(chunk.document_id for chunk in passages))
    written = WrittenQuestion(said.question, said.answer, tuple(said.evidence), documents, kind)
    reason = said.rejected or _reason(written, kept, found)
    return reason, None if reason else written


def _reason(
    written: WrittenQuestion,
    kept: Mapping[str, WrittenQuestion],
    found: Callable[[str, Sequence[str]], bool],
) -> str:
    if any(_alike(written.question, other) for other in kept):
        return "near another question"
    if written.answer and not found(written.question, written.documents):
        return "retrieval does not find its document"
    return ""


def _plans(chunks: Sequence[Chunk], settings: WritingSettings) -> Iterator[_Plan]:
    """Pair chunks with kinds: documents take turns, kinds come in their shares."""
    waiting: dict[str, list[Chunk]] = defaultdict(list)
    for chunk in sorted(chunks, key=lambda one: content_hash(str(settings.seed), one.id)):
        if len(chunk.text) >= SHORTEST:
            waiting[chunk.document_id].append(chunk)
    turns = sorted(waiting, key=lambda name: content_hash(str(settings.seed), name))
    ordered: list[Chunk] = []
    while turns:
        ordered += [waiting[name].pop() for name in turns]
        turns = [name for name in turns if waiting[name]]
    links = _Links(ordered)
    for chunk, kind in zip(ordered, _kinds(settings, len(ordered)), strict=True):
        yield ((chunk, links.nearest(chunk)) if kind in TWO_PASSAGES else (chunk,)), kind


def _kinds(settings: WritingSettings, count: int) -> list[WrittenKind]:
    """Deal kinds out so that every prefix has them nearly in their shares."""
    given: dict[WrittenKind, int] = dict.fromkeys(settings.kinds, 0)
    total = sum(settings.kinds.values())
    dealt: list[WrittenKind] = []
    for place in range(1, count + 1):
        kind = max(given, key=lambda name: settings.kinds[name] / total * place - given[name])
        given[kind] += 1
        dealt.append(kind)
    return dealt


class _Links:
    """Which chunks share rare words, looked up by word."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, chunk in enumerate(chunks):
            for word in _words(chunk.text):
                self._places[word].append(place)

    def nearest(self, chunk: Chunk) -> Chunk:
        """Return the other chunk that shares the rarest words, or the same if none shares any."""
        shared: dict[int, float] = defaultdict(float)
        for word in sorted(_words(chunk.text)):
            places = self._places[word]
            if len(places) <= RARE:
                for place in places:
                    shared[place] += 1 / len(places)
        others = {at: score for at, score in shared.items() if self._chunks[at].id != chunk.id}
        return self._chunks[max(others, key=others.__getitem__)] if others else chunk


def _unfit(question: str, answer: str) -> str:
    """What no training set should hold, and no other call should be sent."""
    if len(question) > LONGEST or len(answer) > LONGEST:
        return "it has no end"
    odd = {char for char in question + answer if unicodedata.category(char) in _NO_TEXT}
    if odd - {"\n", "\t"}:
        return "it holds control characters"
    return ""


def _malformed(passages: Sequence[str], question: str, answer: str, evidence: Sequence[str]) -> str:
    """What is wrong with a question that can be told without another call."""
    if not answer:
        return "no answer"
    if not evidence or not all(any(part in text for text in passages) for part in evidence):
        return "the evidence is not verbatim"
    if _overlap(question, evidence) > MOST_OVERLAP:
        return "the question turns a sentence round"
    return ""


def _unknown(answer: object) -> bool:
    return normalize_answer(str(answer or "")) in {"", "unknown", "i dont know", "none"}


def _same(given: object, wanted: str) -> bool:
    return not _unknown(given) and token_f1(str(given), [wanted]) >= SAME_ANSWER


def _overlap(question: str, evidence: Sequence[str]) -> float:
    words = _words(question)
    return max((len(words & _words(part)) / max(len(words), 1) for part in evidence), default=0.0)


def _alike(first: str, second: str) -> bool:
    one, other = _words(first), _words(second)
    return len(one & other) / max(len(one | other), 1) > MOST_OVERLAP


def _words(text: str) -> set[str]:
    return set(normalize_answer(text).split())


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
