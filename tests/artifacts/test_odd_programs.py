"""Programs of odd shapes are saved and loaded: awaited, nested, closures, retrievers of others."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import dspy
import pytest
from pydantic import BaseModel

from ragwright import HybridRetriever, JointOptimizer, build_lm, load, save
from ragwright.artifacts import pyfunc_model
from ragwright.artifacts.cli.view import show_answer
from ragwright.artifacts.state import load_state
from ragwright.optimize.questions.data import from_examples
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.metrics import citation_scores
from ragwright.programs.anatomy import as_callable, knobs_of
from ragwright.programs.outputs import answer_of
from ragwright.programs.recipe import Recipe
from ragwright.programs.streaming import Done, acall_program, stream
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Passage

ASKED = "What is the capital of Peru?"
QUESTIONS = from_examples([dspy.Example(claim=ASKED, answer="Lima").with_inputs("claim")])
QUESTIONS_ASKED = from_examples(
    [dspy.Example(question=ASKED, answer="Lima").with_inputs("question")]
)


class Foreign(dspy.Retrieve):
    def forward(self, query: str, k: int | None = None, **kwargs: Any) -> dspy.Prediction:
        return dspy.Prediction(passages=["Lima is the capital of Peru."])


class Awaited(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer, sure: float")

    async def aforward(self, question: str) -> dspy.Prediction:
        found = await self.find.acall(question)
        return await self.answer.acall(context=found.passages, question=question)


class Nested(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.parts = {"first": [Awaited(path), HybridRetriever(path)], "other": Foreign()}
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        stage: Any = self.parts["first"][1]  # type: ignore[index]
        found = [*stage(question, 1).passages, *self.parts["other"](question).passages]  # type: ignore[operator]
        return self.answer(context=found, question=question)


class Closure(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        stage = HybridRetriever(path)

        def look(query: str) -> str:
            """Look something up."""
            return "\n".join(stage(query, 2).passages)

        self.agent = dspy.ReAct("question -> answer", tools=[look], max_iters=2)

    def forward(self, **asked: Any) -> dspy.Prediction:
        return self.agent(**asked)


class Text(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> str:
        return str(self.answer(context=self.find(question).passages, question=question).answer)


class Keyed(dspy.Module):
    """Places with every kind of character in them, and an input that is a conversation."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = {"../../away": HybridRetriever(path)}
        self.parts = {
            "a/b": dspy.Predict("history: dspy.History, question -> answer"),
            "a:b": dspy.Predict("context, question -> answer"),
            "../../../away": dspy.Predict("image: dspy.Image, question -> found: list[dict]"),
            "two\nlines" * 30: dspy.Predict("question -> answer"),
        }

    def forward(self, question: str) -> dspy.Prediction:
        found = self.find["../../away"](question).passages
        return self.parts["a:b"](context=found, question=question)


@pytest.mark.parametrize("shape", [Awaited, Nested, Closure, Text, Keyed])
def test_it_is_saved_with_all_its_knobs_and_loaded(
    shape: Any, recipe: Recipe, tmp_path: Path
) -> None:
    program = shape(recipe.index.path)
    for leaf in knobs_of(program).values():
        leaf.values = leaf.values.replaced(k=3, weight_bm25=0.25)
    with dspy.context(lm=build_lm("extractive")):
        save(program, tmp_path / "odd")
    again = load(tmp_path / "odd", program=shape(recipe.index.path))
    assert {leaf.values.k for leaf in knobs_of(again).values()} == {3}
    assert "Lima" in str(as_callable(again)(question=ASKED))


class Reply(BaseModel):
    answer: str
    context: list[str]


class Pair(NamedTuple):
    answer: str
    context: list[str]


@dataclass
class Kept:
    answer: str
    context: list[str]


class Returning(dspy.Module):
    """Returns its answer as it is told, and calls its question by another name."""

    made: Any = None

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, claim: str) -> Any:
        found = self.find(claim).passages
        return self.made(self.answer(context=found, question=claim), found)


class Model(Returning):
    made = staticmethod(lambda said, found: Reply(answer=said.answer, context=found))


class Named(Returning):
    made = staticmethod(lambda said, found: Pair(said.answer, found))


class Data(Returning):
    made = staticmethod(lambda said, found: Kept(said.answer, found))


class Tuple(Returning):
    made = staticmethod(lambda said, found: (found, said))


class Table(Returning):
    made = staticmethod(lambda said, found: {"answer": said.answer, "context": found})


