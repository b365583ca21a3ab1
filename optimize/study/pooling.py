"""What every study works with: an index, labelled questions, and one pool of candidates on disk.

The pool is fetched once; settings are replayed on it without touching a database or a model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.labels import LabelKind, Labels, label
from ragwright.optimize.retrieval.pool import CandidatePool
from ragwright.optimize.retrieval.relevance import Relevance
from ragwright.optimize.retrieval.replay import LabelledCandidates
from ragwright.programs.build import build_program
from ragwright.programs.candidates import Candidates
from ragwright.programs.recipe import Recipe
from ragwright.programs.sections import DEFAULT_RERANKER
from ragwright.retrievers.embedding import is_hosted
from ragwright.retrievers.errors import CompileError
from ragwright.retrievers.index import open_index

Level = Literal["chunk", "document"]
SAVED_EVERY = 100
"""After so many questions their candidates are on disk, whatever ends the study."""


@dataclass(frozen=True)
class StudyQuestions:
    """Questions of which the index holds a label, with their candidates.

    Attributes:
        recipe: What the candidates were fetched by.
        questions: Those that have a label, in their order.
        candidates: Of these questions.
        labels: Of these questions.
        unlabelled: How many questions were left out, since the index holds nothing they want.
        fetched: How many questions had to be searched for; the others were in the pool on disk.
    """

    recipe: Recipe
    questions: tuple[Question, ...]
    candidates: Candidates
    labels: Labels
    unlabelled: int
    fetched: int

    @property
    def groups(self) -> tuple[str, ...]:
        """The group of every question."""
        return tuple(question.group for question in self.questions)

    def labelled(self, level: Level = "chunk") -> LabelledCandidates:
        """Lay labels over candidates, at the level of chunks or of documents."""
        labels = self.labels if level == "chunk" else label_by_document(self.labels)
        return LabelledCandidates(self.candidates, Relevance.of(labels, self.candidates))


def fetch_study_questions(
    recipe: Recipe, questions: Sequence[Question], *, progress: StageProgress | None = None
) -> StudyQuestions:
    """Fetch the candidates of all questions, by every signal that needs no language model.

    Raises:
        IndexFault: There is no index, or it is damaged.
        CompileError: The index holds nothing that any question wants found.
    """
    index = open_index(recipe.index.path)
    labels = label(questions, index.chunks())
    known = [row for row, ideal in enumerate(labels.ideal) if ideal.any()]
    if not known:
        raise CompileError(
            f"The index holds nothing that any of {len(questions)} questions wants found.",
            hint="`rag questions check RECIPE` says which documents or evidence it lacks.",
        )
    kept = tuple(questions[row] for row in known)
    program = build_program(with_all_signals(recipe))
    pool = CandidatePool()
    try:
        candidates = pool.gathered(
            program.retriever,
            [question.question for question in kept],
            progress=progress,
            save_every=SAVED_EVERY,
        )
    finally:  # one that is interrupted goes on where it stopped
        pool.save()
    taken = Labels(
        tuple(labels.kinds[row] for row in known),
        tuple(labels.facts[row] for row in known),
        labels.ideal[known],
        labels.documents,
    )
    return StudyQuestions(recipe, kept, candidates, taken, len(questions) - len(kept), pool.fetched)


def label_by_document(labels: Labels) -> Labels:
    """Let every document that holds a fact be the fact: its best chunk finds it."""
    wanted = [sorted({labels.documents[id] for id in facts}) for facts in labels.facts]
    members: dict[str, list[str]] = {}
    for id, document in labels.documents.items():
        members.setdefault(document, []).append(id)
    facts = tuple(
        {id: frozenset({number}) for number, name in enumerate(names) for id in members[name]}
        for names in wanted
    )
    width = max((len(names) for names in wanted), default=0) or 1
    ideal = np.array([[1.0] * len(names) + [0.0] * (width - len(names)) for names in wanted])
    kind: LabelKind = "documents"
    return Labels((kind,) * len(wanted), facts, ideal, labels.documents)


def with_all_signals(recipe: Recipe) -> Recipe:
    """The program whose candidates hold every signal that the index itself can give."""
    reranks = not is_hosted(open_index(recipe.index.path).settings.embedder)
    section = recipe.program.model_copy(
        update={"kind": "rerank" if reranks else "hybrid", "reranker": DEFAULT_RERANKER,
                "signature": "",
                "expansion": "none", "conversation": False, "abstain": False}
    )  # fmt: skip
    return recipe.model_copy(update={"program": section})
