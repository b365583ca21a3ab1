"""A parsed prompt in, one value per wanted field out.

Fields are filled by their role, read from name and type: `answer`, `citations`, `reasoning`, and
for any other field what fits its type best. Knows nothing of requests, engines or adapters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ragwright.programs.extractive.form import learn_form
from ragwright.programs.extractive.prompt import Field, Prompt
from ragwright.programs.extractive.ranking import Ranked, rank
from ragwright.programs.extractive.spans import best_span
from ragwright.programs.extractive.text import NEGATIONS, words_of

NO_ANSWER = "I don't know"
_PLAUSIBLE = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found in the passages.

    Attributes:
        answer: The answer in the form that the demonstrations show, or `NO_ANSWER`.
        sentence: The sentence it stands in; the question if there were no passages.
        passages: Passage numbers, the answer's own first, then by their best sentence.
        confidence: In [0, 1]: mean of word overlap and cosine of the chosen sentence.
    """

    answer: str
    sentence: str
    passages: tuple[int, ...]
    confidence: float


def fill(prompt: Prompt, *, embedder: str) -> dict[str, object]:
    """Return a value for every wanted field, in order."""
    finding = find(prompt, embedder=embedder)
    return {field.name: _value(field, finding) for field in prompt.wanted}


def find(prompt: Prompt, *, embedder: str) -> Finding:
    """Look for the answer to the prompt's question in its passages."""
    ranked = rank(prompt.question, prompt.passages or (), embedder=embedder)
    if not ranked:
        return Finding(NO_ANSWER, prompt.question or NO_ANSWER, (), 0.0)
    answer, source = _answer(prompt, ranked, embedder=embedder)
    confidence = (source.overlap + max(0.0, source.cosine)) / 2
    numbers = dict.fromkeys([source.passage, *(one.passage for one in ranked)])
    return Finding(answer, source.sentence.text, tuple(numbers), round(min(1.0, confidence), 3))


def _answer(prompt: Prompt, ranked: Sequence[Ranked], *, embedder: str) -> tuple[str, Ranked]:
    examples = [
        (demo.question, demo.outputs["answer"])
        for demo in prompt.demos
        if "answer" in demo.outputs and demo.question
    ]
    form = learn_form(prompt.question, examples)
    best = ranked[0]
    if form is None or form.sentence:
        return best.sentence.text, best
    if form.yes_no:
        return ("No" if _negated(best) else "Yes"), best
    span = best_span(prompt.question, ranked, form, embedder=embedder)
    return (best.sentence.text, best) if span is None else (span.text, span.source)


def _negated(ranked: Ranked) -> bool:
    return any(word.text.lower() in NEGATIONS for word in words_of(ranked.sentence.text))


def _value(field: Field, finding: Finding) -> object:
    plausible = finding.confidence >= _PLAUSIBLE
    by_type: dict[str, object] = {
        "bool": plausible,
        "float": finding.confidence,
        "int": int(plausible),
        "list[int]": list(finding.passages[: 1 if field.name == "citations" else None]),
        "list[str]": [finding.sentence],
    }
    text = finding.answer if field.name == "answer" else finding.sentence
    return by_type.get(field.annotation, text)
