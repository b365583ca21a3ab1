"""Caps are kept exactly, counted where the calls arrive."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dspy
import pytest
from dspy.utils.exceptions import AdapterParseError

from ragwright.optimize import Caps, Run, compile_program, estimate_compile
from ragwright.optimize.plain_replies import FEW, FIRST
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.optimize.spending.budget import (
    Account,
    BudgetSpent,
    CallRequest,
)
from ragwright.optimize.spending.ledger import Bill, CallLedger, PaidReply
from ragwright.optimize.spending.metered import MeteredLM, Prices, known_prices
from ragwright.optimize.spending.reserve import without_given_up
from ragwright.optimize.spending.spend import SpendMeter
from ragwright.optimize.spending.unread import UnreadMarks
from ragwright.programs.lm import build_lm, can_write
from ragwright.programs.spared import collect_spared_seconds, spare_seconds
from ragwright.retrievers.errors import CompileError
from tests.optimize.scripted import close_clients

from .scripted import TOLD, Writing, few, lm_of, small
from .test_optimizers import wanted

pytestmark = pytest.mark.slow


def ask(account: Account, key: str, tokens: int = 10, estimate: int = 10) -> str:
    def answer() -> tuple[str, Bill]:
        time.sleep(0.002)
        return json.dumps(f"reply to {key}"), Bill(1, tokens, 0, tokens / 100)

    return account.ask(
        CallRequest(key, Bill(1, estimate, 0, estimate / 100), account.stage), answer
    )


def from_threads(account: Account, count: int, **options: int) -> list[str]:
    """Ask `count` different things at once; the names of those that were refused."""
    refused: list[str] = []

    def one(number: int) -> None:
        try:
            ask(account, str(number), **options)
        except BudgetSpent:
            refused.append(str(number))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return refused


@pytest.mark.parametrize(
    ("caps", "allowed"),
    [(Caps(calls=7), 7), (Caps(tokens=75), 7), (Caps(cost=0.5), 5), (Caps(seconds=0), 0),
     (Caps(), 40), (Caps(calls=7, tokens=30), 3)],
)  # fmt: skip
def test_no_cap_is_broken_from_forty_threads(caps: Caps, allowed: int) -> None:
    account = Account(caps=caps)
    refused = from_threads(account, 40)
    assert account.spent.calls == 40 - len(refused) == allowed
    assert account.spent.tokens == 10 * allowed


def test_an_estimate_that_was_too_high_makes_room_again() -> None:
    account = Account(caps=Caps(tokens=100))
    refused = from_threads(account, 40, estimate=50)
    assert account.spent.tokens == 60
    assert len(refused) == 34


def test_what_is_held_back_is_there_afterwards() -> None:
    account = Account(caps=Caps(calls=10))
    with account.holding(Bill(calls=4)):
        assert len(from_threads(account, 20)) == 14
    assert ask(account, "later") == '"reply to later"'
    assert account.spent.calls == 7


def test_the_same_call_is_made_once_and_kept(tmp_path: Path) -> None:
    account = Account(CallLedger(tmp_path / "calls.sqlite", run="first"), stage="prompts")
    threads = [threading.Thread(target=ask, args=(account, "same")) for _ in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert account.spent.calls == 1
    assert account.repeated == {"prompts": 8}
    again = Account(CallLedger(tmp_path / "calls.sqlite", run="first"), caps=Caps(calls=1))
    with collect_spared_seconds() as seconds:
        assert ask(again, "same") == '"reply to same"'
    assert sum(seconds) > 0
    with pytest.raises(BudgetSpent, match="1 calls and 10 tokens spent of at most 1 calls"):
        ask(again, "other")
    other = Account(CallLedger(tmp_path / "calls.sqlite", run="second"))
    assert (ask(other, "same"), other.spent.calls) == ('"reply to same"', 0)


def test_what_a_call_was_spared_is_in_its_time_and_in_that_of_whoever_asked(tmp_path: Path) -> None:
    account = Account(CallLedger(tmp_path / "calls.sqlite", run="first"))

    def answer() -> tuple[str, Bill]:
        spare_seconds(70.0)
        return "{}", Bill(1)

    for _ in range(2):
        with collect_spared_seconds() as seconds:
            account.ask(CallRequest("same", Bill(1), "test"), answer)
        assert sum(seconds) == pytest.approx(70, abs=1)


def test_a_closed_account_lets_nothing_out() -> None:
    account = Account()
    account.close()
    with pytest.raises(BudgetSpent):
        ask(account, "late")


def test_a_thread_left_behind_neither_calls_nor_hides_a_call(server: Writing) -> None:
    meter, predict = SpendMeter(), dspy.Predict("question -> answer")
    with dspy.context(lm=MeteredLM(lm_of(server), meter.account)):
        with meter.stage("prompts"):
            predict(question="one?")
            late = CallRequest("late", Bill(1), meter.account.stage)
        with pytest.raises(BudgetSpent):
            predict(question="two?")
    meter.account.ask(late, lambda: ("said", Bill(1)))
    assert len(server.calls) == 1
    assert [(spend.stage, spend.calls) for spend in meter.stages] == [("prompts", 2)]


def test_a_stage_that_spends_nothing_is_listed_too() -> None:
    meter = SpendMeter()
    with meter.stage("idle"):
        pass
    (spend,) = meter.stages
    assert (spend.stage, spend.calls, spend.prompt_tokens) == ("idle", 0, 0)


@pytest.fixture(params=["lm15", "litellm"])
def engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each client that DSPy can call a model with."""
    yield request.param
    if request.param == "litellm":
        close_clients()


