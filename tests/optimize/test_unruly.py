"""A language model writes garbage, breaks off and thinks aloud: compiling ends with a report."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ragwright.optimize import Caps, Run, compile_program
from tests.optimize.conftest import recipe
from tests.servers.scripted_lm import Call

from .scripted import Writing, lm_of, small

GARBAGE, CUT, THINKS = 0.3, 0.1, 0.2


class Unruly(Writing):
    """Of its replies, 30 % are garbage, 10 % break off and 20 % begin with a thought, by a seed."""

    kinds: Counter[str]

    def reply(self, call: Call, *, as_json: bool) -> str:
        text = super().reply(call, as_json=as_json)
        drawn = random.Random(json.dumps(call.messages) + str(as_json)).random()
        if drawn < GARBAGE:
            self.kinds["garbage"] += 1
            return "%% !! @@"
        if drawn < GARBAGE + CUT:
            self.kinds["cut"] += 1
            return text[: len(text) // 2]
        if drawn < GARBAGE + CUT + THINKS:
            self.kinds["thinks"] += 1
            return f"<think>\n[[ ## answer ## ]]\nnever this?\n</think>\n{text}"
        return text


OPTIONS: dict[str, dict[str, Any]] = {
    "bootstrap": {},
    "copro": {"breadth": 2, "depth": 1},
    "mipro": {"auto": "", "instructions": 2, "trials": 2},
    "gepa": {"answers": 25},
}


@pytest.mark.parametrize("optimizer", OPTIONS)
def test_a_compile_ends_with_a_report_and_counts_what_failed(
    world: Path, tmp_path: Path, optimizer: str
) -> None:
    section = {"optimizer": optimizer, "retrieval_trials": 10, "shortlist": 1, "threads": 2,
               "options": OPTIONS[optimizer]}  # fmt: skip
    with Unruly() as server:
        server.kinds = Counter()
        lm, wanted = lm_of(server), recipe(world, compile=section)
        result = compile_program(wanted, small(world), lm=lm, run=Run(tmp_path / "run"))
        assert sum(stage.calls for stage in result.spend) == len(server.calls)
        assert min(server.kinds[kind] for kind in ("garbage", "cut", "thinks")) > 0
        for done in (*result.dev.values(), *result.test.values()):
            assert set(done.errors) <= {"AdapterParseError"}
            assert len(done.unreadable) == done.errors.get("AdapterParseError", 0)
            assert not any("never this" in row.answer for row in done.rows)
        told = json.dumps(result.program.dump_state())
        assert "never this" not in told
        assert "Not supplied" not in json.dumps([call.messages for call in server.calls])
        if optimizer != "bootstrap":
            return
        before, again = len(server.calls), Run(tmp_path / "run", resume=True)
        resumed = compile_program(wanted, small(world), lm=lm, run=again)
        assert len(server.calls) == before
        assert list(resumed.compiled.scores) == list(result.compiled.scores)


def test_caps_hold_where_replies_are_asked_for_twice(world: Path, tmp_path: Path) -> None:
    section = {"optimizer": "bootstrap", "retrieval_trials": 10, "shortlist": 3, "finalists": 2}
    with Unruly() as server:
        server.kinds = Counter()
        run = Run(tmp_path / "run", caps=Caps(calls=150))
        result = compile_program(
            recipe(world, compile=section), small(world), lm=lm_of(server), run=run
        )
        assert len(server.calls) <= 150
        assert sum(stage.calls for stage in result.spend) == len(server.calls)
