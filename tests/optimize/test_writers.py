"""Whatever a model writes for an optimizer, and leaves out: what can be used is, the rest counted.

The signatures are those that DSPy's optimizers have today, found in its source.
"""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.lm15 import Message, Request, Response, Usage
from dspy.propose.grounded_proposer import generate_instruction_class
from dspy.teleprompt.infer_rules import RulesInductionProgram
from dspy.utils.exceptions import AdapterParseError

from ragwright.optimize.prompts.learning import OptimizerOutcome, run_optimizer
from ragwright.optimize.prompts.lesson import Lesson
from ragwright.optimize.prompts.optimizers import optimizer_settings
from ragwright.optimize.prompts.writers import IN_A_ROW, reading_writers
from ragwright.optimize.questions.data import Question
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.optimize.spending.budget import Account
from ragwright.optimize.spending.ledger import CallLedger
from ragwright.optimize.spending.metered import MeteredLM, Prices
from ragwright.optimize.spending.unread import UnreadMarks
from ragwright.programs.replies.adapter import ReplyAdapter
from ragwright.programs.replies.wanted import asked_by_optimizer, output_fields
from ragwright.programs.sections import CompileSection
from tests.programs.test_replies import chat, saying

PRESENT = "Answer the question as it is."
PREFIX = "The answer is:"
TOLD = "Answer with one word."
STYLES = ("chat", "json", "prose", "empty", "refusal", "cut")
OPTIONS: dict[str, dict[str, Any]] = {
    "copro": {"breadth": 2, "depth": 2},
    "mipro": {"auto": "", "instructions": 2, "trials": 2},
    "simba": {"batch": 8, "candidates": 2, "steps": 2},
    "gepa": {"answers": 40},
    "infer-rules": {"candidates": 2},
}
QUESTIONS = [Question(str(number), f"what is {number}?", (str(number),)) for number in range(12)]
_WANTED = re.compile(r"\[\[ ## (\w+) ## \]\]")


def found() -> Iterator[Any]:
    for package in ("dspy.teleprompt", "dspy.propose"):
        path = importlib.import_module(package).__path__
        for info in pkgutil.walk_packages(path, f"{package}."):
            for held in vars(importlib.import_module(info.name)).values():
                if isinstance(held, type) and issubclass(held, dspy.Signature):
                    yield held
    yield generate_instruction_class().signature
    yield RulesInductionProgram(3).predictors()[0].signature


SIGNATURES = {"-".join(one.output_fields): one for one in found() if one is not dspy.Signature}
LACKING = [(name, lacks) for name, one in SIGNATURES.items()
           for lacks in ("", *one.output_fields)]  # fmt: skip


def written(style: str, values: dict[str, Any]) -> str:
    if style == "prose":
        return f"{TOLD} Be brief."
    if style in ("empty", "refusal"):
        return " " if style == "empty" else "I'm sorry, but I can't help with that request."
    if style == "json":
        return json.dumps(values)
    text = chat(**{name: value if isinstance(value, str) else json.dumps(value)
                   for name, value in values.items()})  # fmt: skip
    return text if style == "chat" else text[: int(len(text) * 0.4)]


def values_of(names: Any, told: str = TOLD) -> dict[str, Any]:
    return {name: {"self": told} if name == "module_advice" else told for name in names}


def inputs_of(signature: Any) -> dict[str, Any]:
    given: dict[str, Any] = dict.fromkeys(signature.input_fields, "something")
    named = {
        "module_names": '["self"]',
        "basic_instruction": PRESENT,
        "previous_instruction": PRESENT,
        "current_instruction": PRESENT,
        "actions": [],
        "pos_input_with_metrics": [],
        "neg_input_with_metrics": [],
        "examples_with_feedback": [],
        "attempted_instructions": [
            "Instruction #1: worse",
            "Prefix #1: so:",
            "Resulting Score #1: 1",
            f"Instruction #2: {PRESENT}",
            f"Prefix #2: {PREFIX}",
            "Resulting Score #2: 2",
        ],
    }
    return given | {name: value for name, value in named.items() if name in given}  # fmt: skip


def program() -> dspy.Predict:
    signature = dspy.Signature("question -> answer", PRESENT)
    return dspy.Predict(signature.with_updated_fields("answer", prefix=PREFIX))


@pytest.mark.parametrize("name", SIGNATURES)
def test_every_writer_of_dspys_has_one_field_that_matters(name: str) -> None:
    assert asked_by_optimizer(SIGNATURES[name])
    assert output_fields(SIGNATURES[name]).main is not None


def test_no_program_is_taken_for_a_writer() -> None:
    assert not asked_by_optimizer(program().signature)
    assert not asked_by_optimizer(dspy.ChainOfThought("text -> summary").predictors()[0].signature)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(("name", "lacks"), LACKING)
