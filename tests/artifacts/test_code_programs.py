"""Programs that run code which a model wrote: compiled, saved, loaded, refused without Deno."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM

from ragwright import HybridRetriever, JointOptimizer, load, save
from ragwright.programs.recipe import Recipe
from ragwright.programs.sandbox import check_sandbox
from ragwright.retrievers.errors import MissingExtra, ModelError

pytestmark = [
    pytest.mark.filterwarnings("ignore:ProgramOfThought is deprecated:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:CodeAct is deprecated:DeprecationWarning"),
]

COUNTRIES = {"Peru": "Lima", "Norway": "Oslo", "Kenya": "Nairobi"}


def counted(text: str) -> int:
    """Count the letters."""
    return len(text)


class Thinks(dspy.Module):
    def __init__(self, path: str) -> None:
        super().__init__()
        self.find = HybridRetriever(path)
        self.think = dspy.ProgramOfThought("context, question -> answer", max_iters=1)

    def forward(self, question: str) -> dspy.Prediction:
        return self.think(context=self.find(question).passages, question=question)


class Acts(Thinks):
    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.think = dspy.CodeAct("context, question -> answer", tools=[counted], max_iters=1)


class Explores(dspy.Module):
    """The stage is a tool that the code of a model calls."""

    def __init__(self, path: str) -> None:
        super().__init__()
        stage = HybridRetriever(path)

        def look(query: str) -> list[str]:
            """Look something up."""
            return [str(passage) for passage in stage(query, 2).passages]

        self.explore = dspy.RLM("question -> answer", tools=[look], max_iters=2)

    def forward(self, question: str) -> dspy.Prediction:
        return self.explore(question=question)


def model(shape: type[dspy.Module]) -> DummyLM:
    """Writes code for every question; the code searches where it can."""
    searching = 'SUBMIT(answer=" ".join(look(query=question)))'
    written = searching if shape is Explores else "print(1 + 1)"
    return DummyLM([
        {"reasoning": "known", "generated_code": written, "code": written, "finished": "True",
         "answer": "Lima"}
    ] * 400)  # fmt: skip


def compiled(shape: Any, path: str, folder: Path) -> dspy.Module:
    rows = [
        dspy.Example(question=f"What is the capital of {name}? ({number})", answer=answer)
        .with_inputs("question")
        for number in range(3)
        for name, answer in COUNTRIES.items()
    ]  # fmt: skip
    optimizer = JointOptimizer(
        metric=lambda gold, pred, trace=None: gold.answer in pred.answer, lm=model(shape),
        prompts="bootstrap", retrieval_trials=2, run_dir=folder / "run", max_bootstrapped_demos=1,
        max_labeled_demos=0,
    )  # fmt: skip
    return optimizer.compile(shape(path), trainset=rows[:3], valset=rows[3:6], testset=rows[6:])


@pytest.mark.parametrize("shape", [Thinks, Acts, Explores])
def test_it_is_compiled_saved_and_loaded_with_any_interpreter(
    shape: Any, recipe: Recipe, tmp_path: Path
) -> None:
    path = recipe.index.path
    with dspy.context(interpreter_factory=dspy.LocalInterpreter, lm=model(shape)):
        program = compiled(shape, path, tmp_path)
        result: Any = program.compile_result
        assert result.compiled.mean >= 1 / 3
        assert len(result.setting) == 1
        assert not [note for note in result.notes if "never asked" in note]
        save(program, tmp_path / "kept")
        again = load(tmp_path / "kept", program=shape(path), lm=model(shape))
        assert "Lima" in again(question="What is the capital of Peru?").answer


def test_a_model_that_has_no_name_to_build_it_by_is_asked_for(
    recipe: Recipe, tmp_path: Path
) -> None:
    with dspy.context(interpreter_factory=dspy.LocalInterpreter, lm=model(Thinks)):
        save(Thinks(recipe.index.path), tmp_path / "kept")
        with pytest.raises(ModelError, match="'dummy' is not a language model") as said:
            load(tmp_path / "kept", program=Thinks(recipe.index.path))
    assert "lm=..." in said.value.hint


@pytest.mark.parametrize("shape", [Thinks, Acts, Explores])
def test_without_a_sandbox_it_is_refused_before_anything_is_asked(
    shape: Any, recipe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with dspy.context(interpreter_factory=dspy.LocalInterpreter, lm=model(shape)):
        save(shape(recipe.index.path), tmp_path / "kept")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "deno", None)
    with pytest.raises(MissingExtra, match=r"runs code that a language model wrote.*Deno") as said:
        compiled(shape, recipe.index.path, tmp_path)
    assert "dspy[deno]" in said.value.hint
    assert not (tmp_path / "run" / "calls.sqlite").exists()
    with pytest.raises(MissingExtra, match="Deno"):
        load(tmp_path / "kept", program=shape(recipe.index.path))


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # DSPy's pipes to Deno
@pytest.mark.parametrize("shape", [Thinks, Acts, Explores])
def test_it_answers_in_dspys_own_sandbox_once_saved_and_loaded(
    shape: Any, recipe: Recipe, tmp_path: Path
) -> None:
    try:
        check_sandbox(Thinks(recipe.index.path), start=True)
    except MissingExtra as error:
        pytest.skip(error.what)
    with dspy.context(lm=model(shape)):
        save(shape(recipe.index.path), tmp_path / "kept")
    again = load(tmp_path / "kept", program=shape(recipe.index.path), lm=model(shape))
    assert "Lima" in again(question="What is the capital of Peru?").answer
