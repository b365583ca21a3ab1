"""Metrics without a model, each from 0 to 1: of answers, citations and contexts.

`Metric` has the one signature that every DSPy optimizer accepts. Knows nothing of how rankings are
judged (`ranking.py`) or of how scores are averaged and compared (`statistics.py`).
"""

from __future__ import annotations

import difflib
import importlib
import inspect
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import dspy

from ragwright.optimize.questions.columns import answers_of, documents_of, evidence_of
from ragwright.optimize.retrieval.labels import supports
from ragwright.optimize.scoring.judges import JUDGES
from ragwright.programs.outputs import citations_of, passages_of, value_of_member
from ragwright.programs.own import reference_to
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.text import answer_words
from ragwright.retrievers.trust import is_reference

_TRUTH = {"true": "yes", "false": "no"}
_TERM = re.compile(r"\s*(?:([0-9]+(?:\.[0-9]+)?|\.[0-9]+)\s*\*\s*)?([A-Za-z_0-9.:]+)\s*")


def normalize_answer(text: str) -> str:
    """Return the words that answers are compared by, with spaces between them."""
    return " ".join(answer_words(text))


def exact_match(answer: str, accepted: Sequence[str]) -> float:
    """1 if the answer equals an accepted one after normalisation, else 0."""
    return float(_compared(answer) in [_compared(gold) for gold in accepted])


def token_f1(answer: str, accepted: Sequence[str]) -> float:
    """Harmonic mean of the precision and recall of words, best over the accepted answers.

    In scripts without spaces, and in Korean, words are characters, as in MLQA (Lewis et al., 2020).
    """
    return max((_word_f1(answer, gold) for gold in accepted), default=0.0)


def citation_scores(gold: dspy.Example, pred: dspy.Prediction) -> tuple[float, float]:
    """Precision and recall of the citations against the evidence, or else the documents.

    A citation is right if the cited passage holds evidence (stands in a wanted document, where
    the gold has no evidence); what is wanted is found if a citation holds it. A number that no
    passage has is a wrong citation. No citation at all scores 0 and 0.
    """
    passages, numbers = passages_of(pred), set(citations_of(pred))
    cited = [passages[number - 1] for number in sorted(numbers) if 1 <= number <= len(passages)]
    evidence, documents = evidence_of(gold), documents_of(gold)
    found = [supports(passage, evidence, documents) for passage in cited]
    wanted = len(evidence) or len(documents)
    if not numbers or not wanted:
        return 0.0, 0.0
    right = sum(bool(facts) for facts in found)
    return right / len(numbers), len(set().union(*found)) / wanted


def _citation_f1(gold: dspy.Example, pred: dspy.Prediction) -> float:
    precision, recall = citation_scores(gold, pred)
    return _harmonic(precision, recall)


def context_scores(gold: dspy.Example, pred: dspy.Prediction) -> tuple[float, float]:
    """Precision and recall of the passages that the language model read, whatever it cites."""
    passages = passages_of(pred)
    evidence, documents = evidence_of(gold), documents_of(gold)
    found = [supports(passage, evidence, documents) for passage in passages]
    wanted = len(evidence) or len(documents)
    if not passages or not wanted:
        return 0.0, 0.0
    return sum(bool(facts) for facts in found) / len(found), len(set().union(*found)) / wanted


ScoreFunction = Callable[[dspy.Example, dspy.Prediction], Any]
_METRICS: dict[str, ScoreFunction] = {
    "answer_f1": lambda gold, pred: token_f1(_answer(pred), answers_of(gold)),
    "answer_em": lambda gold, pred: exact_match(_answer(pred), answers_of(gold)),
    "citation_f1": _citation_f1,
    "citation_precision": lambda gold, pred: citation_scores(gold, pred)[0],
    "citation_recall": lambda gold, pred: citation_scores(gold, pred)[1],
    "context_precision": lambda gold, pred: context_scores(gold, pred)[0],
    "context_recall": lambda gold, pred: context_scores(gold, pred)[1],
    **JUDGES,
}

