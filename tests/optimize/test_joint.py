"""Any DSPy program is compiled: its own class comes back, with the knobs of every stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.exceptions import ContextWindowExceededError

from ragwright.optimize.candidates import Candidate
from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.journal import NAME, Journal
from ragwright.optimize.spending.budget import Caps
from ragwright.optimize.stages import Stages
from ragwright.optimize.workbench import Workbench
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.lm import build_lm
from ragwright.programs.lm_wrapper import GivenEngine, as_lm
from ragwright.programs.rerank import MaxSim, RerankRetriever
from ragwright.programs.usage import SharedUsage
from ragwright.retrievers.errors import CompileError, InputError

from .conftest import lines

pytestmark = pytest.mark.slow

TRIALS = 4


class Single(dspy.Module):
    """Retrieve once, then think."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = RerankRetriever(HybridRetriever(path), MaxSim(path))
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question).passages, question=question)


class Hops(dspy.Module):
    """Search again with what the notes say; two stages, each with knobs of its own."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.first = HybridRetriever(path)
        self.second = RerankRetriever(HybridRetriever(path), MaxSim(path))
        self.note = dspy.Predict("context, question -> notes")
        self.answer = dspy.Predict("context, notes, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        found = self.first(question, 2).passages
        notes = self.note(context=found, question=question).notes
        found = [*found, *self.second(f"{question} {notes}", 2).passages]
        return self.answer(context=found, notes=notes, question=question)


class Agent(dspy.Module):
    """An agent whose only tool is a stage."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.react = dspy.ReAct("question -> answer", tools=[Lookup(path).search], max_iters=2)

    def forward(self, question: str) -> dspy.Prediction:
        return self.react(question=question)


class Lookup:
    """Holds the stage that the tool asks."""

    def __init__(self, path: str) -> None:
        self.stage = HybridRetriever(path)

    def search(self, query: str) -> str:
        """Look something up in the chronicles of the towns."""
        return "\n".join(self.stage(query, 2).passages)


def examples(count: int = 40) -> list[dspy.Example]:
    rows = lines()[:count]
    return [
        dspy.Example(
            question=row["question"], answer=row["answer"], evidence=[row["evidence"]],
            documents=[row["document"]], group=row["document"],
        ).with_inputs("question")
        for row in rows
    ]  # fmt: skip