@pytest.mark.parametrize("configured", [ReplyAdapter, dspy.ChatAdapter])
def test_what_was_written_is_used_and_the_rest_counted(
    configured: Any, name: str, lacks: str, style: str
) -> None:
    signature = SIGNATURES[name]
    main = output_fields(signature).main
    assert main is not None
    lm, _ = saying(written(style, values_of(n for n in signature.output_fields if n != lacks)))
    adapter, done = reading_writers(configured(), program())
    with dspy.context(lm=lm, adapter=adapter):
        try:
            reply = dspy.Predict(signature)(**inputs_of(signature))
        except AdapterParseError:
            reply = None
    assert done.asked == 1
    assert done.lost.total() == len(done.replies) == done.row
    if reply is None:
        assert done.lost
        return
    assert set(reply) == set(signature.output_fields)
    told = str(reply[main.name])
    if style in ("chat", "json") and lacks != main.name:
        assert TOLD in told
        assert not done.lost
    if done.lost:
        assert told in (PRESENT, "")
    elif style != "cut":
        assert TOLD in told
    if "prefix" in name:
        shown = reply["proposed_prefix_for_output_field"]
        assert shown == PREFIX or (lacks != "proposed_prefix_for_output_field" and TOLD in shown)


class Writer:
    """An engine that answers wrongly until it is told how, and writes in one style."""

    supports_response_schema = False

    def __init__(self, style: str) -> None:
        self.style = style
        self.calls = 0
        self.wrote = 0

    def complete(self, request: Request) -> Response:
        self.calls += 1
        last = str(request.messages[-1].text)
        names = [name for name in dict.fromkeys(_WANTED.findall(last[last.rfind("Respond") :]))
                 if name != "completed"]  # fmt: skip
        if "answer" in names or "Write the answer" in str(request.system):
            told = TOLD in str(request.system) or (self.style == "prose" and self.calls % 2)
            question = int(re.findall(r"what is (\d+)\?", last)[-1])
            text = chat(answer=question if told or question % 3 == 0 else "something")
        else:
            self.wrote += 1
            text = written(self.style, values_of(names, f"{TOLD} Version {self.wrote}."))
        return Response(
            id=None,
            model="writes",
            message=Message.assistant(text),
            finish_reason="stop",
            usage=Usage(input_tokens=1, output_tokens=1),
        )

    def close(self) -> None: ...

    def __deepcopy__(self, memo: dict[int, Any]) -> Writer:
        return self


def learned_by(name: str, style: str, folder: Path) -> tuple[OptimizerOutcome, Writer]:
    engine, account = Writer(style), Account(stage="prompts")
    lm = MeteredLM(dspy.LM("writes/it", engine=engine, cache=False), account, Prices())
    lesson = Lesson(QUESTIONS[:8], QUESTIONS[4:], build_metric("answer_em"), 1, lm=lm)
    settings = optimizer_settings(CompileSection(optimizer=name, options=OPTIONS[name]))
    with dspy.context(lm=lm, adapter=ReplyAdapter(learns=False)):
        outcome = run_optimizer(settings, program(), lesson, log=folder / "log")
    assert account.spent.calls == engine.calls
    return outcome, engine


@pytest.mark.parametrize("style", ["prose", "empty", "refusal"])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_optimizer_comes_to_an_end(name: str, style: str, tmp_path: Path) -> None:
    outcome, engine = learned_by(name, style, tmp_path)
    told = TOLD in outcome.program.signature.instructions
    if style == "prose":
        assert told or name == "simba"
        assert not outcome.lost
    elif engine.wrote:
        assert not told
        assert outcome.lost
        assert len(outcome.unreadable) <= IN_A_ROW
    if name == "copro":
        judged = [one.state["self"]["signature"]["instructions"] for one in outcome.tried]
        assert PRESENT in judged
    # Only where there is nothing else to learn does it end before its time.
    assert bool(outcome.stopped) == (name == "gepa" and style != "prose")
    assert engine.wrote <= 2 * IN_A_ROW or style == "prose"


def test_what_could_not_be_used_is_asked_for_again_by_another_run(tmp_path: Path) -> None:
    engine = Writer("empty")
    inner = dspy.LM("writes/it", engine=engine, cache=False)
    signature = SIGNATURES["proposed_instruction-proposed_prefix_for_output_field"]
    for run in ("first", "first", "second"):
        ledger = CallLedger(tmp_path / "calls.sqlite", run=run)
        lm = MeteredLM(inner, Account(ledger, stage="prompts"), Prices())
        adapter, _ = reading_writers(ReplyAdapter(learns=False), program())
        with dspy.context(lm=lm, adapter=adapter, callbacks=[UnreadMarks(ledger)]):
            dspy.Predict(signature)(**inputs_of(signature))
        engine.style = "chat" if run == "first" else ""
    assert engine.calls == 2 + 1
