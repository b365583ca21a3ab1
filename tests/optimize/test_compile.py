from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from dspy.teleprompt import Teleprompter

from ragwright.optimize import CompileResult, Run, compile_program, read_questions
from ragwright.optimize.prompts.state import prompt_hash
from ragwright.optimize.questions.data import Question
from ragwright.optimize.report.descriptions import describe_verdict
from ragwright.optimize.result import BASELINE, BOTH, KNOBS_ONLY, PROMPTS_ONLY, START, Variant
from ragwright.optimize.scoring.evaluation import Evaluation
from ragwright.optimize.workbench import Workbench
from ragwright.programs.build import build_program, build_recipe_lm
from ragwright.retrievers.errors import CompileError, IdentityError, InputError
from tests.servers.scripted_lm import Call

from .conftest import recipe
from .scripted import Writing, lm_of, short_answer, small

pytestmark = pytest.mark.slow


def test_the_compiled_program_is_better_on_questions_it_was_not_chosen_on(
    result: CompileResult,
) -> None:
    assert result.inputs.sizes == {"train": 30, "dev": 28, "test": 38}
    assert result.verdict == "ship"
    assert result.compiled.mean > result.baseline.mean + 0.2
    assert result.gain.n == 38
    assert result.gain.gain == pytest.approx(result.compiled.mean - result.baseline.mean)


def test_everything_is_selected_on_dev(result: CompileResult) -> None:
    means = {name: evaluation.mean for name, evaluation in result.dev.items()}
    assert means[result.chosen] == max(means.values())
    assert {len(evaluation.rows) for evaluation in result.dev.values()} == {28}
    assert {len(evaluation.rows) for evaluation in result.test.values()} == {38}
    assert set(result.test) >= {BASELINE, KNOBS_ONLY, PROMPTS_ONLY, BOTH}


def test_what_needs_no_compile_answers_the_test_too(result: CompileResult) -> None:
    over = result.over_start
    assert over is not None
    untuned = result.test[START].mean
    assert over.gain == pytest.approx(result.compiled.mean - untuned)
    assert f"untuned ('start'), score {untuned:.3f}" in describe_verdict(result)
    gain = result.comparisons[f"{BOTH} - {START}"].gain
    assert gain == pytest.approx(result.test[BOTH].mean - untuned)


def test_a_baseline_that_is_the_recipe_is_not_answered_twice(world: Path, tmp_path: Path) -> None:
    own = recipe(world, compile={"optimizer": "none", "retrieval_trials": 0})
    same = own.model_copy(update={"baseline": own.knobs})
    done = compile_program(same, small(world), run_dir=tmp_path)
    assert START not in done.test
    assert done.over_start is None
    assert "untuned" not in describe_verdict(done)


def test_a_program_over_the_pool_answers_as_the_live_one_does(
    result: CompileResult, world: Path
) -> None:
    with dspy.context(lm=build_recipe_lm(result.recipe)):
        live = [result.program(question=item.question) for item in result.splits.dev]
    stored = result.dev[result.chosen].rows
    assert [pred.answer for pred in live] == [row.answer for row in stored]
    assert [tuple(pred.context) for pred in live] == [row.context for row in stored]


def test_the_saved_state_is_complete_and_marked_as_not_compiled(result: CompileResult) -> None:
    fresh = build_program(result.recipe)
    state = json.loads(json.dumps(result.program.dump_state()))
    assert set(state) == set(fresh.dump_state())
    modules = [module for _, module in result.program.named_sub_modules(skip_compiled=False)]
    assert all(not getattr(module, "_compiled", False) for module in modules)
    assert state["respond"]["demos"]
    fresh.load_state(state)
    with dspy.context(lm=build_recipe_lm(result.recipe)):
        rows = result.compiled.rows[:5]
        assert [fresh(question=row.question).answer for row in rows] == [r.answer for r in rows]