def test_every_attempt_and_every_completion_counts(server: Writing, engine: str) -> None:
    account = Account(stage="prompts")
    lm = MeteredLM(lm_of(server, engine=engine), account, Prices(1, 2))
    assert can_write(lm)
    assert not can_write(MeteredLM(build_lm("extractive"), account))
    predict = dspy.Predict("question -> proposed_instruction", n=3)
    server.fail("500", times=1)
    with dspy.context(lm=lm):
        said = predict(question="one?", temperature=1.0)
        written = said.completions.proposed_instruction
        assert len(set(written)) == 3
        assert predict(question="one?", temperature=1.0).completions.proposed_instruction == written
        other = predict(question="one?", config={"rollout_id": 1, "temperature": 1.0})
        assert other.proposed_instruction not in written
    assert account.spent.calls == len(server.calls) == 7
    spent = account.spent
    assert spent.cost == pytest.approx((spent.prompt_tokens + 2 * spent.completion_tokens) / 1e6)


@pytest.mark.parametrize(("times", "again"), [(1, 0), (2, 1)])
def test_a_reply_is_asked_again_by_another_run_only_if_nothing_could_be_read(
    server: Writing, tmp_path: Path, times: int, again: int
) -> None:
    server.fail("garbage", times=times)
    for run in ("first", "first", "second"):
        ledger = CallLedger(tmp_path / "calls.sqlite", run=run)
        lm, predict = (
            MeteredLM(lm_of(server), Account(ledger, stage="test")),
            dspy.Predict("question -> answer"),
        )
        readable = times == 1 or run == "second"
        ends = nullcontext() if readable else pytest.raises(AdapterParseError)
        with dspy.context(lm=lm, callbacks=[UnreadMarks(ledger)]), ends:
            predict(question="one?")
    assert len(server.calls) == 2 + again


def bought(ledger: CallLedger, text: str) -> None:
    """One question, asked anew: "broken" is what its run could not read."""
    ledger.close(ledger.open("question", "prompts"), PaidReply(json.dumps(text), 1.0), Bill(1))
    if text == "broken":
        ledger.mark_unread(["question"])


def said(ledger: CallLedger) -> str | None:
    found = ledger.find("question")
    return json.loads(found.text) if found else None


def test_what_one_run_could_not_read_says_nothing_of_other_replies(tmp_path: Path) -> None:
    first, second, third, late = (
        CallLedger(tmp_path / "calls.sqlite", run=run) for run in ("1", "2", "3", "late")
    )
    number = late.open("question", "prompts")
    bought(first, "broken")
    assert said(second) is None
    bought(second, "good")
    first.mark_unread(["question"])
    assert (said(first), said(second), said(third)) == ("broken", "good", "good")
    late.close(number, PaidReply('"late"', 1.0), Bill(1))
    assert (said(late), said(third)) == ("late", "late")