NEEDS_ANSWERS = ("answer_f1", "answer_em", "semantic_f1")
"""Metrics that compare an answer with those that are expected."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a metric makes of an answer.

    Attributes:
        score: From 0 to 1.
        feedback: What a user's metric says.
        parts: The score by each part of a sum; empty for a metric by itself.
    """

    score: float
    feedback: str = ""
    parts: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Metric:
    """A weighted mean of named metrics, in the signature that all DSPy optimizers take.

    Attributes:
        name: As written in the recipe.
        terms: Weight and name of each part.
        threshold: From this score on an answer counts as right: a bootstrapped trace that is
            judged with `trace` gets a strict bool, because any non-zero float is true to DSPy.
        judge: Answers for the metrics that ask a language model; DSPy's configured one by default.
        given: A metric as DSPy takes it, instead of the terms; `as_metric` makes one.
    """

    name: str
    terms: tuple[tuple[float, str], ...]
    threshold: float
    judge: dspy.LM | None = None
    given: Callable[..., Any] | None = None

    def __call__(
        self,
        gold: dspy.Example,
        pred: dspy.Prediction,
        trace: Any = None,
        pred_name: str | None = None,
        pred_trace: Any = None,
    ) -> float | bool:
        """Score a prediction from 0 to 1, or say whether it passes if there is a `trace`."""
        if self.given is not None:
            found = _called(self.given, gold, pred, trace, pred_name, pred_trace)
            score = _judgement(self.name, found, bounded=False).score
        else:
            score = self.score(gold, pred)
        return score >= self.threshold if trace is not None else score

    def score(self, gold: dspy.Example, pred: dspy.Prediction) -> float:
        """The weighted mean of the parts, from 0 to 1."""
        return self.judged(gold, pred).score

    def judged(self, gold: dspy.Example, pred: dspy.Prediction) -> Judgement:
        """The weighted mean of the parts, and all that a user's metrics say about the answer.

        Raises:
            InputError: A user's metric returned something else than a number from 0 to 1.
        """
        if self.given is not None:
            with self._asking():
                found = _called(self.given, gold, pred, None, None, None)
            return _judgement(self.name, found, bounded=False)
        with self._asking():
            parts = [(weight, name, _part(name, gold, pred)) for weight, name in self.terms]
        total = sum(weight for weight, _, _ in parts)
        said = [part.feedback for _, _, part in parts if part.feedback]
        score = sum(weight * part.score for weight, _, part in parts) / total
        scores = {name: part.score for _, name, part in parts} if len(parts) > 1 else {}
        return Judgement(score, "\n".join(said), scores)

    def feedback_on(
        self, gold: dspy.Example, pred: dspy.Prediction, trace: Any, pred_name: str, pred_trace: Any
    ) -> str:
        """What a user's metrics say of one predictor, those of them that take its name."""
        own = [self.given] if self.given else [_imported(n) for _, n in self.terms if ":" in n]
        with self._asking():
            found = [_called(one, gold, pred, trace, pred_name, pred_trace)
                     for one in own if _arguments(one) > 3]  # fmt: skip
        said = [one.get("feedback") for one in found if isinstance(one, dspy.Prediction)]
        return "\n".join(str(text) for text in said if text)

    def _asking(self) -> AbstractContextManager[Any]:
        wanted = self.given is not None or self.needs_writer
        return dspy.context(lm=self.judge) if self.judge is not None and wanted else nullcontext()

    @property
    def needs_sources(self) -> bool:
        """Whether a gold example needs documents or evidence to be judged."""
        return any(name.startswith(("citation", "context")) for _, name in self.terms)

    @property
    def needs_writer(self) -> bool:
        """Whether a language model that writes judges the answers."""
        return any(name in JUDGES for _, name in self.terms)


def build_metric(
    spec: str, *, threshold: float = 0.6, load: Callable[[str], Any] | None = None
) -> Metric:
    """Read "answer_f1", "my_module:my_metric", or a sum: "0.7*answer_f1 + 0.3*citation_f1".

    A metric of your own is called with a gold example and a prediction, and returns a number from 0
    to 1, a bool, or a `dspy.Prediction` with `score` and `feedback`. It may be a class, which is
    called without arguments.

    Args:
        spec: What to read.
        threshold: From this score on an answer counts as right.
        load: Imports what is named `module:name`, as far as it is allowed: `Recipe.part`, where a
            recipe names it. Without, a name is the caller's own word.

    Raises:
        InputError: An unknown name, a term that is not `weight*name`, weights of 0, or a metric of
            your own that cannot be imported or does not take two arguments.
    """
    terms = metric_terms(spec)
    for _, name in terms:
        if ":" in name:
            if load is not None:
                load(name)
            _imported(name)
    return Metric(spec.strip(), terms, threshold)


def metric_terms(spec: str) -> tuple[tuple[float, str], ...]:
    """Return the weights and names of a metric; nothing is imported.

    Raises:
        InputError: An unknown name, a term that is not `weight*name`, or weights of 0.
    """
    parts = [_TERM.fullmatch(part) for part in spec.split("+")]
    terms = [(float(part[1] or 1), part[2]) for part in parts if part]
    unknown = [name for _, name in terms if name not in _METRICS and ":" not in name]
    if len(terms) != len(parts) or unknown or not any(weight for weight, _ in terms):
        raise InputError(
            f"No metric {spec!r}.{_meant(unknown)}",
            hint=f"Write one of {', '.join(_METRICS)}, or a sum: '0.7*answer_f1 + 0.3*answer_em'.",
        )
    return tuple(terms)


def _meant(unknown: Sequence[str]) -> str:
    near = difflib.get_close_matches(unknown[0], _METRICS, n=1) if unknown else []
    return f" Is {near[0]!r} meant?" if near else ""