class Nothing(Returning):
    made = staticmethod(lambda said, found: None)


class Found(Returning):
    def forward(self, claim: str) -> Any:
        return self.find(claim)


@pytest.mark.parametrize("shape", [Model, Named, Data, Tuple, Table, Nothing, Found])
def test_whatever_a_program_returns_is_answered_with(
    shape: Any, recipe: Recipe, tmp_path: Path
) -> None:
    from ragwright.artifacts.pyfunc_model import AnswerModel, ModelInput

    with dspy.context(lm=build_lm("extractive")):
        save(shape(recipe.index.path), tmp_path / "odd")
    model = AnswerModel()
    model.program = load(tmp_path / "odd", program=shape(recipe.index.path))
    (said,) = model.predict(None, [ModelInput(question=ASKED)])

    async def streamed() -> list[Any]:
        return [event async for event in stream(model.program, ASKED)]

    events = asyncio.run(streamed())
    wanted = "" if shape in (Nothing, Found) else "Lima"
    assert wanted in said.answer
    assert bool(said.answer) is bool(wanted)
    assert said.documents[0] == "Peru"
    assert type(events[-1]) is Done
    assert wanted in answer_of(events[-1].prediction)
    with dspy.context(lm=build_lm("extractive")):
        (row,) = evaluate(
            model.program, QUESTIONS, lambda gold, pred: wanted in answer_of(pred)
        ).rows
    assert (row.score, row.documents[0]) == (1.0, "Peru")


class Slotted(dspy.Module):
    __slots__ = ("answer", "find")

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.find(question).passages, question=question)


def test_what_stands_in_slots_is_refused_by_name(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Slotted keeps 'answer', 'find' in __slots__"):
        save(Slotted(recipe.index.path), tmp_path / "slotted")
    student = Slotted(recipe.index.path)
    examples = [dspy.Example(question=ASKED, answer="Lima").with_inputs("question")] * 12
    with pytest.raises(InputError, match="Slotted keeps 'answer', 'find' in __slots__"):
        JointOptimizer(metric="answer_em", lm=build_lm("extractive"), run_dir=tmp_path).compile(
            student, trainset=[one.copy(id=str(n)) for n, one in enumerate(examples)]
        )


class Made(dspy.Module):
    """Makes its predictor while it runs, and returns a table."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)

    def forward(self, question: str) -> dict[str, Any]:
        found = self.find(question).passages
        said = dspy.Predict("context, question -> answer")(context=found, question=question)
        return {"answer": said.answer, "context": "".join(found), "sure": True}


@pytest.mark.parametrize("shape", [Made, Text])
def test_a_door_answers_with_the_artifacts_model_whatever_the_program_returns(
    shape: Any, recipe: Recipe, tmp_path: Path
) -> None:
    from ragwright.artifacts.pyfunc_model import AnswerModel, ModelInput

    with dspy.context(lm=build_lm("extractive")):
        save(shape(recipe.index.path), tmp_path / "odd")
    program = load(tmp_path / "odd", program=shape(recipe.index.path))
    assert "Lima" in answer_of(asyncio.run(acall_program(program, {"question": ASKED})))
    model = AnswerModel()
    model.program = program
    (said,) = model.predict(None, [ModelInput(question=ASKED)])
    assert "Lima" in said.answer
    assert json.loads(said.outputs) == ({"sure": True} if shape is Made else {})
    assert len(said.documents) == len(said.context) > 1


def test_prompts_of_every_place_have_files_of_their_own(recipe: Recipe, tmp_path: Path) -> None:
    with dspy.context(lm=build_lm("extractive")):
        version = save(Keyed(recipe.index.path), tmp_path / "keyed")
    assert sorted(file.name[:14] for file in (version / "prompts").iterdir()) == [
        "parts[_.._.._.", "parts[_a_b_].m", "parts[_a_b_]~2", "parts[_two_lin",
    ]  # fmt: skip


class Unwritten(dspy.Module):
    """A predictor beside the others that DSPy writes no prompt for."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")
        self.code = dspy.Predict('question -> code: dspy.Code["python"]')

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.find(question).passages, question=question)


def test_a_signature_that_dspy_cannot_write_is_said_in_its_prompt_alone(
    recipe: Recipe, tmp_path: Path
) -> None:
    with dspy.context(lm=build_lm("extractive")):
        version = save(Unwritten(recipe.index.path), tmp_path / "odd")
    assert "DSPy cannot write a prompt" in (version / "prompts" / "code.md").read_text()
    again = load(tmp_path / "odd", program=Unwritten(recipe.index.path))
    assert "Lima" in again(question=ASKED).answer


