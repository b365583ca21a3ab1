"""Answers questions with a program and scores them: one record per question.

Failures, those that took too long among them, are counted by kind and stay in the mean as 0; none
is dropped. Where every question failed, something is set up wrongly, and one error says what.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError, DSPyError, LMError

from ragwright.optimize.pace import Pace
from ragwright.optimize.progress import StageProgress
from ragwright.optimize.questions.data import Question, to_examples
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.optimize.scoring.metrics import OF_METRIC, Metric, as_metric, build_metric
from ragwright.optimize.workers import TimedOut
from ragwright.programs.causes import cause_of, is_content_filtered, is_over_window
from ragwright.programs.outputs import (
    answer_of,
    citations_of,
    context_of,
    find_prediction,
    other_outputs,
    passages_of,
)
from ragwright.programs.replaying import question_being_asked
from ragwright.programs.spared import collect_spared_seconds
from ragwright.programs.usage import SharedUsage
from ragwright.retrievers.errors import CompileError, InputError, RagError
from ragwright.retrievers.tracing import gather_passages


def _check(questions: object) -> None:
    given = list(questions) if isinstance(questions, Sequence) else []
    if not given or not all(isinstance(one, Question) for one in given):
        raise InputError(
            f"The questions are {type(questions).__name__}, not a list of one Question or more.",
            hint="Give read_questions(FILE).questions.",
        )


def evaluate(  # noqa: PLR0913 (one parameter per setting)
    program: dspy.Module,
    questions: Sequence[Question],
    metric: Metric | Callable[..., Any] | str,
    *,
    threads: int = 4,
    timeout: float = 120,
    progress: StageProgress | None = None,
    stage: str = "evaluate",
    pace: Pace | None = None,
    proven: bool = False,
) -> Evaluation:
    """Answer every question and score the answers.

    Args:
        program: What answers.
        questions: What is asked.
        metric: What scores: a name or a sum of names, as in a recipe, or a function, called as
            DSPy calls a metric.
        threads: Questions answered at a time.
        timeout: Seconds, metric included, after which a question has failed with `TimedOut`.
        progress: Told after every answer, and every question without one.
        stage: The name that `progress` is told.
        pace: In the place of threads and timeout; one that goes on from evaluation to evaluation.
        proven: Whether it is set up well, as other knobs or prompts have shown. Where these fail
            every question (with more passages than a model reads, say), they are no good then.

    Raises:
        CompileError: Every single question failed, and not for replies that can't be read: then
            something is set up wrongly.
        InputError: There are no questions, or they are of another kind.
    """
    _check(questions)
    judge = build_metric(metric) if isinstance(metric, str) else as_metric(metric)
    examples = to_examples(questions)
    counter = itertools.count(1)

    def answer(number: int) -> EvaluationRow:
        try:
            return _answered(program, questions[number], examples[number], judge)
        finally:  # a question that failed is done, too; one that a signal ended is not
            if progress and isinstance(sys.exception(), Exception | None):
                progress(stage, min(next(counter), len(questions)), len(questions))

    results = (pace or Pace(threads, timeout)).run(answer, len(questions))
    failed = [result for result in results if isinstance(result, Exception)]
    unread = [error for error in failed if isinstance(error, AdapterParseError)]
    its_own = proven and all(map(_is_its_own, failed))
    if len(failed) == len(questions) and not unread and not its_own:
        raise _all_failed_error(failed, judge) from failed[0]
    pairs = zip(questions, results, strict=True)
    return Evaluation(
        tuple(_failed(one, row) if isinstance(row, Exception) else row for one, row in pairs)
    )


def _answered(
    program: dspy.Module, question: Question, example: Any, metric: Metric
) -> EvaluationRow:
    start = time.perf_counter()
    usage = SharedUsage()
    with (
        dspy.context(usage_tracker=usage),
        collect_spared_seconds() as spared,
        question_being_asked(question.id),
        gather_passages() as found,
    ):
        pred = program(**example.inputs())
    seconds = time.perf_counter() - start + sum(spared)
    prompt, completion = usage.tokens
    judged, named = metric.judged(example, pred), find_prediction(pred)
    passages = passages_of(named, found)
    return EvaluationRow(
        id=question.id,
        question=question.question,
        expected=question.answers,
        answer=answer_as_text(pred),
        score=judged.score,
        parts=judged.parts,
        read=str(named.get("read") or ""),
        context=context_of(named, passages),
        citations=citations_of(named, len(passages)),
        documents=tuple(passage.document for passage in passages),
        chunks=tuple(passage.id for passage in passages),
        seconds=seconds,
        prompt_tokens=prompt,
        completion_tokens=completion,
        group=question.group,
    )


def answer_as_text(pred: Any) -> str:
    """What people are shown of a prediction: its answer, and other plain outputs by name."""
    others = {name: value for name, value in other_outputs(pred).items() if _plain(value)}
    answer, named = answer_of(pred), [f"{name}: {value}" for name, value in others.items()]
    if isinstance(pred, dspy.Prediction | dspy.Example) and "answer" not in pred:
        return ", ".join(named) or answer
    return ", ".join([answer, *named])


def _plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _failed(question: Question, error: Exception) -> EvaluationRow:
    return EvaluationRow(
        question.id,
        question.question,
        question.answers,
        error=_described(error),
        group=question.group,
        reply=str(error.lm_response) if isinstance(error, AdapterParseError) else "",
    )


def _is_its_own(error: Exception) -> bool:
    """Whether a program failed for what it was asked with, and no backend or metric failed it."""
    if OF_METRIC in getattr(error, "__notes__", ()):
        return False
    if isinstance(error, InputError) or is_over_window(error) or is_content_filtered(error):
        return True
    return not isinstance(error, DSPyError | RagError | OSError | TimedOut)


def _all_failed_error(errors: Sequence[Exception], judge: Metric) -> CompileError:
    """Return the error that ends an evaluation; the first failure stands for all."""
    first = errors[0]
    where, hint = _blamed(first, judge)
    named = _described(first).removesuffix(".")
    said = f"All {len(errors)} questions failed; the first with {named}{where}."
    return CompileError(said, hint=hint)


def _blamed(error: Exception, judge: Metric) -> tuple[str, str]:
    """Where it was raised, where that is not plain from it, and what to do."""
    if OF_METRIC in getattr(error, "__notes__", ()):
        return ", in the metric", f"Try the metric {judge.name!r} on one prediction."
    if isinstance(error, RagError) and error.hint:
        return "", error.hint
    if isinstance(error, LMError):
        return "", cause_of(error, dspy.settings.lm).hint
    if isinstance(error, TimedOut):
        return "", (
            "A slow model wants shorter replies or more time: lower max_tokens under [lm], or "
            "raise timeout under [compile]; `rag lm check RECIPE` tells how long a reply takes."
        )
    if isinstance(error, DSPyError | RagError | OSError):
        return "", "Check the language model and the index with `rag ask`."
    return ", in the program", "Call the program with the inputs of one question to see where."


def _described(error: Exception) -> str:
    """The kind of an error, and the first line of what it says."""
    said = error.what if isinstance(error, RagError) else str(error)
    lines = said.splitlines() or [""]
    return f"{type(error).__name__}: {lines[0]}"
