"""Every optimizer, over HTTP, and what each needs before it spends a call."""

from __future__ import annotations

import enum
import json
from datetime import date
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from dspy.teleprompt import Ensemble, KNNFewShot, LabeledFewShot, Teleprompter

from ragwright.optimize import Run, compile_program
from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.prompts.optimizers import (
    OPTIMIZERS,
    check_optimizer,
    optimizer_settings,
    settings_with_options,
)
from ragwright.optimize.prompts.state import prompts_of, set_prompts
from ragwright.optimize.prompts.teleprompters import custom_optimizer_settings, failures_of_metric
from ragwright.optimize.questions.data import Question, from_examples
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.metered import MeteredLM, Prices
from ragwright.programs.build import build_program
from ragwright.programs.lm import build_lm
from ragwright.programs.sections import CompileSection
from ragwright.retrievers.errors import CompileError, InputError, RecipeError

from .conftest import recipe
from .scripted import TOLD, Writing, few, lm_of, small

pytestmark = pytest.mark.usefixtures("few_are_enough")

OPTIONS: dict[str, dict[str, Any]] = {
    "labeled": {},
    "bootstrap": {},
    "bootstrap-random-search": {},
    "bootstrap-optuna": {},
    "copro": {"breadth": 2, "depth": 1},
    "mipro": {"auto": "", "instructions": 2, "trials": 2},
    "simba": {"batch": 8, "candidates": 2, "steps": 1},
    "gepa": {"answers": 30},
    "infer-rules": {"candidates": 1},
    "better-together": {"strategy": "infer-rules -> labeled"},
}
WRITING = ("copro", "mipro", "simba", "gepa", "infer-rules", "better-together")
SHOWN = [dspy.Example(question="a").with_inputs("question")]
QUESTIONS = [Question(str(number), f"what is {number}?", (str(number),)) for number in range(12)]


def wanted(world: Path, optimizer: str, **settings: Any) -> Any:
    section = {"optimizer": optimizer, "options": OPTIONS.get(optimizer, {}),
               "retrieval_trials": 0, "shortlist": 1, "threads": 4, "margin": 0.0}  # fmt: skip
    return recipe(world, compile=section | settings)


def test_every_name_is_tried() -> None:
    assert set(OPTIONS) | {"none"} == set(OPTIMIZERS)


@pytest.mark.parametrize("name", OPTIONS)
def test_it_learns_end_to_end_and_its_result_is_all_state(
    server: Writing, world: Path, tmp_path: Path, name: str
) -> None:
    server.fail("429", times=1)
    server.fail("garbage", times=1)
    lm = lm_of(server)
    result = compile_program(wanted(world, name), few(world), lm=lm, run_dir=tmp_path)
    assert result.chosen in ("prompts only", "knobs and prompts")
    predict = result.program.respond
    assert predict.demos or TOLD in predict.signature.instructions
    assert (TOLD in predict.signature.instructions) == (name in WRITING and name != "simba")
    assert sum(stage.calls for stage in result.spend) == len(server.calls)
    assert sum(stage.completion_tokens for stage in result.spend) > 0
    fresh = build_program(result.recipe)
    fresh.load_state(result.program.dump_state())
    with dspy.context(lm=lm):
        question = result.splits.test[0].question
        assert fresh(question=question).answer == result.compiled.rows[0].answer


def test_gepa_is_told_why_an_answer_is_wrong(server: Writing, world: Path, tmp_path: Path) -> None:
    compile_program(wanted(world, "gepa"), few(world), lm=lm_of(server), run_dir=tmp_path)
    read = [str(call.messages) for call in server.calls if "new_instruction" in call.wanted]
    assert read
    assert all("Wrong: the answer was" in text for text in read)
    assert any("stood in the context and was misread" in text for text in read)


def test_mipro_writes_from_a_description_not_from_source(
    server: Writing, world: Path, tmp_path: Path
) -> None:
    compile_program(wanted(world, "mipro"), few(world), lm=lm_of(server), run_dir=tmp_path)
    sent = [str(call.messages) for call in server.calls if "program_code" in call.fields]
    assert sent
    assert all("A program of the kind RerankRAG" in text for text in sent)
    assert not any("def forward" in text or "self." in text for text in sent)
    written = next(call.fields["program_code"] for call in server.calls
                   if "program_code" in call.fields)  # fmt: skip
    assert len(written.splitlines()) <= 10
    assert "context, question -> answer, citations" in written


@pytest.mark.parametrize("name", WRITING)
def test_what_does_not_write_is_refused_before_a_call(
    world: Path, tmp_path: Path, name: str
) -> None:
    run = tmp_path / "run"
    with pytest.raises(CompileError, match="needs a language model that writes"):
        compile_program(wanted(world, name), lm=build_lm("extractive"), run_dir=run)
    assert not run.exists()


