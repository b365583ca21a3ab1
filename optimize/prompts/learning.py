"""Runs one of DSPy's optimizers on a program, and returns it with learned prompts.

What DSPy prints goes to a file. If a cap stops an optimizer on its way, or a writer's reply that it
cannot use, the best of the programs that it had evaluated on all of dev is what was learned.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import dspy
from dspy.utils.callback import BaseCallback
from dspy.utils.exceptions import DSPyError

from ragwright.optimize.progress import StageProgress
from ragwright.optimize.prompts.instructions import BetterTogether
from ragwright.optimize.prompts.lesson import Lesson, OptimizerSettings, takes_argument
from ragwright.optimize.prompts.state import copy_signature, prompt_hash, prompts_of, set_prompts
from ragwright.optimize.prompts.teleprompters import (
    OutsideTeleprompter,
    UserTeleprompter,
    failures_of_metric,
)
from ragwright.optimize.prompts.writers import NothingWritten, reading_writers
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.optimize.spending.metered import MeteredLM
from ragwright.optimize.workers import carried
from ragwright.programs.anatomy import copy_program
from ragwright.programs.fallback import error_line
from ragwright.programs.replies.adapter import ReplyAdapter

_OF_REPLIES = (
    ValueError, IndexError, KeyError, AttributeError, TypeError, ZeroDivisionError, AssertionError,
    RuntimeError,
)  # fmt: skip
"""What DSPy's optimizers raise where a writer's reply is not what they take it for."""

_ALL = 1_000_000
"""More errors than any run makes: failures are counted by us, none may end an optimizer."""


@dataclass(frozen=True, slots=True)
class PromptTrial:
    """A program that an optimizer evaluated.

    Attributes:
        number: In the order in which they began.
        prompts: A hash of its instructions and demonstrations.
        state: The instructions and demonstrations, by predictor.
        score: Mean over the questions, from 0 to 1.
        questions: How many there were.
        dev: Whether they were all of dev.
    """

    number: int
    prompts: str
    state: Mapping[str, Any]
    score: float
    questions: int
    dev: bool


@dataclass(frozen=True)
class OptimizerOutcome:
    """What an optimizer came to.

    Attributes:
        program: With the learned prompts.
        tried: All that it evaluated.
        stopped: Why it did not come to its end; empty if it did.
        lost: What could not be used of what a model wrote for it; empty if all could.
        unreadable: That, as it was written.
    """

    program: dspy.Module
    tried: tuple[PromptTrial, ...] = ()
    stopped: str = ""
    lost: str = ""
    unreadable: tuple[str, ...] = ()


class TriedLog(BaseCallback):
    """Collects every program that is evaluated, as it was when its evaluation began.

    Args:
        dev: The ids of the dev questions.
    """

    def __init__(self, dev: Iterable[str]) -> None:
        self.done: list[PromptTrial] = []
        self._dev = frozenset(dev)
        self._begun: dict[str, tuple[int, str, dict[str, Any]]] = {}
        self._lock = threading.Lock()

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        program = inputs["program"]
        with self._lock:
            number = len(self._begun)
            self._begun[call_id] = (number, prompt_hash(program), prompts_of(program))

    def on_evaluate_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        if outputs is None or not outputs.results:
            return
        number, name, state = self._begun[call_id]
        asked = {str(example.id) for example, *_ in outputs.results}
        score, whole = float(outputs.score) / 100, asked == self._dev
        with self._lock:
            self.done.append(PromptTrial(number, name, state, score, len(asked), whole))


class Traces(BaseCallback):
    """Has traces keep what each predictor was asked and said, whatever is done to it afterwards.

    Programs add their context to a prediction, or hand labels on as inputs. DSPy makes
    demonstrations of inputs and outputs together, and fails where a name is in both.
    """

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        trace = dspy.settings.trace
        if not trace or outputs is None:
            return
        # The newest but for what other threads of the program have said meanwhile.
        for place in range(len(trace) - 1, -1, -1):
            predictor, asked, said = trace[place]
            if said is outputs:
                kept = {name: value for name, value in asked.items() if name not in said}
                trace[place] = (predictor, kept, said.copy())
                return


class RepliesTold(BaseCallback):
    """Tells of every reply: a writer on a small machine writes for minutes, and judges nothing.

    Args:
        progress: Is told.
    """

    def __init__(self, progress: StageProgress) -> None:
        self._progress = progress
        self._counter = itertools.count(1)

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        self._progress("prompts, replies", next(self._counter), 0)


def run_optimizer(
    settings: OptimizerSettings, program: dspy.Module, lesson: Lesson, *, log: Path
) -> OptimizerOutcome:
    """Learn prompts; what DSPy's optimizers print is added to the file `log`.

    The result is a new program that counts as not compiled and holds no language model: DSPy
    hides the parameters of an inner program with `_compiled` set, and then silently saves an
    incomplete state.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    given = isinstance(
        settings, UserTeleprompter | OutsideTeleprompter
    )  # which may have writers of their own
    seen, stopped = TriedLog(question.id for question in lesson.dev), ""
    writes = settings.needs_writer or given
    told = [RepliesTold(lesson.progress)] if lesson.progress and writes else []
    callbacks = [*dspy.settings.get("callbacks", []), seen, *told]
    expected = (DSPyError, *_OF_REPLIES) if writes else (DSPyError,)
    configured = dspy.settings.adapter or ReplyAdapter(learns=False)
    adapter, written = reading_writers(configured, program)
    with (
        log.open("a", encoding="utf-8") as file,
        contextlib.redirect_stdout(file),
        contextlib.redirect_stderr(file),
        _no_handlers_left(file),
        carried(),
        _leased(lesson) as lent,
        dspy.context(
            callbacks=[*callbacks, Traces()],
            max_errors=_ALL,
            num_threads=lesson.threads,
            adapter=adapter,
        ),
    ):
        try:
            learned, stopped = _compiled(settings, program, lent)
        except (BudgetSpent, NothingWritten) as signal:
            learned, stopped = _best(program, seen.done), str(signal)
        except expected as error:
            # What a writer wrote could not be used, by DSPy or by the optimizer itself.
            logging.getLogger(__name__).exception("the optimizer ended early")
            learned, stopped = _best(program, seen.done), f"it failed with {error_line(error)}"
    result = copy_program(program)
    set_prompts(result, prompts_of(learned))
    unreadable = tuple(written.replies)
    return OptimizerOutcome(result, tuple(seen.done), stopped, written.note, unreadable)