def test_every_call_and_second_is_counted(result: CompileResult) -> None:
    spent = {stage.stage: stage for stage in result.spend}
    assert list(spent) == [
        "pool", "baseline", "retrieval", "halving", "prompts", "shortlist", "choice", "test",
    ]  # fmt: skip
    asked = {name: stage.calls + stage.repeated for name, stage in spent.items()}
    assert asked["pool"] == asked["retrieval"] == 0
    assert spent["baseline"].calls == 28
    assert asked["choice"] in [28 * count for count in range(len(result.dev) - 1)]
    assert asked["test"] in [38 * count for count in range(2, len(result.test) + 1)]
    assert asked["prompts"] >= 4 * 28
    for stage in ("baseline", "prompts", "test"):
        assert spent[stage].prompt_tokens > 100 * spent[stage].calls
        assert spent[stage].completion_tokens > spent[stage].calls
    tokens = sum(row.prompt_tokens for row in result.dev["baseline"].rows)
    assert spent["baseline"].prompt_tokens == tokens


def test_failures_name_a_stage_for_every_wrong_answer(result: CompileResult) -> None:
    wrong = result.baseline.scores < result.recipe.compile.threshold
    assert [place is not None for place in result.failures[BASELINE]] == wrong.tolist()


def test_a_second_compile_reads_the_pool_and_finds_the_same(
    result: CompileResult, world: Path, tmp_path: Path
) -> None:
    stages: list[str] = []
    again = compile_program(
        recipe(world), run_dir=tmp_path, progress=lambda stage, done, total: stages.append(stage)
    )
    assert "pool" not in stages
    assert (again.chosen, again.knobs) == (result.chosen, result.knobs)
    assert np.array_equal(again.compiled.scores, result.compiled.scores)
    assert again.program.dump_state() == result.program.dump_state()


@pytest.mark.parametrize("kind", ["rag", "hybrid"])
def test_other_programs_compile_too(world: Path, tmp_path: Path, kind: str) -> None:
    section = {"optimizer": "labeled", "retrieval_trials": 4}
    wanted = recipe(world, program={"kind": kind}, compile=section)
    result = compile_program(wanted, small(world), run_dir=tmp_path)
    assert len(result.program.respond.demos) in (0, 8)
    assert result.knobs.weight("maxsim") == 0


def test_without_an_optimizer_prompts_stay(world: Path, tmp_path: Path) -> None:
    wanted = recipe(world, compile={"optimizer": "none", "retrieval_trials": 0})
    result = compile_program(wanted, small(world), run_dir=tmp_path)
    assert result.program.respond.demos == []
    assert not result.search.trials
    written = prompt_hash(result.program)
    assert {candidate.prompts for candidate in result.candidates} == {written}


class Polite(Teleprompter):
    """Learns what changes no answer of the offline model."""

    def compile(self, student: Any, *, trainset: Any, **_: Any) -> Any:
        learned = student.deepcopy()
        signature = learned.respond.signature
        learned.respond.signature = signature.with_instructions("Answer, please.")
        return learned


def test_every_candidate_s_prompts_are_known_where_others_are_taken(
    world: Path, tmp_path: Path
) -> None:
    run = Run(tmp_path, optimizer=Polite())
    wanted = recipe(world, compile={"retrieval_trials": 0})
    result = compile_program(wanted, small(world), run=run)
    prompts = {one.name: one.prompts for one in result.candidates if one.stage == "choice"}
    learned = {one.prompts for one in result.candidates if one.stage in ("shortlist", "reading")}
    written = {prompt_hash(build_program(recipe(world)))}
    assert {prompts[BASELINE], prompts[KNOBS_ONLY]} == written
    assert {prompts[PROMPTS_ONLY], prompts[BOTH]} == learned != written


def test_equal_prompts_are_told_equal_where_retrieval_asks_a_language_model_too(
    server: Writing, world: Path, tmp_path: Path
) -> None:
    section = {"optimizer": "none", "retrieval_trials": 0, "threads": 4}
    wanted = recipe(world, compile=section, program={"kind": "rerank", "reranker": "listwise"})
    result = compile_program(wanted, small(world), lm=lm_of(server), run_dir=tmp_path)
    assert len({one.prompts for one in result.candidates}) == 1


