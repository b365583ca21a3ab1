"""Says of a training set what a score of its answers will not show by itself.

That is: rows that contradict each other, answers that say there is none, answers too long to be
compared by their words, and how far one answer alone would get. Asks no language model.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Sequence

from ragwright.optimize.questions.data import Question, TrainingSet
from ragwright.programs.rag import ABSTENTION
from ragwright.retrievers.text import answer_words

BY_WORDS = ("answer_f1", "answer_em")
"""Metrics that compare the words of two answers."""
LONG = 60
"""Words of an answer from which on two good ones share few of them."""
OFTEN = 0.25
"""The share of questions from which on an answer that all of them expect is worth a note."""
SEVERAL = 0.02
"""The share of questions from which on it matters how they say that there is no answer."""
_YES_NO = frozenset(("yes", "no", "true", "false"))
_SOURCE = (
    r"(?:document(?:s|ation)?|contexts?|texts?|passages?|sources?|articles?|handbook|data|corpus"
    r"|information)"
)
_DENIAL = re.compile(
    r"n\.?/a|n\.a|unanswerable|cannotanswer|keine (?:antwort|angaben?)"
    r"|(?:there is )?(?:no|not enough|insufficient) (?:answer|info(?:rmation)?|data)"
    r"(?: (?:available|found|given|provided|present))?"
    r"|(?:i )?(?:don['\u2019]?t|do not) know"
    r"|(?:this |the question |it )?(?:can ?not|can['\u2019]t) be answered\b.{0,60}"
    r"|(?:(?:it|this|that|the answer) is )?not (?:answerable|available|specified|mentioned|stated"
    r"|provided|given|found|known|covered|present|contained|in)\b"
    rf"(?:.{{0,30}}\b{_SOURCE}\b.{{0,20}})?"
    rf"|(?:the |these )?{_SOURCE} (?:does|do) not (?:say|mention|state|contain|specify)\b.{{0,60}}"
    r"|(?:steht )?nicht in (?:den|dem) (?:dokument(?:en)?|text(?:en)?|quellen)",
    re.IGNORECASE,
)


def says_nothing(answer: str) -> bool:
    """Whether an answer says that there is none.

    >>> [says_nothing(text) for text in ("N/A", "Not in the documents.", "not in Rome", "no")]
    [True, True, False, False]
    """
    return _DENIAL.fullmatch(answer.strip(" .!\"'()[]")) is not None


def is_yes_or_no(answer: str) -> bool:
    """Whether an answer is a truth value, which stands in no document as what it answers."""
    return answer.casefold().strip(" .!") in _YES_NO


def left_out(trainset: TrainingSet) -> list[str]:
    """Say how many questions a compile does without, if there are any."""
    count, kept = trainset.unanswerable, len(trainset.questions)
    return [f"{count} of {kept + count} questions are left out: nothing answers them."] * bool(
        count
    )


def remarks_on(trainset: TrainingSet, metric: str) -> list[str]:
    """Say what is odd about the questions of a set, if anything is.

    Args:
        trainset: The questions.
        metric: The metric that will compare the answers, as a recipe names it.
    """
    by_words = any(name in metric for name in BY_WORDS)
    told = (
        _disagreeing(trainset),
        _denied(trainset.questions) if by_words else "",
        _long(trainset.questions) if by_words else "",
    )
    return [note for note in told if note]


def one_answer(questions: Sequence[Question]) -> str:
    """Say which answer is right for many of the questions, whatever they ask; "" if none is."""
    words = {answer: " ".join(answer_words(answer)) for one in questions for answer in one.answers}
    right = Counter(said for one in questions for said in {words[answer] for answer in one.answers})
    if not right:
        return ""
    same, count = max(right.items(), key=lambda pair: pair[1])
    if count < OFTEN * len(questions):
        return ""
    shown = next(answer for answer, said in words.items() if said == same)
    return (
        f"{shown[:60]!r} alone, said to every question, is right for {count} of {len(questions)} "
        f"({count / len(questions):.3f} by answer_em): compare the scores with that."
    )


def _disagreeing(trainset: TrainingSet) -> str:
    if not trainset.disagreeing:
        return ""
    ids = set(trainset.disagreeing)
    asked = [one for one in trainset.questions if one.id in ids]
    most = max(asked, key=lambda one: len(one.answers))
    first, *_, last = most.answers
    one = "question is" if len(asked) == 1 else "questions are"
    return (
        f"{len(asked)} {one} asked by several rows with different answers, such as "
        f"{most.question[:80]!r} ({first[:40]!r}, {last[:40]!r}): each of them counts as right. "
        "Remove the wrong ones; a question that leans on an earlier one has to be written so that "
        "it stands alone."
    )


def _denied(questions: Sequence[Question]) -> str:
    ours = answer_words(ABSTENTION)
    said = [
        one
        for one in questions
        if any(map(says_nothing, one.answers))
        and ours not in [answer_words(answer) for answer in one.answers]
    ]
    if not said or len(said) < SEVERAL * len(questions):
        return ""
    return (
        f"{len(said)} of {len(questions)} questions want to be told that there "
        f"is no answer ({said[0].answers[0][:40]!r}). Answers are compared by their words, and "
        f'"{ABSTENTION}", as programs of ours say, is none of them: accept that too ("answers": '
        f'[..., "{ABSTENTION}"]), or leave these questions out ("unanswerable": true).'
    )


def _long(questions: Sequence[Question]) -> str:
    words = [len(one.answers[0].split()) for one in questions if one.answers]
    middle = statistics.median(words) if words else 0
    if middle < LONG:
        return ""
    return (
        f"Half of the answers have {middle:.0f} words or more. answer_f1 counts the words that two "
        "answers share, and good answers of that length share few; semantic_f1 has a language "
        "model judge them."
    )
