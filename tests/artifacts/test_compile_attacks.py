"""Compiles that are killed, run out of disk, find damaged files: `make attack` alone runs these.

The short versions are in `tests/optimize/test_resume.py`, which kills a compile in every stage.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.optimize.scripted import Writing

ROOT = Path(__file__).resolve().parents[2]
COUNT = int(os.environ.get("RAGWRIGHT_COMPILE_ATTACKS", "0"))
SHARE = {"kills": 1, "writes": 2, "sizes": 4, "damage": 1, "together": 20, "clock": 20}
"""One of how many of the attacks is tried in each way."""


@pytest.mark.skipif(not COUNT, reason="takes many minutes: `make attack` runs it")
@pytest.mark.parametrize("kind", [*SHARE, "readonly"])
def test_a_compile_goes_on_or_is_refused_clearly(tmp_path: Path, kind: str) -> None:
    count = max(1, COUNT // SHARE.get(kind, 12))
    with Writing() as server:
        command = [sys.executable, "-m", "tests.artifacts.compiling", str(tmp_path), server.url]
        done = subprocess.run(
            [*command, kind, str(count)], cwd=ROOT, capture_output=True, text=True, check=False
        )
    sys.stdout.write(done.stdout)
    assert not done.returncode, done.stdout + done.stderr
