"""A compile in a process of its own, to be killed: WORLD RUN SERVER OPTIMIZER [MORE ...].

MORE: `resume`; `pool=7`, to kill itself when so much of a stage is done. Writes the compiled state
into RUN/compiled.json.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import dspy

from ragwright.optimize import Run, compile_program
from tests.optimize.conftest import recipe
from tests.optimize.scripted import small

SHORT: dict[str, dict[str, object]] = {
    "bootstrap": {},
    "copro": {"breadth": 2, "depth": 1},
    "mipro": {"auto": "", "instructions": 2, "trials": 2},
    "gepa": {"answers": 20},
}
"""Options with which an optimizer soon ends."""


def main(world: Path, folder: Path, url: str, optimizer: str, more: list[str]) -> None:
    def killing(stage: str, done: int, total: int) -> None:
        if f"{stage}={done}" in more:
            os.kill(os.getpid(), signal.SIGKILL)

    lm = dspy.LM(
        "openai/scripted", api_base=url, api_key="test", cache=False, temperature=0.0, timeout=60
    )
    wanted = recipe(
        world, compile={"optimizer": optimizer, "retrieval_trials": 30, "shortlist": 1,
                        "threads": 2, "candidates": 2, "options": SHORT.get(optimizer, {})},
    )  # fmt: skip
    run = Run(folder, resume="resume" in more, progress=killing)
    result = compile_program(wanted, small(world), lm=lm, run=run)
    state = {"state": result.program.dump_state(), "chosen": result.chosen,
             "test": [list(item.scores) for item in result.test.values()]}  # fmt: skip
    (folder / "compiled.json").write_text(json.dumps(state), encoding="utf-8")


if __name__ == "__main__":
    assert os.environ["DSPY_CACHEDIR"]
    paths = [Path(argument) for argument in sys.argv[1:3]]
    main(paths[0], paths[1], sys.argv[3], sys.argv[4], sys.argv[5:])
