"""A training set looked over against the index it will be used on, before anything is spent.

What can be told without a model is told: documents and evidence that the index lacks, answers that
do not stand in their evidence, repetitions, and how much so many questions can show.
"""

from __future__ import annotations

import difflib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from ragwright.optimize.questions.data import Question, TrainingSet
from ragwright.optimize.questions.remarks import is_yes_or_no, one_answer, remarks_on
from ragwright.optimize.retrieval.labels import Labels, label
from ragwright.optimize.scoring.statistics import Power
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import Index
from ragwright.retrievers.text import has_words
from ragwright.retrievers.text.numbers import count_with_noun

FEWEST_GROUPS = 6
"""With fewer groups no outcome at all gives a p under 0.05: 2 / 2 ** groups."""
SHOWN = 5


@dataclass(frozen=True)
class TrainingSetCheck:
    """What was found.

    Attributes:
        questions: How many there are.
        groups: How many groups they form.
        duplicates: Rows that repeat a question, and were joined with it.
        synthetic: How many nobody asked.
        unanswerable: How many nothing answers.
        unanswered: How many have documents or evidence, and no answer: good for retrieval alone.
        labelled: How many name evidence or documents.
        unknown_documents: Questions that name a document which the index does not hold: id,
            document, and the nearest ids that it holds.
        missing_evidence: Ids of questions whose evidence stands nowhere in the index.
        unsupported: Ids of questions whose answer is not in their evidence, word for word; yes and
            no stand in none.
        smallest_p: The smallest p that a test side of this many groups can give.
        detectable: The gain in a score from 0 to 1 that a test side of this size shows 4 times out
            of 5, if those of one group gain together; see `scoring.statistics.Power`.
        notes: Advice, in plain words.
    """

    questions: int
    groups: int
    duplicates: int
    synthetic: int
    unanswerable: int
    unanswered: int
    labelled: int
    unknown_documents: tuple[tuple[str, str, tuple[str, ...]], ...]
    missing_evidence: tuple[str, ...]
    unsupported: tuple[str, ...]
    smallest_p: float
    detectable: float
    notes: tuple[str, ...] = field(default=())

    @property
    def problems(self) -> tuple[str, ...]:
        """What has to be repaired before a compile can learn from these questions."""
        found = []
        if self.unknown_documents:
            some = "; ".join(
                f"{name!r}{f' (nearest: {nearest[0]!r})' if nearest else ''}"
                for _, name, nearest in self.unknown_documents[:SHOWN]
            )
            count = len({id for id, _, _ in self.unknown_documents})
            found.append(
                f"{count} of {self.questions} questions name documents that the index does not "
                f"hold, such as {some}."
            )
        if self.missing_evidence:
            found.append(
                f"The evidence of {len(self.missing_evidence)} questions stands nowhere in the "
                f"index, such as that of {', '.join(map(repr, self.missing_evidence[:SHOWN]))}."
            )
        return tuple(found)


def check_questions(
    trainset: TrainingSet, index: Index, *, test_share: float, metric: str = "answer_f1"
) -> TrainingSetCheck:
    """Look a training set over.

    Args:
        trainset: The questions.
        index: What they will be asked of.
        test_share: The share of questions, from 0 to 1, that will be held out.
        metric: What will compare the answers, as a recipe names it.
    """
    questions = trainset.questions
    labels = label(questions, index.chunks())
    groups = len({question.group for question in questions})
    held_out = max(1, round(groups * test_share))
    power = _power(questions, held_out)
    return TrainingSetCheck(
        questions=len(questions),
        groups=groups,
        duplicates=trainset.duplicates,
        synthetic=sum(question.synthetic for question in questions),
        unanswerable=trainset.unanswerable,
        unanswered=sum(not one.answers for one in questions),
        labelled=sum(bool(one.evidence or one.documents) for one in questions),
        unknown_documents=_unknown(questions, set(labels.documents.values())),
        missing_evidence=_missing(questions, labels),
        unsupported=_unsupported(questions),
        smallest_p=power.least_p,
        detectable=round(power.detectable, 3),
        notes=(*_advice(questions, held_out), *remarks_on(trainset, metric)),
    )


def unknown_documents(
    questions: Sequence[Question], index: Index
) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """Return what questions name that an index lacks: question, document, the nearest ids."""
    if not any(question.documents for question in questions):
        return ()
    return _unknown(questions, set(index.document_ids()))


def refuse_unknown(questions: Sequence[Question], index: Index) -> None:
    """Make sure that a training set is about an index, before anything is spent on it.

    Raises:
        InputError: Not one document that its questions name is in the index.
    """
    unknown = unknown_documents(questions, index)
    named = {one.id for one in questions if one.documents}
    if not unknown or len(unknown) < sum(len(one.documents) for one in questions):
        return
    _, name, nearest = unknown[0]
    near = f" (nearest: {', '.join(map(repr, nearest))})" if nearest else ""
    raise InputError(
        f"{len(named)} of {len(questions)} questions name documents that the index does not hold, "
        f"such as {name!r}{near}.",
        hint="Write the ids as the index has them (`rag questions import` looks for them), or "
        "leave them out.",
    )


def _unknown(
    questions: Sequence[Question], held: set[str]
) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    wanted = [(one.id, name) for one in questions for name in one.documents if name not in held]
    names = sorted(held)[:20_000]
    nearest = {
        name: tuple(difflib.get_close_matches(name.replace("\\", "/"), names, n=3))
        for name in list(dict.fromkeys(name for _, name in wanted))[:SHOWN]
    }
    return tuple((id, name, nearest.get(name, ())) for id, name in wanted)


def _missing(questions: Sequence[Question], labels: Labels) -> tuple[str, ...]:
    pairs = zip(questions, labels.kinds, labels.facts, strict=True)
    return tuple(one.id for one, kind, facts in pairs if kind == "evidence" and not facts)


def _unsupported(questions: Sequence[Question]) -> tuple[str, ...]:
    asked = (one for one in questions if one.evidence and one.answers)
    return tuple(one.id for one in asked if not _stands(one))


def _stands(question: Question) -> bool:
    text = " ".join(question.evidence)
    return any(is_yes_or_no(answer) or has_words(text, answer) for answer in question.answers)


def _power(questions: Sequence[Question], held_out: int) -> Power:
    """What a test side of so many groups can show; which ones the deal draws is not known yet."""
    groups = sorted({question.group for question in questions})
    drawn = set(random.Random(0).sample(groups, min(held_out, len(groups))))
    return Power.of([question.group for question in questions if question.group in drawn])


def _advice(questions: Sequence[Question], held_out: int) -> tuple[str, ...]:
    notes = []
    if held_out < FEWEST_GROUPS:
        notes.append(
            f"The test side will have {count_with_noun(held_out, 'group')}: no result on so few "
            "can be told from chance. Group more finely, or add questions about other documents."
        )
    kinds = Counter(question.synthetic for question in questions)
    if kinds[True] == len(questions):
        notes.append("Every question is synthetic: trust them to tune retrieval, not answers.")
    if unanswered := sum(not one.answers for one in questions):
        notes.append(
            f"{count_with_noun(unanswered, 'question')} of {len(questions)} have documents or "
            "evidence and no answer: they measure retrieval; a compile wants answers."
        )
    if same := one_answer(questions):
        notes.append(same)
    return tuple(notes)