def test_shuffled_answers_keep_the_baseline(world: Path, tmp_path: Path) -> None:
    questions = read_questions(world / "questions.jsonl").questions[:60]
    order = np.random.default_rng(0).permutation(len(questions))
    shuffled = [
        replace(question, answers=questions[other].answers, evidence=(), documents=())
        for question, other in zip(questions, order, strict=True)
    ]
    result = compile_program(recipe(world), shuffled, run_dir=tmp_path)
    assert result.verdict == "keep the baseline"


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"compile": {"metric": "answer"}}, InputError, "No metric 'answer'"),
        ({"compile": {"retrieval_metric": "hits"}}, InputError, "No retrieval metric 'hits'"),
        ({"compile": {"optimizer": "bootstrap", "max_bootstrapped_demos": 0}}, CompileError,
         "nothing to bootstrap"),
        ({"data": {"train": 0.9, "dev": 0.05}}, InputError, "no training set"),
        ({"index": {"path": "WORLD", "embedder": "hash"}}, IdentityError, "the recipe wants"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_before_anything_is_spent(
    world: Path, tmp_path: Path, change: dict, error: type[Exception], says: str
) -> None:
    if "index" in change:
        change = {"index": {**change["index"], "path": str(world / "index")}}
    run = tmp_path / "run"
    with pytest.raises(error, match=says):
        compile_program(recipe(world, **change), run_dir=run)
    assert not run.exists()


def test_prompts_may_be_learned_at_several_settings(world: Path, tmp_path: Path) -> None:
    section = {"finalists": 2, "optimizer": "bootstrap"}
    result = compile_program(recipe(world, compile=section), small(world), run_dir=tmp_path)
    learned = [
        json.loads(line)
        for line in (tmp_path / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        if '"learned"' in line
    ]
    assert [entry["setting"] for entry in learned] == [0, 1]
    assert result.program.respond.demos
    assert result.compiled.mean > result.baseline.mean + 0.2


class Picky(Writing):
    """Answers in one word, if it reads more than one sentence of some passage."""

    wants = re.compile(r"\.\s+[A-Z]")

    def _value(self, name: str, call: Call) -> object:
        if name != "answer":
            return super()._value(name, call)
        return short_answer(call.fields) if self.wants.search(call.fields["context"]) else "unknown"


def test_what_the_reader_gets_of_a_setting_is_chosen_by_answers(
    world: Path, tmp_path: Path
) -> None:
    section = {"optimizer": "none", "retrieval_trials": 0, "shortlist": 1}
    with Picky() as server:
        lm = lm_of(server)
        result = compile_program(
            recipe(world, compile=section), small(world), lm=lm, run_dir=tmp_path
        )
    assert (result.chosen, result.knobs.neighbours, result.knobs.order) == (KNOBS_ONLY, 1, "rank")
    assert result.baseline.mean == 0
    assert result.compiled.mean > 0.4


def test_another_way_to_read_is_only_taken_if_it_is_better_on_all_of_dev(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered = Workbench.answered

    def scored(
        bench: Workbench, variant: Variant, questions: Sequence[Question], **options: Any
    ) -> Evaluation:
        """Other ways are better on half of dev, worse on all of it."""
        done = answered(bench, variant, questions, **options)
        if variant.name != "shortlist":
            return done
        plain = (variant.knobs.order, variant.knobs.neighbours) == ("rank", 0)
        score = float(plain == (len(questions) == 28))
        return Evaluation(tuple(replace(row, score=score) for row in done.rows))

    monkeypatch.setattr(Workbench, "answered", scored)
    section = {"optimizer": "labeled", "retrieval_trials": 0, "shortlist": 1}
    asked = small(world, train=8, dev=28, test=20)
    result = compile_program(recipe(world, compile=section), asked, run_dir=tmp_path)
    judged = [one.questions for one in result.candidates if one.stage == "reading"]
    assert sorted(judged) == [14, 28, 28, 28]
    (both,) = (one.knobs for one in result.candidates if one.name == BOTH)
    assert (both.order, both.neighbours) == ("rank", 0)
