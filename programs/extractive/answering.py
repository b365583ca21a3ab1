"""Answers a parsed prompt: fills each wanted field from the best span of its passages.

The reader's spans of all passages compete by their scores, and by how well they fit the form that
the demonstrations show. Where the reader is blind (a script that its model does not know, or a
question to be answered by yes or no, of which it learned none), the sentence that shares most words
with the question answers. Knows nothing of requests or adapters.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from ragwright.programs.extractive.fields import (
    NO_ANSWER,
    FieldContext,
    Finding,
    field_value,
    main_field,
)
from ragwright.programs.extractive.form import (
    Form,
    answer_kind,
    asks_yes_or_no,
    learn_form,
)
from ragwright.programs.extractive.prompt import ParsedPrompt
from ragwright.programs.extractive.reader import TextSpan, load_reader
from ragwright.programs.extractive.text import NEGATIONS, content_stems, split_words
from ragwright.programs.extractive.tools import next_call
from ragwright.programs.extractive.windows import Window, best_sentence, windows_of

# Chosen on the articles `SELECTION` of benchmarks/train_reader.py, as is the confidence: fitted by
# logistic regression to whether an answer's token F1 is at least one half.
RANK_WEIGHT = 0.8
LENGTH_WEIGHT = 0.3
KIND_WEIGHT = 0.5
ECHO_WEIGHT = 4.0  # set by hand: more than what parts the first spans of a passage
SLOPE, MIDDLE = 0.323, 5.71
# Less than any right answer had there, by a margin: in documents of another kind all have less. Who
# wants a program to abstain sooner says so by its knob `abstain_below`.
ABSTAIN = 0.05
_CHOICE = re.compile(r"\bor\b", re.IGNORECASE)
_TOOL_FIELDS = ("next_tool_name", "next_tool_args")


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """A span with the window it stands in, and its score with the form and the rank added."""

    span: TextSpan
    window: Window
    score: float


def fill_fields(prompt: ParsedPrompt) -> dict[str, object]:
    """Return a value for every wanted field, in order."""
    finding = find_answer(prompt)
    asked = FieldContext(prompt.question, prompt.others, prompt.demos, main_field(prompt.wanted))
    values = {field.name: field_value(field, finding, asked) for field in prompt.wanted}
    if all(name in values for name in _TOOL_FIELDS):
        looked = prompt.passages is not None
        call = next_call(prompt.instructions, prompt.question, looked=looked)
        values |= {"next_tool_name": call.tool, "next_tool_args": call.arguments}
    return values


def find_answer(prompt: ParsedPrompt) -> Finding:
    """Look for the answer to the prompt's question in its passages."""
    windows = windows_of(prompt.question, prompt.passages or ())
    if not windows or not prompt.question.strip():
        return Finding(NO_ANSWER, prompt.question or NO_ANSWER, (), 0.0, found=False)
    form = learn_form(prompt.question, _examples(prompt))
    blind = is_foreign_script(prompt.question) or asks_yes_or_no(prompt.question)
    ranked = [] if blind else answer_spans(prompt.question, windows, form)
    if not ranked:
        return _by_words(prompt.question, windows, form)
    return _found(ranked, form)


def answer_spans(question: str, windows: Sequence[Window], form: Form | None) -> list[AnswerSpan]:
    """Return all spans of the windows, best first."""
    read = load_reader().read(question, [window.text for window in windows])
    asked = content_stems(question) if not _CHOICE.search(question) else frozenset()

    def scored(span: TextSpan, window: Window) -> AnswerSpan:
        lost = _later(window) + _echo(span, asked)
        return AnswerSpan(span, window, span.score + _fit(span.text, form) - lost)

    made = [
        scored(span, window) for window, spans in zip(windows, read, strict=True) for span in spans
    ]
    return sorted(made, key=lambda one: -one.score)


def is_foreign_script(question: str) -> bool:
    """Whether most letters of a question are of a script that the reader has not learned."""
    letters = [letter for letter in question if letter.isalpha()]
    latin = sum("LATIN" in unicodedata.name(letter, "") for letter in letters)
    return 2 * latin < len(letters)


def _found(ranked: Sequence[AnswerSpan], form: Form | None) -> Finding:
    best = ranked[0]
    confidence = confidence_of(best)
    numbers = tuple(dict.fromkeys(one.window.passage for one in ranked))
    sentence = best.window.sentence_at(best.span.start)
    if confidence < ABSTAIN:
        return Finding(NO_ANSWER, sentence, (), confidence, found=False)
    answer = best.span.text
    if form is not None and form.yes_no:
        answer = _yes_or_no(sentence)
    elif form is not None and form.sentence:
        answer = sentence
    return Finding(answer, sentence, numbers, confidence)


def confidence_of(one: AnswerSpan) -> float:
    """Return how likely a candidate is right, from its score as the reader gave it."""
    return round(1 / (1 + math.exp(-SLOPE * (one.span.score - MIDDLE))), 3)


def _by_words(question: str, windows: Sequence[Window], form: Form | None) -> Finding:
    """Answer with a whole sentence, by words alone; sure of it at most half."""
    sentence, window, share = best_sentence(question, windows)
    numbers = tuple(dict.fromkeys([window.passage, *(one.passage for one in windows)]))
    if not share:
        return Finding(NO_ANSWER, sentence.text, (), 0.0, found=False)
    answer = _yes_or_no(sentence.text) if form is not None and form.yes_no else sentence.text
    return Finding(answer, sentence.text, numbers, round(share / 2, 3))


def _fit(text: str, form: Form | None) -> float:
    """Return what a span's length and kind add, in the form that demonstrations show."""
    if form is None or form.sentence or form.yes_no:
        return 0.0
    words = split_words(f"- {text}")[1:]
    count = max(1, sum(word.kind != "mark" for word in words))
    length = max(-6.0, form.fit(count))
    return LENGTH_WEIGHT * length + KIND_WEIGHT * form.kinds[answer_kind(words, text)]


def _echo(span: TextSpan, asked: frozenset[str]) -> float:
    """Return what a span loses that says nothing but words of the question."""
    return ECHO_WEIGHT if content_stems(span.text) <= asked else 0.0


def _later(window: Window) -> float:
    return RANK_WEIGHT * math.log(min(window.passage, 10))


def _examples(prompt: ParsedPrompt) -> list[tuple[str, str]]:
    name = main_field(prompt.wanted)
    return [
        (demo.question, demo.outputs[name])
        for demo in prompt.demos
        if demo.outputs.get(name) and demo.question
    ]


def _yes_or_no(sentence: str) -> str:
    return "No" if any(word.text.lower() in NEGATIONS for word in split_words(sentence)) else "Yes"