def test_a_reply_of_another_run_is_met_again_until_it_ends_this_one(tmp_path: Path) -> None:
    first, second, third = (
        CallLedger(tmp_path / "calls.sqlite", run=run) for run in ("1", "2", "3")
    )
    bought(first, "unheard of")
    second.mark_unread(["question"])
    assert (said(first), said(second), said(third)) == ("unheard of", "unheard of", None)
    second.drop_unread()
    assert (said(first), said(second)) == ("unheard of", None)
    bought(second, "broken")
    assert said(second) == "broken"
    second.drop_unread()
    bought(second, "good")
    assert (said(second), said(third)) == ("good", "good")
    assert second.bills()["prompts"].calls == 2


def test_a_cap_on_cost_needs_a_price(server: Writing) -> None:
    account = Account(caps=Caps(cost=1))
    with pytest.raises(CompileError, match="No price is known for 'openai/scripted'"):
        known_prices(lm_of(server), account, None)
    listed = known_prices(dspy.LM("openai/gpt-4o-mini"), account, None)
    assert listed.prompt == pytest.approx(0.15)
    assert listed.completion == pytest.approx(0.6)


@pytest.mark.usefixtures("few_are_enough")
@pytest.mark.parametrize("optimizer", ["bootstrap-random-search", "mipro", "gepa", "simba"])
def test_a_cap_ends_learning_with_the_best_so_far(
    server: Writing, world: Path, tmp_path: Path, optimizer: str
) -> None:
    cap = 90
    run = Run(tmp_path / "run", caps=Caps(calls=cap))
    section = wanted(world, optimizer)
    result = compile_program(section, few(world), lm=lm_of(server), run=run)
    assert len(server.calls) == sum(stage.calls for stage in result.spend) <= cap
    assert result.stopped
    assert all("best so far is kept" in note for note in result.stopped)
    assert set(result.test) >= {"baseline", result.chosen}
    assert set(result.stopped) <= set(result.notes)
    more = Run(tmp_path / "run", resume=True)
    finished = compile_program(section, few(world), lm=lm_of(server), run=more)
    assert not finished.stopped
    spent = {stage.stage: stage.calls for stage in finished.spend}
    assert sum(spent.values()) == len(server.calls), spent


def test_too_small_a_cap_says_how_much_is_needed(
    server: Writing, world: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = Run(tmp_path / "run", caps=Caps(calls=50))
    with pytest.raises(CompileError, match=r"need about 66 calls and .*Raise the cap and go on"):
        compile_program(wanted(world, "labeled"), small(world), lm=lm_of(server), run=run)
    assert len(server.calls) == 10
    assert "that takes 10 or more, choice and test 66." in caplog.text  # before anything was spent


@pytest.mark.parametrize("engine", ["litellm"], indirect=True)
def test_what_an_estimate_was_told_is_not_paid_for_again(
    server: Writing, engine: str, world: Path, tmp_path: Path
) -> None:
    section, calls = wanted(world, "labeled"), tmp_path / "calls.sqlite"
    lm = lm_of(server, engine=engine)
    estimate_compile(section, small(world), lm=lm, calls=calls)
    run = Run(tmp_path / "run", calls=calls)
    result = compile_program(section, small(world), lm=lm, run=run)
    assert sum(stage.calls for stage in result.spend) == len(server.calls) - 5
    assert result.spend[1].repeated == 5 + FIRST + FEW  # of the estimate, and of the first looks


def test_an_estimate_is_made_from_a_few_questions(server: Writing, world: Path) -> None:
    section: Any = wanted(world, "bootstrap-random-search")
    found = estimate_compile(section, small(world), lm=lm_of(server))
    assert (found.spent, len(server.calls)) == (5, 5)
    assert [need.stage for need in found.needs] == [
        "baseline", "halving", "prompts", "shortlist", "choice", "test",
    ]  # fmt: skip
    assert found.calls == sum(need.questions for need in found.needs)
    assert found.tokens > 100 * found.calls
    assert found.seconds > 0
    assert TOLD not in str(server.calls[0].messages)


def test_what_was_given_up_is_not_held_back() -> None:
    rows = [EvaluationRow(str(n), "?", (), prompt_tokens=100, completion_tokens=n) for n in (5, 15)]
    done = Evaluation((*rows, EvaluationRow("3", "?", (), error="TimeoutError")))
    spent = Bill(9, 1000, 6000, cost=7.0)
    assert without_given_up(spent, done) == Bill(9, 300, 35, cost=7.0 * 335 / 7000)
    assert without_given_up(spent, Evaluation(done.rows[2:])) == spent