SCRIPT = """
import dspy
from ragwright import HybridRetriever
class Support(dspy.Module):
    def __init__(self, path):
        super().__init__()
        self.path = path
        self.find = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")
    def forward(self, question):
        return self.answer(context=self.find(question).passages, question=question)
"""


@pytest.mark.parametrize("name", ["01_rag", "my-rag", "rag"])
def test_a_program_of_a_script_is_saved_whatever_the_script_is_called(
    name: str, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / f"{name}.py").write_text(SCRIPT, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    script = importlib.import_module(name)
    monkeypatch.setitem(sys.modules, name, script)
    with dspy.context(lm=build_lm("extractive")):
        save(script.Support(recipe.index.path), tmp_path / "saved")
        assert "Lima" in load(tmp_path / "saved", trust=[name])(question=ASKED).answer
    with pytest.raises(InputError, match=f"--trust {name}|trust=\\['{name}'\\]"):
        load(tmp_path / "saved")


class MadeAwaited(Made):
    """The same for who awaits it, and in threads that DSPy begins."""

    async def aforward(self, question: str) -> dspy.Prediction:
        found = (await self.find.acall(question)).passages
        made = dspy.Predict("context, question -> answer")
        return await made.acall(context=found, question=question)


def test_a_loaded_program_asks_its_model_by_predictors_that_it_makes(
    recipe: Recipe, tmp_path: Path
) -> None:
    with dspy.context(lm=build_lm("extractive")):
        save(MadeAwaited(recipe.index.path), tmp_path / "odd")
    program = load(tmp_path / "odd", program=MadeAwaited(recipe.index.path))
    assert "Lima" in program(question=ASKED)["answer"]
    assert "Lima" in asyncio.run(program.acall(question=ASKED)).answer
    asked = [(program, {"question": ASKED})] * 3
    for said in dspy.Parallel(num_threads=2, disable_progress_bar=True)(asked):
        assert "Lima" in said["answer"]
    assert dspy.settings.lm is None
    (row,) = evaluate(program, QUESTIONS_ASKED, lambda gold, pred: "Lima" in answer_of(pred)).rows
    assert row.score == 1.0


class Locked(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()
        self.answer = dspy.Predict("question -> answer")


def test_what_cannot_be_copied_is_loaded_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    program = Locked()
    program.answer.signature = program.answer.signature.with_instructions("Be short.")
    again = Locked()
    load_state(again, program.dump_state())
    assert again.answer.signature.instructions == "Be short."
    assert caplog.text == ""


@pytest.mark.parametrize(
    "beside",
    [
        {"citations": "[1]"}, {"citations": ["[1]"]}, {"citations": 3}, {"citations": [9, 0, -1]},
        {"citations": [1], "passages": ["Lima."]}, {"passages": None, "context": None},
        {"citations": [1.0, True], "passages": "Lima", "context": 7},
        {"citations": [1], "passages": [Passage("Lima is the capital.")]},
    ],
    ids=str,
)  # fmt: skip
def test_what_a_program_calls_citations_and_passages_may_be_anything(
    beside: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    class Loose(dspy.Module):
        def forward(self, question: str) -> dspy.Prediction:
            return dspy.Prediction(answer="Lima", **beside)

    program = Loose()
    for as_json in (False, True):
        show_answer(ASKED, program(question=ASKED), as_json)
    assert "Lima" in capsys.readouterr().out
    model = pyfunc_model.AnswerModel()
    model.program = program
    (given,) = model.predict(None, [pyfunc_model.ModelInput(question=ASKED)])
    done = asyncio.run(_last(program))
    (row,) = evaluate(program, QUESTIONS_ASKED, "answer_f1").rows
    assert (given.answer, answer_of(done.prediction), row.answer) == ("Lima",) * 3
    gold = dspy.Example(evidence=["Lima"], documents=[])
    known = [one for one in beside.get("passages") or () if isinstance(one, Passage)]
    assert list(row.citations) == given.citations == [1] * len(known)
    assert citation_scores(gold, program(question=ASKED)) == (len(known),) * 2


async def _last(program: dspy.Module) -> Done:
    events = [event async for event in stream(program, ASKED)]
    assert isinstance(events[-1], Done), events
    return events[-1]