def test_a_writer_may_be_another_model(server: Writing) -> None:
    metric, offline = build_metric("answer_f1"), build_lm("extractive")
    settings = optimizer_settings(CompileSection(optimizer="gepa"))
    check_optimizer(
        settings, Lesson(QUESTIONS, QUESTIONS, metric, 1, lm=offline, writer=lm_of(server))
    )
    judged = Lesson(QUESTIONS, QUESTIONS, build_metric("semantic_f1"), 1, lm=offline)
    with pytest.raises(CompileError, match="metric 'semantic_f1' needs a language model that"):
        check_optimizer(optimizer_settings(CompileSection(optimizer="labeled")), judged)


@pytest.mark.parametrize(
    ("optimizer", "options", "says"),
    [
        ("copro", {"width": 3}, "'copro' has no option 'width'.*It has: breadth, depth"),
        ("copro", {"breadth": 1}, "'breadth' of 'copro' is 1, at least 2"),
        ("copro", {"breadth": True}, "'breadth' of 'copro' is True, wanted is int"),
        ("labeled", {"demos": 3}, "'labeled' has no option 'demos'"),
        ("better-together", {"strategy": "bootstrap -> knn"}, "cannot run 'knn'"),
    ],
)
def test_wrong_options_are_named(optimizer: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        optimizer_settings(CompileSection(optimizer=optimizer, options=options))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("knn", "'knn' is refused: .* no saved state holds"),
        ("ensemble", "'ensemble' is refused: .* no saved state holds"),
        ("mirpo", "got 'mirpo'.* did you mean 'mipro'"),
        ("magic", "compile.optimizer: Input should be 'none', .* or module:Class"),
    ],
)
def test_an_optimizer_that_cannot_be_had_is_refused_by_name(name: str, says: str) -> None:
    with pytest.raises(RecipeError, match=says):
        optimizer_settings(CompileSection(optimizer=name))


def test_an_optimizer_in_a_script_of_any_name_is_not_taken_for_an_unknown_one() -> None:
    with pytest.raises(InputError, match="01-mine"):
        optimizer_settings(CompileSection(optimizer="01-mine:Mine"))


@pytest.mark.parametrize(
    "teleprompter",
    [
        KNNFewShot(1, SHOWN, lambda texts: np.zeros((1, 1))), Ensemble(), dspy.Predict("a -> b"),
        dspy.BetterTogether(metric=lambda *_: 1.0),  # which joins a tuning of weights
    ],
)  # fmt: skip
def test_what_no_state_describes_is_refused_in_python_too(teleprompter: Any) -> None:
    with pytest.raises(CompileError, match=r"no saved state holds|is not a dspy\.teleprompt"):
        custom_optimizer_settings(teleprompter)


class Own(Teleprompter):
    """Tells the program what the scripted model listens to."""

    def compile(self, student: Any, *, trainset: Any, **_: Any) -> Any:
        learned = LabeledFewShot(k=2).compile(student, trainset=trainset)
        signature = learned.respond.signature
        learned.respond.signature = signature.with_instructions(f"{TOLD} {len(trainset)} shown.")
        return learned


class Needy(Teleprompter):
    """Cannot be called without a number, as DSPy's search with Optuna."""

    def compile(self, student: Any, *, trainset: Any, max_demos: int, valset: Any = None) -> Any:
        return student


@pytest.mark.parametrize(
    ("options", "said"),
    [({}, "needs 'max_demos', too"), ({"max_demos": 1, "trials": 2}, "takes no 'trials'")],
)
def test_what_its_compile_is_called_with_is_checked_first(
    options: dict[str, int], said: str
) -> None:
    with pytest.raises(CompileError, match=said):
        custom_optimizer_settings(Needy(), options)


def test_options_of_a_compile_are_handed_on_or_refused() -> None:
    section, asked = CompileSection(optimizer="none"), {"requires_permission_to_run": False}
    lesson = Lesson(QUESTIONS, QUESTIONS, build_metric("answer_f1"), 1)
    handed = settings_with_options(section, Needy(), {"max_demos": 1, **asked}).arguments(lesson)
    assert handed["max_demos"] == 1
    assert handed.keys() == {"max_demos", "valset"}
    assert settings_with_options(section, None, asked) == optimizer_settings(section)
    with pytest.raises(CompileError, match="takes no 'max_demos'"):
        settings_with_options(section, None, {"max_demos": 1})


def test_a_teleprompter_of_ones_own(server: Writing, world: Path, tmp_path: Path) -> None:
    run = Run(tmp_path / "run", optimizer=Own())
    result = compile_program(wanted(world, "none"), few(world), lm=lm_of(server), run=run)
    assert result.program.respond.signature.instructions == f"{TOLD} 8 shown."
    assert len(result.program.respond.demos) == 2


def fails(gold: Any, pred: Any, trace: Any = None, name: Any = None, steps: Any = None) -> Any:
    return gold.no_such_field == pred.answer


def test_a_metric_of_ones_own_that_fails_is_named_in_the_report(
    server: Writing, world: Path, tmp_path: Path
) -> None:
    gepa = dspy.GEPA(metric=fails, reflection_lm=lm_of(server), max_metric_calls=20)
    run = Run(tmp_path / "run", optimizer=gepa)
    result = compile_program(wanted(world, "none"), few(world), lm=lm_of(server), run=run)
    assert any("metric failed" in said and "no_such_field" in said for said in result.stopped)
    assert sum(stage.calls for stage in result.spend) == len(server.calls)