def found(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> bool:
    return gold.answer in str(pred.answer)


def optimizer(folder: Path, **more: Any) -> JointOptimizer:
    settings = {"metric": found, "prompts": "labeled", "retrieval_trials": TRIALS, **more}
    return JointOptimizer(lm=build_lm("extractive"), run_dir=folder / "run", **settings)


@pytest.mark.parametrize("shape", [Single, Hops, Agent])
def test_a_program_of_any_shape_is_compiled(
    shape: type[dspy.Module], world: Path, tmp_path: Path
) -> None:
    path = str(world / "index")
    student = shape(path)
    compiled = optimizer(tmp_path).compile(student, trainset=examples())
    assert type(compiled) is shape
    result = compiled.compile_result
    assert result.compiled.rows
    assert not any(row.error for row in result.compiled.rows)
    assert set(result.test) >= {"baseline", "prompts only"}
    assert len(result.setting) == (2 if shape is Hops else 1)
    compiled.save(tmp_path / "program.json")
    again = shape(path)
    again.load(tmp_path / "program.json")
    assert again.dump_state() == compiled.dump_state()


def test_a_compile_that_ended_at_once_or_before_it_noted_what_was_asked_goes_on(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its dev answers lie on the disk then, and do not tell that queries depend on the model."""

    def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    (tmp_path / "run").mkdir()
    (tmp_path / "run" / NAME).touch()
    student, asked = Hops(str(world / "index")), examples(24)
    made = optimizer(tmp_path, prompts="none", retrieval_trials=0, shortlist=1)
    for owner, step in ((Workbench, "refuse_kept_answers"), (Stages, "_best_so_far")):
        with monkeypatch.context() as patched:
            patched.setattr(owner, step, interrupted)
            with pytest.raises(KeyboardInterrupt):
                made.compile(student, trainset=asked)
    assert len(list((tmp_path / "run" / "evaluations").iterdir())) == 1
    told = Journal(tmp_path / "run").last("asked")
    assert told is not None
    assert told["depends"]


class Narrow(Single):
    """Reads no more than five passages, as a model with a small window does."""

    def forward(self, question: str) -> dspy.Prediction:
        found = self.search(question).passages
        if len(found) > 5:
            raise ContextWindowExceededError(message="This prompt is too long.")
        return self.answer(context=found, question=question)


def test_a_way_to_read_that_fails_every_question_ends_no_compile(
    world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    judged: list[Candidate] = []

    def reached(stages: Stages, *_: Any) -> None:
        judged.extend(stages.judged)
        raise KeyboardInterrupt

    monkeypatch.setattr(Stages, "_choice", reached)
    made = optimizer(tmp_path, prompts="none", retrieval_trials=0, shortlist=1)
    with pytest.raises(KeyboardInterrupt):
        made.compile(Narrow(str(world / "index")), trainset=examples(24))
    tried = {one.knobs.k: one.dev for one in judged}
    assert tried[5] > 0 == tried[max(tried)]


class Own(dspy.BaseLM):
    """A model of the user's own: a reply in OpenAI's form to messages in OpenAI's form."""

    def __init__(self, known: dict[str, str]) -> None:
        super().__init__(model="own/one")
        self.known = known

    def forward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        asked = messages[-1]["content"]
        answer = next((said for asks, said in self.known.items() if asks in asked), "nothing")
        text = f"[[ ## reasoning ## ]]\nknown\n[[ ## answer ## ]]\n{answer}\n[[ ## completed ## ]]"
        message = {"role": "assistant", "content": text}
        usage = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        return {
            "object": "chat.completion",
            "choices": [choice],
            "usage": usage,
            "model": "own/one",
        }


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
def test_a_model_of_ones_own_answers_as_the_engine_of_a_language_model() -> None:
    lm = as_lm(Own({"Who?": "Ann"}))
    with dspy.context(lm=lm):
        assert dspy.ChainOfThought("question -> answer")(question="Who?").answer == "Ann"
    assert as_lm(lm) is lm
    assert lm.history[-1]["usage"]["completion_tokens"] == 3


class Logged(dspy.LM):
    """Looks at each call before DSPy answers it, by an engine of its own here."""

    def __call__(self, prompt: Any = None, messages: Any = None, **options: Any) -> Any:
        assert isinstance(messages, list)
        return super().__call__(prompt, messages=messages, **options)


class Static(dspy.LM):
    """Says the same to everything, as models of users did in earlier releases of DSPy."""

    said: Any = None

    def __call__(self, prompt: Any = None, messages: Any = None, **options: Any) -> Any:
        assert isinstance(messages, list)
        return self.said


TEXT = "[[ ## reasoning ## ]]\nknown\n[[ ## answer ## ]]\nAnn\n[[ ## completed ## ]]"


@pytest.mark.filterwarnings("ignore:Implementing custom LMs:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:Passing OpenAI-style message:DeprecationWarning")
@pytest.mark.parametrize("said", [[TEXT], TEXT, [{"text": TEXT}], None])
def test_a_model_that_answers_calls_itself_is_called(said: Any) -> None:
    own: Any = Static("openai/x")
    if said is None:
        own = Logged("own/one", engine=GivenEngine(Own({"Who?": "Ann"})), cache=False)
    own.said = said
    lm, used = as_lm(own), SharedUsage()
    with dspy.context(lm=lm, usage_tracker=used):
        assert dspy.ChainOfThought("question -> answer")(question="Who?").answer == "Ann"
    assert used.tokens == ((0, 0) if said else (9, 3))
    assert as_lm(lm) is lm


def test_dspys_dummy_is_counted_as_any_other_model(world: Path, tmp_path: Path) -> None:
    rows = examples(24)
    lm = DummyLM({row.question: {"reasoning": "known", "answer": row.answer} for row in rows})
    made = JointOptimizer(
        lm=lm, metric=found, prompts="none", retrieval_trials=TRIALS, run_dir=tmp_path / "run",
        caps=Caps(calls=300),
    )  # fmt: skip
    compiled = made.compile(Single(str(world / "index")), trainset=rows)
    result = compiled.compile_result
    assert result.compiled.mean == 1.0
    assert 0 < sum(stage.calls for stage in result.spend) <= 300
    compiled.save(tmp_path / "program.json")


class Angled(dspy.XMLAdapter):
    """Counts the prompts that it wrote."""

    written = 0

    def format(self, *given: Any, **named: Any) -> Any:
        type(self).written += 1
        return super().format(*given, **named)


def test_an_adapter_that_dspy_is_configured_with_writes_the_prompts(
    world: Path, tmp_path: Path
) -> None:
    rows, adapter = examples(24), Angled()
    known = {row.question: {"reasoning": "known", "answer": row.answer} for row in rows}
    made = JointOptimizer(
        lm=DummyLM(known, adapter=adapter), metric=found, prompts="none", retrieval_trials=2,
        run_dir=tmp_path / "run",
    )  # fmt: skip
    with dspy.context(adapter=adapter):
        result = made.compile(Single(str(world / "index")), trainset=rows).compile_result
    assert result.compiled.mean == 1.0
    assert Angled.written >= sum(stage.calls for stage in result.spend) > 0


class Kept(dspy.Module):
    """Hands its context on with the prediction, and keeps a predictor where DSPy does not look."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)
        self.answer = dspy.Predict("context, question -> answer")
        self.named = {"of": [dspy.Predict("question -> note")]}

    def forward(self, question: str, **labels: Any) -> dspy.Prediction:
        context = self.search(question).passages
        said = self.answer(context=context, question=question, **labels)
        said["context"] = context
        return said


class Made(dspy.Module):
    """Makes one predictor while it runs, and has another on its class."""

    note = dspy.Predict("question -> answer")

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)

    def forward(self, question: str, **_: Any) -> dspy.Prediction:
        self.note(question=question)
        answer = dspy.Predict("context, question -> answer")
        return answer(context=self.search(question).passages, question=question)


class Beside(Made):
    """Has one as an attribute too, in a module that copies it while it runs."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        held = dspy.Predict("context, question -> answer, doubt: float")
        self.best = dspy.BestOfN(held, N=1, reward_fn=lambda *_: 1.0, threshold=1.0)

    def forward(self, question: str, **_: Any) -> dspy.Prediction:
        self.best(question=question, context=[])
        return super().forward(question)


MADE = ["A predictor (context, question -> answer) was", "A predictor (question -> answer) was"]


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        (Kept, ["does not see the predictor \"named['of'][0]\""]),
        (Made, ["predictor that is found", *MADE]),
        (Beside, MADE),
    ],
)
def test_what_learns_no_prompt_is_said_and_what_a_program_adds_spoils_no_demonstration(
    shape: type[dspy.Module], said: list[str], world: Path, tmp_path: Path
) -> None:
    rows = [row.with_inputs("question", "answer") for row in examples(24)]
    lm = DummyLM({row.question: {"answer": row.answer, "doubt": "0"} for row in rows})
    made = JointOptimizer(
        lm=lm, metric=found, prompts="bootstrap", retrieval_trials=2, run_dir=tmp_path / "run",
        max_bootstrapped_demos=2, max_labeled_demos=0,
    )  # fmt: skip
    compiled = made.compile(shape(str(world / "index")), trainset=rows)
    assert "Bootstrapped 2 full" in (tmp_path / "run" / "optimizer.log").read_text()
    notes = compiled.compile_result.notes
    assert [part for part in said if not any(part in note for note in notes)] == []
    assert sum("redictor" in note for note in notes) == len(said)


