"""What a compile counts, tries and notes reaches the threads that a program begins by itself."""

from __future__ import annotations

import itertools
import logging
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path
from typing import Any
from weakref import WeakSet

import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.parallelizer import tqdm

from ragwright import HybridRetriever, JointOptimizer
from ragwright.optimize.prompts.learning import Traces, _no_handlers_left
from ragwright.optimize.questions.data import from_examples
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.workers import carried, run_tasks
from ragwright.programs.dspy_internals import keep_bars_apart
from ragwright.programs.knobs import KnobValues, hold_knobs
from tests.shapes.many import MapReduce
from tests.shapes.model import TalkingLM

from .test_joint import examples, found


def marked(_: int) -> object:
    return dspy.settings.get("mark")


def test_tasks_of_an_executor_run_in_the_context_of_who_hands_them_over() -> None:
    before = ThreadPoolExecutor.submit
    with ThreadPoolExecutor(2) as pool:

        def task(number: int) -> list[object]:
            with dspy.context(mark=number):
                return [*pool.map(marked, range(3)), pool.submit(marked, 0).result()]

        assert run_tasks(task, 2, threads=2, timeout=60) == [[0] * 4, [1] * 4]
        assert ThreadPoolExecutor.submit is before
        with dspy.context(mark=1), carried():
            with carried():
                assert pool.submit(marked, 0).result() == 1
            assert ThreadPoolExecutor.submit is not before
        with dspy.context(mark=1):
            assert pool.submit(marked, 0).result() is None
    assert ThreadPoolExecutor.submit is before


class Pooled(dspy.Module):
    """Searches in threads of an executor that it keeps."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        with ThreadPoolExecutor(1) as pool:
            found = pool.submit(self.find, question).result().passages
            return pool.submit(self.answer, context=found, question=question).result()


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_knobs_and_models_hold_in_threads_of_the_programs_own(world: Path, tmp_path: Path) -> None:
    lm, past = TalkingLM(), DummyLM([{"answer": "past"}] * 99)
    student, rows = Pooled(str(world / "index")), examples(14)
    optimizer = JointOptimizer(
        metric=found, prompts="none", lm=lm, run_dir=tmp_path / "run", retrieval_trials=1
    )
    with dspy.context(lm=past):
        compiled = optimizer.compile(
            student, trainset=rows[:6], valset=rows[6:10], testset=rows[10:]
        )
    assert sum(stage.calls for stage in compiled.compile_result.spend) == len(lm.calls) > 0
    assert not past.history
    assert not any(row.error for row in compiled.compile_result.compiled.rows)
    student.find.knobs.place = "find.knobs"
    with hold_knobs({"find.knobs": KnobValues(k=1)}), dspy.context(lm=lm), carried():
        (call,) = evaluate(student, from_examples(rows[:1]), found).rows
    assert len(call.chunks) == 1


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_tokens_of_all_threads_are_counted(world: Path) -> None:
    lm = TalkingLM()
    program = MapReduce(str(world / "index"))
    with dspy.context(lm=lm):
        (row,) = evaluate(program, from_examples(examples(1)), found).rows
    assert len(lm.calls) == 4
    assert (row.prompt_tokens, row.completion_tokens) == (4 * 9, 4 * 3)


class Alternating(dspy.Module):
    """Asks the same each time, in another order, as threads do."""

    asked = itertools.count()

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        queries = [question, question.lower()]
        found = [self.find(one, 1).passages
                 for one in queries[:: -1 if next(self.asked) % 2 else 1]]  # fmt: skip
        return self.answer(context=sorted(itertools.chain(*found)), question=question)


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_another_order_of_searches_is_not_taken_for_other_searches(
    world: Path, tmp_path: Path
) -> None:
    rows = examples(14)
    made = JointOptimizer(
        metric=found, prompts="none", lm=TalkingLM(), run_dir=tmp_path / "run", retrieval_trials=1,
        threads=1,
    )  # fmt: skip
    result = made.compile(
        Alternating(str(world / "index")), trainset=rows[:6], valset=rows[6:9], testset=rows[9:]
    ).compile_result
    assert [stage.calls for stage in result.spend if stage.stage == "pool"] == [0]


def test_bars_of_several_threads_are_kept_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten = iter([True])
    find = tqdm.tqdm._get_free_pos.__func__

    def forgetting(kind: Any, instance: Any = None) -> Any:
        if next(forgotten, False):
            kind._instances.clear()  # as DSPy does in another thread, which starts now
        return find(kind, instance)

    monkeypatch.setattr(tqdm.tqdm, "_instances", WeakSet())
    monkeypatch.setattr(tqdm.tqdm, "_get_free_pos", classmethod(forgetting))
    asked = [(dspy.Predict("question -> answer"), {"question": "?"})]
    hidden = dspy.Parallel(num_threads=2, disable_progress_bar=True)
    with dspy.context(lm=DummyLM([{"answer": "yes"}] * 9)):
        with pytest.raises(KeyError):
            hidden(asked)
        forgotten = iter([True])
        keep_bars_apart()
        assert hidden(asked)[0].answer == "yes"


def test_a_trace_keeps_what_was_asked_though_another_thread_has_spoken_since() -> None:
    predict = dspy.Predict("question -> answer")
    said, other = dspy.Prediction(answer="yes"), dspy.Prediction(answer="no")
    trace: list[Any] = [(predict, {"question": "?", "answer": "label"}, said),
                        (predict, {"question": "!"}, other)]  # fmt: skip
    with dspy.context(trace=trace):
        Traces().on_module_end("1", said)
    said["context"] = "added by the program"
    assert trace[0][1:] == ({"question": "?"}, dspy.Prediction(answer="yes"))
    assert trace[1][2] is other


def test_no_log_handler_of_a_closed_file_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    root, file = logging.getLogger(), StringIO()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr("sys.stderr", file)
    with _no_handlers_left(file):
        logging.warning("copied by reference")
        assert len(root.handlers) == 1
    assert root.handlers == []
    assert "copied by reference" in file.getvalue()
