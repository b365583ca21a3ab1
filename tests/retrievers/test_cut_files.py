"""Files of vectors that somebody cuts in place while they are open.

The system ends a process (SIGBUS) that reads what is gone of a file that it has mapped: the files
are cut under a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

READER = """
import json, os, sys
from pathlib import Path
import numpy as np
from ragwright.retrievers import vector_blocks
from ragwright.retrievers.errors import IndexFault
from ragwright.retrievers.late import TokenVectors
from ragwright.retrievers.own_vectors import OwnVectors

folder, vector_blocks._READ = Path(sys.argv[1]), int(sys.argv[2])
rows = np.random.default_rng(0).standard_normal((1000, 64)).astype(np.float32)
rows /= np.linalg.norm(rows, axis=1, keepdims=True)
tokens = TokenVectors.create(folder, 64)
spans = tokens.write(0, 0, tokens.coded([rows]))
OwnVectors(folder, 64).append([f"{number:016x}{0:016x}" for number in range(1000)], rows)
own = OwnVectors(folder, 64).now
said = [tokens.maxsim(rows[:2], 0, spans).tolist(), list(own.nearest(rows[0], 1))]
for file in (tokens.path(0), folder / "vectors.bin"):
    os.truncate(file, 100)
try:
    tokens.maxsim(rows[:2], 0, spans)
except IndexFault as error:
    said.append(str(error))
found = [own.nearest(rows[0], 1), own.nearest(rows[998], 1, own.keys[-3:])]
print(json.dumps([*said, [one and list(one) for one in found], len(list(own.damaged()))]))
"""


@pytest.mark.parametrize(
    ("held", "found_after"),
    [(1 << 24, [[f"{0:032x}"], [f"{998:016x}{0:016x}"]]), (0, [None, None])],
    ids=["few", "many"],
)
def test_a_file_that_is_cut_while_it_is_open_is_an_error_and_no_signal(
    held: int, found_after: list[list[str] | None], tmp_path: Path
) -> None:
    """Of few vectors, all are in memory; of many, the store is asked instead."""
    done = subprocess.run(
        [sys.executable, "-c", READER, str(tmp_path), str(held)], capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    maxsim, nearest, fault, found, damaged = json.loads(done.stdout)
    assert (maxsim, nearest) == ([pytest.approx(1.0, abs=0.05)], [f"{0:032x}"])
    assert "are damaged" in fault
    assert (found, damaged) == (found_after, 1000)
