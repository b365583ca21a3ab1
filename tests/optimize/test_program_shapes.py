"""Forty shapes of RAG programs as they are in public, compiled with five optimizers.

Every second one with one of them; `make attack` compiles each with all.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dspy
import pytest

from ragwright import Caps, JointOptimizer, load, save
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.workers import carried
from ragwright.programs.anatomy import as_callable, copy_program, knobs_of, make_savable
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.outputs import answer_of
from ragwright.retrievers.errors import CompileError
from tests.shapes.listed import SHAPES, Shape
from tests.shapes.model import TalkingLM

from .test_joint import examples

pytestmark = [
    pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The 'prefix' argument:DeprecationWarning"),  # DSPy's own
]

OPTIONS: dict[str, dict[str, object]] = {
    "bootstrap": {},
    "mipro": {"auto": "", "instructions": 2, "trials": 2, "bootstrapped_demos": 1},
    "copro": {"breadth": 2, "depth": 1},
    "simba": {"batch": 4, "candidates": 2, "steps": 1},
    "gepa": {"answers": 16},
}
CALLS = 2000
EVERY = bool(os.environ.get("RAGWRIGHT_SHAPES"))
PAIRS = [
    pytest.param(shape, optimizer, number + place, id=f"{shape.name}-{optimizer}")
    for number, shape in enumerate(SHAPES)
    for place, optimizer in enumerate(OPTIONS)
    if EVERY or (number % 2 == 0 and place == number // 2 % len(OPTIONS))
]


def holds(gold: dspy.Example, pred: Any) -> bool:
    return str(gold.answer) in (answer_of(pred) or str(pred))


def strict(gold: dspy.Example, pred: Any, trace: object = None) -> bool:
    return holds(gold, pred)


def named(gold: dspy.Example, pred: Any, trace: object = None, pred_name: object = None) -> float:
    return float(holds(gold, pred))


def told(
    gold: dspy.Example, pred: Any, trace: object, pred_name: object, pred_trace: object
) -> dspy.Prediction:
    right = holds(gold, pred)
    return dspy.Prediction(score=float(right), feedback="fine" if right else "wrong town")


METRICS: tuple[Callable[..., Any], ...] = (holds, strict, named, told)


def rows(shape: Shape, count: int = 14) -> list[dspy.Example]:
    made = []
    for example in examples(count):
        fields = {shape.question: example.question, **example.labels().toDict()}
        made.append(dspy.Example(**fields).with_inputs(shape.question))
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("shape", "optimizer", "number"), PAIRS)
def test_it_is_compiled_and_answers_as_it_did_in_the_compile(
    shape: Shape, optimizer: str, number: int, world: Path, tmp_path: Path
) -> None:
    path, lm, asked = str(world / "index"), TalkingLM(), rows(shape)
    metric = METRICS[number % len(METRICS)]
    made = JointOptimizer(
        metric=metric, prompts=optimizer, lm=lm, run_dir=tmp_path / "run", retrieval_trials=1,
        shortlist=1, options=OPTIONS[optimizer], caps=Caps(calls=CALLS), threads=4,
    )  # fmt: skip
    compiled = made.compile(
        shape.made(path), trainset=asked[:6], valset=asked[6:10], testset=asked[10:]
    )
    result = compiled.compile_result
    assert type(compiled) is shape.made
    assert tuple(result.setting) == tuple(knobs_of(compiled)) == shape.stages
    assert [row.error for done in result.test.values() for row in done.rows if row.error] == []
    assert sum(stage.calls for stage in result.spend) == len(lm.calls) <= CALLS
    assert (tmp_path / "run" / "report" / "report.html").is_file()
    compiled.save(tmp_path / "program.json")
    again = shape.made(path)
    make_savable(again)  # which DSPy alone does not for programs with a `dspy.Retrieve`
    again.load(tmp_path / "program.json")
    assert again.dump_state() == compiled.dump_state()
    with dspy.context(lm=lm):
        live = evaluate(as_callable(compiled), result.splits.test, metric)
    for now, then in zip(live.rows, result.compiled.rows, strict=True):
        assert (now.answer, now.score) == (then.answer, then.score)
        assert set(now.chunks) == set(then.chunks)


class Remembers(dspy.Module):
    """Keeps what it found on its class, where all its copies find it."""

    found: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        passages = self.found.get(question) or self.search(question).passages
        self.found[question] = passages
        return self.answer(context=passages, question=question)


@pytest.mark.usefixtures("few_are_enough")
def test_a_cache_that_all_copies_share_is_told(world: Path, tmp_path: Path) -> None:
    asked = examples(24)
    made = JointOptimizer(
        metric=holds, prompts="none", lm=TalkingLM(), run_dir=tmp_path, retrieval_trials=1
    )
    program = Remembers(str(world / "index"))
    compiled = made.compile(program, trainset=asked[:8], valset=asked[8:16], testset=asked[16:])
    assert any("did not ask 'search' again" in note for note in compiled.compile_result.notes)


class KeepsAnswers(Remembers):
    """Keeps its answers, where all its copies find them."""

    known: dict[str, dspy.Prediction] = {}  # noqa: RUF012

    def forward(self, question: str) -> dspy.Prediction:
        if question not in self.known:
            found = self.search(question).passages
            self.known[question] = self.answer(context=found, question=question)
        return self.known[question]


@pytest.mark.usefixtures("few_are_enough")
def test_answers_that_all_copies_share_are_no_compile(world: Path, tmp_path: Path) -> None:
    asked = examples(24)
    made = JointOptimizer(
        metric=holds, prompts="none", lm=TalkingLM(), run_dir=tmp_path, retrieval_trials=1
    )
    program = KeepsAnswers(str(world / "index"))
    for _ in ("begun", "gone on with"):
        with pytest.raises(CompileError, match="keeps its answers where every copy"):
            made.compile(program, trainset=asked[:8], valset=asked[8:16], testset=asked[16:])


def test_a_copy_has_knobs_of_its_own_wherever_they_are(world: Path) -> None:
    for shape in SHAPES:
        program = shape.made(str(world / "index"))
        theirs, ours = knobs_of(program), knobs_of(copy_program(program))
        assert (shape.name, tuple(theirs)) == (shape.name, shape.stages)
        assert tuple(ours) == shape.stages
        assert not {id(leaf) for leaf in theirs.values()} & {id(leaf) for leaf in ours.values()}


SAVED = SHAPES if EVERY else SHAPES[::4]

LOADED = """
import json, sys
from pathlib import Path
from ragwright import load
from ragwright.programs.anatomy import as_callable
from ragwright.programs.outputs import answer_of
from ragwright.retrievers.errors import CompileError
from tests.shapes.listed import SHAPES
from tests.shapes.model import TalkingLM

home, question = Path(sys.argv[1]), sys.argv[2]
said = {}
for shape in SHAPES:
    if not (home / shape.name).is_dir():
        continue
    program = load(home / shape.name, trust=[shape.made.__module__], lm=TalkingLM())
    said[shape.name] = answer_of(as_callable(program)(**{shape.question: question}))
print(json.dumps(said))
"""


def test_all_are_saved_and_give_the_same_answers_in_another_process(
    world: Path, tmp_path: Path
) -> None:
    path, question = str(world / "index"), examples(1)[0].question
    said = {}
    for shape in SAVED:
        program = shape.made(path)
        for leaf in knobs_of(program).values():
            leaf.values = leaf.values.replaced(k=2, weight_dense=0.25)
        with dspy.context(lm=TalkingLM()), carried():
            save(program, tmp_path / shape.name, options={"path": path})
            said[shape.name] = answer_of(as_callable(program)(**{shape.question: question}))
        # Here too, by a program that is given.
        again = load(tmp_path / shape.name, program=shape.made(path), lm=TalkingLM())
        assert answer_of(as_callable(again)(**{shape.question: question})) == said[shape.name]
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOADED, str(tmp_path), question],
        cwd=root, capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{root}:{os.environ['PYTHONPATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == said
