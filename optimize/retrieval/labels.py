"""Labels an index: finds which of its chunks hold what each question wants.

A fact is what a question wants found: one of its evidence snippets, one of its documents, or (where
it names neither) its answer. Evidence is the finer label and wins over documents. Knows nothing of
candidates or of how they are ranked: `relevance.py`.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal

import numpy as np

from ragwright.optimize.questions.data import Question
from ragwright.optimize.questions.remarks import is_yes_or_no, says_nothing
from ragwright.optimize.scoring.ranking import Gains
from ragwright.optimize.scoring.statistics import Scores
from ragwright.programs.fusion import Booleans
from ragwright.retrievers.index import open_index
from ragwright.retrievers.text import normalize_quotation, normalize_text, normalized_words
from ragwright.retrievers.types import Chunk, Passage

LabelKind = Literal["evidence", "documents", "answer"]

HALVED_FROM = 40
"""Bytes of a snippet below which half of it may stand anywhere by chance; a character of Chinese,
which says as much as half a word, has three."""

COMMON, COMMON_SHARE = 20, 0.1
"""An answer that stands in more chunks than either, by number and by share, tells none of them."""
_SEPARATOR = "\x00"


@dataclass(frozen=True)
class Labels:
    """What each question wants found, and which chunks hold it.

    Attributes:
        kinds: For each question what its facts are.
        facts: For each question the facts (numbers from 0) of every chunk that holds any.
        ideal: Gains of the best possible ranking, shape (Q, F); a row of zeros where the index
            holds no fact of the question.
        documents: The document of every chunk.
    """

    kinds: tuple[LabelKind, ...]
    facts: tuple[Mapping[str, frozenset[int]], ...]
    ideal: Gains
    documents: Mapping[str, str]

    @property
    def wanted(self) -> Scores:
        """How many facts each question wants; see `count_wanted`."""
        return count_wanted(self.ideal, np.array([kind == "answer" for kind in self.kinds]))

    def take(self, rows: Sequence[int]) -> Labels:
        """Return the labels of these questions, in this order."""
        kinds, facts = (tuple(table[row] for row in rows) for table in (self.kinds, self.facts))
        return Labels(kinds, facts, self.ideal[list(rows)], self.documents)  # type: ignore[arg-type]

    @property
    def described(self) -> str:
        """What kinds of labels were used, with counts: "240 evidence, 10 documents"."""
        told = ~np.isnan(self.wanted)
        counts = Counter(kind for kind, one in zip(self.kinds, told, strict=True) if one)
        shown = [f"{count} {kind}" for kind, count in counts.most_common()]
        none = len(told) - int(told.sum())
        return ", ".join([*shown, f"{none} without"] if none else shown)


def label(questions: Sequence[Question], chunks: Iterable[Chunk]) -> Labels:
    """Find the facts of all questions in the chunks of an index."""
    corpus = _Corpus(list(chunks))
    kinds = tuple(_kind(question) for question in questions)
    facts = tuple(corpus.facts(*pair) for pair in zip(questions, kinds, strict=True))
    best = [_best_gains(list(held.values())) for held in facts]
    # One chunk may hold all facts of a question: there are more facts than ranks to find them at.
    numbers = (max(map(max, held.values()), default=-1) + 1 for held in facts)
    width = max(max(map(len, best), default=0), max(numbers, default=0), 1)
    ideal = np.array([row + [0.0] * (width - len(row)) for row in best]).reshape(len(best), width)
    return Labels(kinds, facts, ideal, corpus.documents)


def count_wanted(ideal: Gains, answers: Booleans) -> Scores:
    """Return how many facts each question wants, NaN where nothing tells.

    What names evidence or documents that the index lacks wants 0 of it. Where neither is named,
    and the answer stands nowhere word for word, the documents may hold it in other words.

    Args:
        ideal: Of `Labels`.
        answers: Of which questions the facts are answers; of none, if it is empty.
    """
    total = ideal.sum(axis=1)
    return np.where((total == 0) & answers, np.nan, total) if answers.size else total


def supports(passage: Passage, evidence: Sequence[str], documents: Sequence[str]) -> set[int]:
    """Which facts a passage holds: evidence snippets, or documents where there is no evidence."""
    if not evidence:
        return {number for number, name in enumerate(documents) if name == passage.document}
    text = normalize_quotation(passage)
    own = not documents or passage.document in documents
    return {
        number
        for number, snippet in enumerate(normalize_quotation(snippet) for snippet in evidence)
        if snippet in text or (own and _holds_half(text, snippet))
    }


class _Corpus:
    """All chunks as two long strings, so that a snippet is looked up in one pass."""

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self._chunks = chunks
        self.ids = [chunk.id for chunk in chunks]
        self.documents = {chunk.id: chunk.document_id for chunk in chunks}
        self._members: dict[str, list[str]] = {}
        for chunk in chunks:
            self._members.setdefault(chunk.document_id, []).append(chunk.id)
        self._texts = [normalize_quotation(chunk.text) for chunk in chunks]
        self._plain = _Joined(self._texts)
        self._words = _Joined([_worded(chunk.text) for chunk in chunks])

    def facts(self, question: Question, kind: LabelKind) -> dict[str, frozenset[int]]:
        """Return the facts of every chunk that holds one, numbered without those not found."""
        if kind == "documents":
            found = [self._members.get(document, []) for document in question.documents]
        elif kind == "evidence":
            found = [self._with_evidence(snippet, question) for snippet in question.evidence]
        else:
            found = [[self.ids[place] for place in sorted(self._with_answers(question.answers))]]
        held: dict[str, set[int]] = {}
        for number, ids in enumerate(ids for ids in found if ids):
            for key in ids:
                held.setdefault(key, set()).add(number)
        return {key: frozenset(numbers) for key, numbers in held.items()}

    def _with_evidence(self, snippet: str, question: Question) -> list[str]:
        """Chunks that hold it whole; if it was cut in two, those that hold half of it or more."""
        text = normalize_quotation(snippet)
        whole = sorted(set(self._plain.find(text)))
        if whole:
            return [self.ids[place] for place in whole]
        allowed = set(question.documents)
        return [
            key
            for key, chunk in zip(self.ids, self._texts, strict=True)
            if (not allowed or self.documents[key] in allowed) and _holds_half(chunk, text)
        ]

    def _with_answers(self, answers: Sequence[str]) -> set[int]:
        """Find those that tell a passage from others: "no" stands in any of them."""
        places: set[int] = set()
        for answer in answers:
            if not (is_yes_or_no(answer) or says_nothing(answer)):
                held = set(self._with_answer(answer))
                places |= held if len(held) <= max(COMMON, COMMON_SHARE * len(self.ids)) else set()
        return places

    def _with_answer(self, answer: str) -> Iterator[int]:
        """Find an answer's words, or, if it has none ("+"), the answer as it stands."""
        worded = _worded(answer)
        if worded.strip():
            return self._words.find(worded)
        return (
            self._as_they_stand.find(normalize_text(answer).strip()) if answer.strip() else iter(())
        )

    @cached_property
    def _as_they_stand(self) -> _Joined:
        return _Joined([normalize_text(chunk.text) for chunk in self._chunks])


