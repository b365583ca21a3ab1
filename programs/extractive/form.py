"""Learns from demonstrations what form an answer takes: its kind and its length.

The form is a distribution over kinds of answers (a name, a number, an identifier, a sentence...)
and over lengths, estimated from the demonstrated answers; those to similar questions weigh more.
Knows no passages: a question and its answer are enough to learn from.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ragwright.programs.extractive.text import Word, content_stems, split_words

KINDS = ("exception", "code", "date", "number", "proper", "quoted", "plain", "clause")
SENTENCE_WORDS = 14
_QUOTES = "\"'`\u201c\u201d\u2018\u2019"
_YES_NO = frozenset(("yes", "no"))
_VERBS = frozenset({
    "is", "are", "was", "were", "do", "does", "did", "has", "have", "had", "can", "could", "will",
    "would", "should", "may", "might", "must",
})  # fmt: skip

# What share of answers is of which kind in English, by question word: worth `_PRIOR_WEIGHT`
# demonstrations. Counted on one half of the questions of SQuAD (Rajpurkar et al., 2016), rounded.
_PRIOR_WEIGHT = 3.0
_PRIOR = {
    "": {"plain": 0.7, "proper": 0.3},
    "what": {"plain": 0.55, "proper": 0.35, "number": 0.05, "date": 0.05},
    "which": {"proper": 0.6, "plain": 0.25, "date": 0.1, "number": 0.05},
    "who": {"proper": 0.85, "plain": 0.15},
    "whose": {"proper": 0.8, "plain": 0.2},
    "when": {"date": 0.8, "number": 0.1, "plain": 0.1},
    "where": {"proper": 0.6, "plain": 0.4},
    "why": {"plain": 0.9, "clause": 0.1},
    "how": {"plain": 0.75, "number": 0.2, "clause": 0.05},
    "number": {"number": 0.9, "plain": 0.1},
    "date": {"date": 1.0},
}
# Half of those answers have two words; one demonstration's worth of prior for the lengths.
_PRIOR_LOG_LENGTH = math.log(2)
_PRIOR_SPREAD = 0.7
_HEADS = {"year": "date", "date": "date", "percentag": "number", "number": "number"}
_WH = re.compile(
    r"\b(?:(who|whom|whose|when|where|why|which|what)|how(?:\s+(many|much|long|old|often|far))?)\b"
)


@dataclass(frozen=True, slots=True)
class QuestionKind:
    """What a question asks for: its question word, and the noun that follows ("which exception").

    Attributes:
        word: "who", "when", "how many", ...; "" for a yes/no question.
        head: The stem of the first content word after it; may be empty.
    """

    word: str
    head: str


@dataclass(frozen=True, slots=True)
class Form:
    """What answers look like.

    Attributes:
        kinds: Natural logarithm of the probability of each kind in `KINDS`.
        log_length: Mean of the logarithm of the answers' word counts.
        spread: Its standard deviation, always positive.
        sentence: Whether answers are whole sentences.
        yes_no: Whether answers are "yes" or "no".
    """

    kinds: dict[str, float]
    log_length: float
    spread: float
    sentence: bool
    yes_no: bool

    def fit(self, length: int) -> float:
        """Return the log density of a word count: 0 at the mean, falling with its square."""
        return -0.5 * ((math.log(length) - self.log_length) / self.spread) ** 2


def question_kind(question: str) -> QuestionKind:
    """Read the question word (the first one in the text) and the noun it asks for."""
    match = _WH.search(question.lower())
    if match is None:
        return QuestionKind("", "")
    word = match.group(1) or " ".join(match.group().split())
    rest = split_words(question[match.end() :])
    heads = [one for one in rest[:4] if one.content]
    head = heads[0].stem if heads and word.split()[0] in ("which", "what", "how") else ""
    return QuestionKind({"whom": "who"}.get(word, word), head)


def asks_yes_or_no(question: str) -> bool:
    """Whether a question wants a yes or a no: it begins with a verb and offers no choice."""
    words = [word.text.lower() for word in split_words(question)]
    return bool(words) and words[0] in _VERBS and "or" not in words


def answer_kind(words: Sequence[Word], text: str) -> str:
    """Name the kind of an answer or candidate; see `KINDS`."""
    if len(text) > 2 and text[0] in _QUOTES and text[-1] in _QUOTES:
        return "quoted"
    kinds = [word.kind for word in words if word.content]
    if not kinds:
        return "code" if words and words[-1].kind == "mark" else "plain"
    for kind in ("exception", "code", "date", "number"):
        if kind in kinds and len(kinds) <= 4:
            return kind
    if len(words) > SENTENCE_WORDS:
        return "clause"
    capitals = sum(kind == "proper" for kind in kinds)
    return "proper" if 2 * capitals > len(kinds) else "plain"


def learn_form(question: str, examples: Sequence[tuple[str, str]]) -> Form | None:
    """Estimate the form from (question, answer) pairs; None if there are none."""
    pairs = [(asked, " ".join(answer.split())) for asked, answer in examples if answer.strip()]
    if not pairs:
        return None
    weights = [question_similarity(question, asked) for asked, _ in pairs]
    total = sum(weights)
    counts = [max(1, _count(answer)) for _, answer in pairs]
    logs = [_PRIOR_LOG_LENGTH, *(math.log(count) for count in counts)]
    shares = [1 / (1 + total), *(weight / (1 + total) for weight in weights)]
    mean = sum(share * log for share, log in zip(shares, logs, strict=True))
    squares = [_PRIOR_SPREAD**2, *((log - mean) ** 2 for log in logs[1:])]
    long = sum(w for w, count in zip(weights, counts, strict=True) if count > SENTENCE_WORDS)
    yes = sum(w for w, (_, said) in zip(weights, pairs, strict=True) if _is_yes_no(said))
    return Form(
        kinds=_kinds(question, pairs, weights),
        log_length=mean,
        spread=math.sqrt(sum(share * one for share, one in zip(shares, squares, strict=True))),
        sentence=long > total / 2,
        yes_no=yes > total / 2,
    )


def question_similarity(question: str, other: str) -> float:
    """Weigh a demonstration by how alike two questions ask: from 0.15 to 4."""
    ours, theirs = question_kind(question), question_kind(other)
    weight = 0.15 + 0.85 * (ours.word == theirs.word)
    if ours.head and ours.head == theirs.head:
        weight += 2.0
    first, second = content_stems(question), content_stems(other)
    return weight + len(first & second) / max(1, len(first | second))


def _kinds(
    question: str, pairs: Sequence[tuple[str, str]], weights: Sequence[float]
) -> dict[str, float]:
    kind = question_kind(question)
    measured = "number" if kind.word.startswith("how ") else kind.word
    prior = _PRIOR[_HEADS.get(kind.head, measured)]
    mass = {name: 0.1 + _PRIOR_WEIGHT * prior.get(name, 0.0) for name in KINDS}
    for (_, answer), weight in zip(pairs, weights, strict=True):
        mass[answer_kind(split_words(_lowered(answer)), answer)] += weight
    total = sum(mass.values())
    return {name: math.log(value / total) for name, value in mass.items()}


def _lowered(answer: str) -> str:
    """Keep the capital of an answer's first word: unlike a sentence's, it does say something."""
    return f"- {answer}"


def _is_yes_no(answer: str) -> bool:
    return answer.lower().strip(".") in _YES_NO


def _count(answer: str) -> int:
    return sum(word.kind != "mark" for word in split_words(answer))