def _part(name: str, gold: dspy.Example, pred: dspy.Prediction) -> Judgement:
    if name in _METRICS:
        return _judgement(name, _METRICS[name](gold, pred))
    return _judgement(name, _called(_imported(name), gold, pred, None, None, None))


OF_METRIC = "raised by the metric"
"""Noted on what a user's metric raises: neither the program nor its index is to blame."""

_BY_POSITION = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def as_metric(function: Callable[..., Any], *, threshold: float = 0.6) -> Metric:
    """Take any metric that DSPy takes: of 2 to 5 arguments; a bool, a number, or a Prediction.

    Args:
        function: Called with the gold example and the prediction, and with the trace, the
            predictor's name and its trace if it takes them.
        threshold: From this score on an answer counts as right.

    Raises:
        InputError: It cannot be called with a gold example and a prediction.
    """
    if isinstance(function, Metric):
        return function
    name = getattr(function, "__qualname__", "") or type(function).__qualname__
    # As a recipe names it, so that an artifact can say by which metric it is judged.
    reference = reference_to(function)
    name = reference if is_reference(reference) else name
    try:
        _arguments(function)
    except TypeError as error:
        raise InputError(
            f"The metric {name!r} cannot be called with a gold example and a prediction: {error}.",
            hint="Write it as def metric(gold, pred, trace=None).",
        ) from error
    if inspect.iscoroutinefunction(function):
        raise InputError(
            f"The metric {name!r} is async, and neither DSPy nor a compile awaits metrics.",
            hint="Write it as def metric(gold, pred, trace=None).",
        )
    return Metric(name, ((1.0, name),), threshold, given=function)


def _called(function: Callable[..., Any], *given: Any) -> Any:
    try:
        return function(*given[: _arguments(function)])
    except Exception as error:
        error.add_note(OF_METRIC)
        raise


def _arguments(function: Callable[..., Any]) -> int:
    """With how many of DSPy's five arguments a metric is called: 2 to 5.

    An argument with a default of its own, such as `frac=1.0`, is no trace and no predictor's name.
    """
    called = function.forward if isinstance(function, dspy.Module) else function
    shape = inspect.signature(called)
    taken = [item for item in shape.parameters.values() if item.kind in _BY_POSITION]
    open_ended = any(item.kind is item.VAR_POSITIONAL for item in shape.parameters.values())
    count = 3 if open_ended else 2
    for item in taken[2:5]:
        if item.default not in (item.empty, None) and item.name != "trace":
            break
        count = max(count, taken.index(item) + 1)
    shape.bind(*[None] * count)
    return count


def _judgement(name: str, found: Any, *, bounded: bool = True) -> Judgement:
    feedback = ""
    if isinstance(found, dspy.Prediction):
        found, feedback = found.get("score"), str(found.get("feedback") or "")
    number = _number(found)
    if not math.isfinite(number) or (bounded and not 0 <= number <= 1):
        raise InputError(
            f"The metric {name!r} returned {found!r}.",
            hint="A metric returns a number from 0 to 1, or dspy.Prediction(score=, feedback=).",
        )
    return Judgement(number, feedback)


def _number(found: Any) -> float:
    """A number of whatever kind (numpy's, a Decimal, a tensor of one value); NaN of all else."""
    if not hasattr(type(found), "__float__") or getattr(found, "shape", ()) != ():
        return math.nan
    try:
        return float(found)
    except (TypeError, ValueError, OverflowError):
        return math.nan


@lru_cache(maxsize=64)
def _imported(name: str) -> ScoreFunction:
    """Import "module:function", and check that it can be called with two arguments."""
    module, _, function = name.partition(":")
    try:
        metric: ScoreFunction = getattr(importlib.import_module(module), function)
        metric = metric() if isinstance(metric, type) else metric
        _arguments(metric)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"The metric {name!r} cannot be imported: {error}.",
            hint="Write module:function, and put the module where Python finds it (PYTHONPATH).",
        ) from error
    except TypeError as error:
        raise InputError(
            f"The metric {name!r} cannot be called with a gold example and a prediction: {error}.",
            hint="Write it as def metric(gold, pred, trace=None).",
        ) from error
    return metric


def _answer(pred: dspy.Prediction) -> str:
    answer = value_of_member(pred.get("answer"))
    return "" if answer is None else str(answer)


def _compared(text: str) -> list[str]:
    """The words of an answer; a truth value, as programs and JSON write it, is yes or no."""
    words = answer_words(text)
    return [_TRUTH.get(words[0], words[0])] if len(words) == 1 else words


def _word_f1(answer: str, gold: str) -> float:
    given, wanted = _compared(answer), _compared(gold)
    if not given or not wanted:
        return float(given == wanted)
    common = sum((Counter(given) & Counter(wanted)).values())
    return _harmonic(common / len(given), common / len(wanted))


def _harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0