@contextlib.contextmanager
def _no_handlers_left(file: IO[str]) -> Iterator[None]:
    """Take away the log handlers that were made inside for what is then a closed file.

    `logging.warning` of a process without a handler makes one, of what stands for stderr then.
    """
    try:
        yield
    finally:
        root = logging.getLogger()
        for handler in list(root.handlers):
            if getattr(handler, "stream", None) is file:
                root.removeHandler(handler)


@contextlib.contextmanager
def _leased(lesson: Lesson) -> Iterator[Lesson]:
    """The lesson with models that cannot be called any more when this ends.

    DSPy's executor leaves the threads of an evaluation that was cut short to themselves.
    """
    with contextlib.ExitStack() as ends:
        lm, writer = (
            ends.enter_context(model.leased()) if isinstance(model, MeteredLM) else model
            for model in (lesson.lm, lesson.writer)
        )
        if lm is not None:
            ends.enter_context(dspy.context(lm=lm))
        yield replace(lesson, lm=lm, writer=writer)


def _compiled(
    settings: OptimizerSettings, program: dspy.Module, lesson: Lesson
) -> tuple[dspy.Module, str]:
    """Learn, and say what of the optimizer's own did not work on the way."""
    student = copy_program(program)
    for predictor in student.predictors():
        copy_signature(predictor)
    if _wants_models(settings):
        student.set_lm(lesson.lm or dspy.settings.lm)
    train = lesson.trainset
    optimizer = settings.build(lesson)
    arguments = settings.arguments(lesson)
    if lesson.teacher is not None and takes_argument(optimizer, "teacher"):
        arguments = {"teacher": lesson.teacher, **arguments}
    learned = optimizer.compile(student, trainset=train, **arguments)
    learned.set_lm(None)
    return learned, failures_of_metric(optimizer)


def _wants_models(settings: OptimizerSettings) -> bool:
    """Whether DSPy refuses a student whose predictors have no language model of their own."""
    given = settings.teleprompter if isinstance(settings, UserTeleprompter) else None
    return isinstance(settings, BetterTogether) or isinstance(given, dspy.BetterTogether)


def _best(program: dspy.Module, done: Sequence[PromptTrial]) -> dspy.Module:
    """The first of the best on all of dev, else of those that were asked most; else as it was."""
    most = max((one.questions for one in done), default=0)
    fit = [one for one in done if one.dev] or [one for one in done if one.questions == most]
    best = copy_program(program)
    if fit:
        set_prompts(best, max(fit, key=lambda one: one.score).state)
    return best