class Switching(dspy.Module):
    """Holds a model of its own, which is no predictor's, and answers by it."""

    def __init__(self, path: str, models: dict[str, dspy.BaseLM]) -> None:
        super().__init__()
        self.search = HybridRetriever(path)
        self.models = models
        self.seen: dict[str, object] = {}
        self.seen["itself"] = self.seen
        self.answer = dspy.Predict("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        context = self.search(question).passages
        with dspy.context(lm=self.models["small"]):
            return self.answer(context=context, question=question)


def test_models_that_a_program_holds_are_counted_and_those_of_a_metric_are_told(
    world: Path, tmp_path: Path
) -> None:
    rows = examples(24)
    own = DummyLM({row.question: {"answer": row.answer} for row in rows})
    judge, asked = DummyLM([{"right": "True"}] * 500), []

    def judged(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> bool:
        asked.append(gold.question)
        with dspy.context(lm=judge):
            said = dspy.Predict("answer, wanted -> right: bool")(
                answer=pred.answer, wanted=gold.answer
            )
        return bool(said.right)

    made = JointOptimizer(
        lm=build_lm("extractive"), metric=judged, prompts="none", retrieval_trials=2,
        run_dir=tmp_path / "run", caps=Caps(calls=300),
    )  # fmt: skip
    student = Switching(str(world / "index"), {"small": own})
    result = made.compile(student, trainset=rows).compile_result
    assert sum(stage.calls for stage in result.spend) > 0
    assert student.models["small"] is own
    past = [note for note in result.notes if "went past the compile" in note]
    assert [note.split()[0] for note in past] == [str(len(asked))]


class Called(dspy.Module):
    """Answers where it is called."""

    def __call__(self, question: str) -> dspy.Prediction:
        return dspy.Prediction(answer=question)


def test_a_program_without_forward_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Called has neither forward nor aforward"):
        optimizer(tmp_path).compile(Called(), trainset=examples(24))


def test_too_few_examples_are_an_error(world: Path, tmp_path: Path) -> None:
    with pytest.raises(CompileError):
        optimizer(tmp_path).compile(Single(str(world / "index")), trainset=examples(2))
