"""What programs take and give: inputs by type, signatures in recipes, columns, tools."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Literal

import dspy
import pytest
from dspy.utils import DummyLM

from ragwright.optimize.questions.columns import Columns
from ragwright.optimize.questions.data import read_questions
from ragwright.programs.anatomy import hidden_knobs, stages_of
from ragwright.programs.build import build_program, build_signature
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.interface import ProgramInputs
from ragwright.programs.kinds import RerankRAG
from ragwright.programs.lm import build_lm
from ragwright.programs.outputs import answer_of, other_outputs
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError, RecipeError

SIGNATURE = "context, question, product -> answer, urgent: bool"


def recipe(path: str = "index", **program: Any) -> Recipe:
    return Recipe.checked({"index": {"path": path, "embedder": "hash"}, "program": program})


class Typed(dspy.Module):
    def forward(
        self, ticket: str, level: Literal["low", "high"], tags: list[str] | None = None, n: int = 1
    ) -> dspy.Prediction:
        return dspy.Prediction(reply=f"{ticket} {level} {tags} {n}", sure=True)


class Awaited(dspy.Module):
    def __init__(self) -> None:
        super().__init__()
        self.out = dspy.Predict("question, product: int -> answer")

    async def aforward(self, question: str, product) -> dspy.Prediction:  # type: ignore[no-untyped-def]
        return await self.out.acall(question=question, product=product)


def test_inputs_are_read_from_forward_aforward_and_signatures() -> None:
    typed = ProgramInputs.of(Typed())
    assert (typed.question, typed.required) == ("ticket", ("level",))
    called = typed.call("Help", {"level": "low", "tags": '["a"]', "n": "3"}, written=True)
    assert called == {"ticket": "Help", "level": "low", "tags": ["a"], "n": 3}
    assert ProgramInputs.of(Awaited()).types == {"product": int}
    agent = ProgramInputs.of(dspy.ReAct("question, product -> answer", tools=[]))
    assert agent.required == ("product",)
    assert ProgramInputs.of(dspy.ChainOfThought("query -> answer")).question == "query"


@pytest.mark.parametrize(
    ("given", "named"),
    [({}, "level"), ({"level": "odd"}, "level"), ({"level": "low", "n": "x"}, "n"),
     ({"level": "low", "x": 1}, "x")],
)  # fmt: skip
def test_a_wrong_input_is_refused_by_its_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(InputError, match=f"^{named}: "):
        ProgramInputs.of(Typed()).call("Help", given)


def test_outputs_of_any_names_are_read() -> None:
    found = Typed()("Help", "low")
    assert answer_of(found) == "Help low None 1"
    assert other_outputs(found) == {"reply": "Help low None 1", "sure": True}
    assert answer_of("plain") == "plain"


def test_a_recipe_asks_by_another_signature(index_path: str) -> None:
    program = build_program(
        recipe(index_path, signature=SIGNATURE, instructions="Be kind."), lm=build_lm("extractive")
    )
    assert program.respond.signature.instructions == "Be kind."
    reply = program(question="What is the capital of France?", product="lamp")
    assert "Paris" in reply.answer
    assert isinstance(reply.urgent, bool)
    assert reply.citations == []
    with pytest.raises(InputError, match="product"):
        program(question="What?")


@pytest.mark.parametrize(
    ("kind", "said", "cited", "invented"),
    [("list[int]", "[1, 9, 1]", [1], 1), ("list[int]", "[9]", [], 1), ("str", "[1]", "[1]", 0),
     ("int", "2", 2, 0), ("list[str]", '["one", "two"]', ["one", "two"], 0),
     ("list[dict[str, int]]", '[{"page": 1}]', [{"page": 1}], 0)],
)  # fmt: skip
def test_citations_and_confidence_of_another_signature_may_be_of_any_type(
    kind: str, said: str, cited: object, invented: int, index_path: str
) -> None:
    asked = f"context, question -> answer, citations: {kind}, confidence"
    program = build_program(recipe(index_path, kind="hybrid", signature=asked, abstain=True))
    program.knobs.values = program.knobs.values.replaced(abstain_below=0.5)
    answered = {"answer": "Paris", "citations": said}
    lm = DummyLM([{**answered, "confidence": sure} for sure in ("high", "0.9", "20%")])
    with dspy.context(lm=lm):
        found, sure, unsure = (program(question="Which town?") for _ in range(3))
    assert (found.citations, found.invented) == (cited, invented)
    assert [one.abstained for one in (found, sure, unsure)] == [False, False, True]
    assert unsure.citations == []
    assert "Paris" in found._repr_html_()


@pytest.mark.parametrize(
    ("wrong", "why"),
    [("question -> answer", "context"), ("nothing", "cannot be read"),
     ("context, question, where -> answer", "where"), ("context, question -> x: foo", "foo")],
)  # fmt: skip
def test_a_signature_that_does_not_do_is_refused(wrong: str, why: str) -> None:
    with pytest.raises(RecipeError, match=why):
        build_program(recipe(signature=wrong))


@pytest.mark.parametrize(
    "kind",
    ["antigravity", "list[os.environ]", "os.environ['HOME']", "os.abort", "typing.sys.exit",
     "dspy.settings", "dspy.__doc__", "(lambda: 1)()", "Generic", "__import__",
     "list[" * 300 + "str" + "]" * 300, "str = print(1)", "str, *more",
     "str, __class__", "str): pass\nimport antigravity\ndef g(x", "str, " * 2000 + "x"],
)  # fmt: skip
def test_a_signature_names_types_alone(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """DSPy would import what it does not know, and show what it found."""
    monkeypatch.setenv("A_SECRET", "of-the-environment")
    before = set(sys.modules)
    with pytest.raises(RecipeError, match="signature") as refused:
        build_signature(recipe(signature=f"context, question -> answer: {kind}"))
    assert "of-the-environment" not in str(refused.value)
    assert set(sys.modules) - before <= {"dspy.utils.dummies"}


@pytest.mark.parametrize(
    "kind",
    ["str", "int | None", "Optional[int]", "typing.List[str]", "Literal['a', 'b']", "dspy.Image",
     "dict[str, list[float]]", "tuple[int, str]", "Any"],
)  # fmt: skip
def test_a_signature_may_name_the_types_of_python_and_dspy(kind: str) -> None:
    asked = build_signature(recipe(signature=f"context, question -> answer: {kind}"))
    assert (
        asked.output_fields["answer"].annotation
        == dspy.Signature(f"a -> answer: {kind}").output_fields["answer"].annotation
    )


def test_columns_of_a_training_set_are_inputs_and_labels(tmp_path: Path) -> None:
    rows = [{"question": "Where?", "answer": "here", "product": name, "urgent": False}
            for name in ("lamp", "fan", "fan")]  # fmt: skip
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_questions(file, Columns.of(recipe(signature=SIGNATURE)))
    assert found.duplicates == 1
    lamp, fan = (question.example for question in found.questions)
    assert lamp is not None
    assert fan is not None
    assert lamp.inputs().toDict() == {"question": "Where?", "product": "lamp"}
    assert (fan.product, fan.urgent) == ("fan", False)
    with pytest.raises(InputError, match="product"):
        read_questions(file)
    file.write_text(json.dumps({"question": "Where?", "answer": "here"}) + "\n")
    with pytest.raises(InputError, match=r"rows.jsonl:1: product"):
        read_questions(file, Columns.of(recipe(signature=SIGNATURE)))


def test_tools_show_what_they_take() -> None:
    assert list(dspy.Tool(RerankRAG("index")).args) == ["question", "where"]
    assert list(dspy.Tool(HybridRetriever("index")).args) == ["query", "k", "where"]


def test_knobs_that_a_tool_alone_holds_are_found() -> None:
    stage = HybridRetriever("index")

    def look(query: str) -> str:
        return str(stage(query))

    agent = dspy.ReAct("question -> answer", tools=[look])
    assert list(hidden_knobs(agent)) == list(stages_of(agent))
    assert not hidden_knobs(RerankRAG("index"))
