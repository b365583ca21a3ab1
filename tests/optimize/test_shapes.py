"""Public shapes of RAG programs, each with bootstrapping, MIPROv2 and GEPA, against a server."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dspy
import pytest

from ragwright.optimize.joint import JointOptimizer
from ragwright.optimize.prompts.teleprompters import custom_optimizer_settings
from ragwright.optimize.spending.budget import Account, Caps
from ragwright.optimize.spending.ledger import CallLedger
from ragwright.optimize.spending.metered import MeteredLM

from .scripted import Writing, lm_of
from .test_joint import Agent, Hops, Single, examples, found

pytestmark = pytest.mark.slow

OPTIONS: dict[str, dict[str, object]] = {
    "mipro": {"auto": "", "instructions": 2, "trials": 2},
    "gepa": {"answers": 24},
    "bootstrap": {},
}


@pytest.mark.parametrize("prompts", list(OPTIONS))
@pytest.mark.parametrize("shape", [Single, Hops, Agent])
def test_a_shape_is_compiled_with_an_optimizer(
    server: Writing, world: Path, tmp_path: Path, shape: type[dspy.Module], prompts: str
) -> None:
    optimizer = JointOptimizer(
        metric=found, prompts=prompts, lm=lm_of(server), run_dir=tmp_path / "run",
        retrieval_trials=2, options=OPTIONS[prompts],
    )  # fmt: skip
    asked = examples(30)
    compiled = optimizer.compile(
        shape(str(world / "index")), trainset=asked[:8], valset=asked[8:14], testset=asked[14:22]
    )
    assert type(compiled) is shape
    assert compiled.compile_result.run_dir == str(tmp_path / "run")
    assert (tmp_path / "run" / "report" / "report.html").is_file()
    assert len(server.calls) > 10


def test_the_own_language_model_of_a_teleprompter_is_metered(
    server: Writing, tmp_path: Path
) -> None:
    account = Account(CallLedger(tmp_path / "calls.sqlite", run="one"), caps=Caps(calls=5))
    lesson = SimpleNamespace(lm=MeteredLM(lm_of(server), account))
    given = dspy.GEPA(found_in_detail, max_metric_calls=9, reflection_lm=lm_of(server))
    built: Any = custom_optimizer_settings(given).build(lesson)  # type: ignore[arg-type]
    assert isinstance(built.reflection_lm, MeteredLM)
    assert built.reflection_lm.account is account
    assert not isinstance(given.reflection_lm, MeteredLM)
    account.close()


def found_in_detail(
    gold: dspy.Example, pred: dspy.Prediction, trace: object, name: object, seen: object
) -> float:
    return float(found(gold, pred))