def test_what_an_optimizer_of_ones_own_holds_is_watched_too() -> None:
    gepa = dspy.GEPA(metric=fails, reflection_lm=build_lm("openai/x"), max_metric_calls=20)
    account = Account()
    lm = MeteredLM(build_lm("openai/x"), account, Prices())
    both = dspy.BetterTogether(metric=lambda *_: 1.0, gepa=gepa)
    learnt_from = Lesson(QUESTIONS, QUESTIONS, build_metric("answer_f1"), 1, lm=lm)
    made = custom_optimizer_settings(both).build(learnt_from)
    given = custom_optimizer_settings(
        dspy.BetterTogether(lambda *_: 1.0, gepa=gepa, few=LabeledFewShot())
    )
    assert given.arguments(learnt_from)["strategy"] == "gepa -> few"
    inner = made.optimizers["gepa"]
    assert isinstance(inner.reflection_lm, MeteredLM)
    assert inner.custom_instruction_proposer is not None
    with pytest.raises(AttributeError):
        inner.metric_fn(dspy.Example(), dspy.Prediction(answer="x"))
    assert "no_such_field" in failures_of_metric(made)
    assert not failures_of_metric(both)


def test_where_prompts_write_queries_the_pool_is_fetched_and_searched_again(
    server: Writing, world: Path, tmp_path: Path
) -> None:
    section = {"optimizer": "copro", "options": OPTIONS["copro"], "retrieval_trials": 3,
               "shortlist": 1, "threads": 4}  # fmt: skip
    wanted = recipe(world, compile=section, program={"kind": "hybrid", "expansion": "step-back"})
    result = compile_program(wanted, few(world), lm=lm_of(server), run_dir=tmp_path)
    assert (tmp_path / "search.jsonl").exists()
    assert (tmp_path / "again" / "search.jsonl").exists()
    told = {name: TOLD in predict.signature.instructions
            for name, predict in result.program.named_predictors()}  # fmt: skip
    assert len(told) == 2
    assert any(told.values())
    prompts = {one.stage: one.prompts for one in result.candidates if one.stage != "prompts"}
    variants = {one.name: one.prompts for one in result.candidates if one.stage == "choice"}
    assert prompts["halving"] == variants["knobs only"] != variants["knobs and prompts"]
    assert prompts["shortlist"] == prompts["reading"] == variants["knobs and prompts"]
    asked = {call.wanted for call in server.calls}
    assert ("answer", "citations") in asked
    assert len(asked) >= 3
    assert sum(stage.calls for stage in result.spend) == len(server.calls)


def test_an_optimizer_that_writes_into_a_signature_changes_no_other_program(
    server: Writing, world: Path, tmp_path: Path
) -> None:
    class Writes(Teleprompter):
        def compile(self, student: Any, *, trainset: Any, **_: Any) -> Any:
            for predictor in student.predictors():
                predictor.signature.instructions = TOLD
            return student

    given = build_program(wanted(world, "none")).respond.signature.instructions
    run = Run(tmp_path / "run", optimizer=Writes())
    result = compile_program(wanted(world, "none"), small(world), lm=lm_of(server), run=run)
    assert result.program.respond.signature.instructions == TOLD
    assert result.test["prompts only"].mean > result.test["baseline"].mean
    assert build_program(wanted(world, "none")).respond.signature.instructions == given != TOLD


def test_a_question_that_is_worked_out_is_asked_with_all_that_its_program_takes() -> None:
    asked = dspy.Example(id="a", question="Which?", tone="dry", answer="Pel")
    plain = asked.copy(id="b").with_inputs("question", "tone")
    questions = from_examples([asked.with_inputs("question", "tone"), plain])
    lesson = Lesson(questions, (), build_metric("answer_f1"), 1, worked={"a": {"context": ["[1]"]}})
    first, second = lesson.trainset
    assert first.context == ["[1]"]
    assert first.inputs().toDict() == {"question": "Which?", "tone": "dry"}
    assert second.inputs().toDict() == first.inputs().toDict()


def test_demonstrations_hold_what_is_shown_and_no_other_column() -> None:
    predict = dspy.Predict("context, question -> answer")
    shown = {"question": "which?", "answer": "red", "augmented": True}
    predict.demos = [dspy.Example(**shown, id="1", scan=b"\xff", thing=object(), evidence=["x"])]
    prompts = prompts_of(predict)
    assert json.loads(json.dumps(prompts))["self"]["demos"] == [shown]
    set_prompts(predict, prompts)
    assert predict.demos == [shown]


class Rank(enum.Enum):
    FIRST = "first"


def test_demonstrations_hold_values_as_the_model_is_to_write_them() -> None:
    predict = dspy.Predict("question -> rank, day")
    predict.demos = [dspy.Example(question="?", rank=Rank.FIRST, day=date(2024, 1, 2))]
    shown = prompts_of(predict)["self"]["demos"][0]
    assert shown == {"question": "?", "rank": "first", "day": "2024-01-02"}