class _Joined:
    """Texts joined into one; finds the numbers of those that contain a string."""

    def __init__(self, texts: Sequence[str]) -> None:
        self._text = _SEPARATOR.join(texts)
        self._starts: list[int] = []
        position = 0
        for text in texts:
            self._starts.append(position)
            position += len(text) + 1

    def find(self, wanted: str) -> Iterator[int]:
        position = self._text.find(wanted)
        while position >= 0:
            place = bisect_right(self._starts, position) - 1
            yield place
            following = self._starts[place + 1] if place + 1 < len(self._starts) else -1
            position = self._text.find(wanted, following) if following >= 0 else -1


def _kind(question: Question) -> LabelKind:
    if question.evidence:
        return "evidence"
    return "documents" if question.documents else "answer"


def _best_gains(held: Sequence[frozenset[int]]) -> list[float]:
    """Gains of taking, again and again, what holds the most facts not yet found."""
    found: set[int] = set()
    result: list[float] = []
    for _ in held:
        best = max(held, key=lambda facts: len(facts - found))
        if not best - found:
            break
        result.append(float(len(best - found)))
        found |= best
    return result


def _holds_half(text: str, snippet: str) -> bool:
    """Whether a text holds the first or last half of a long snippet, or is itself half of it."""
    if len(snippet.encode()) < HALVED_FROM:
        return False
    half = (len(snippet) + 1) // 2
    inside = len(text) >= half and text in snippet
    return inside or snippet[:half] in text or snippet[-half:] in text


def _worded(text: str) -> str:
    return f" {' '.join(normalized_words(text))} "


@dataclass
class LabelledCorpus:
    """The labels of all questions, found once per compile in the chunks of all indexes.

    Attributes:
        questions: All of them.
        paths: The folders of the indexes.
        answers: Whether answers are looked for where a question names neither evidence nor
            documents.
    """

    questions: Sequence[Question]
    paths: Sequence[str]
    answers: bool = True
    _found: Labels | None = None

    @property
    def labels(self) -> Labels:
        """The labels, looked up at first use."""
        if self._found is None:
            bare = self.questions
            if not self.answers:
                bare = [replace(question, answers=()) for question in self.questions]
            chunks = (chunk for path in self.paths for chunk in open_index(path).chunks())
            self._found = label(bare, chunks)
        return self._found

    def of(self, questions: Sequence[Question]) -> Labels:
        """The labels of some questions, in their order."""
        rows = {question.id: row for row, question in enumerate(self.questions)}
        return self.labels.take([rows[question.id] for question in questions])
