"""A store opened and searched in a process of its own, since a damaged file may end the process.

Chroma follows the numbers in its graph's files without a check: a cut file is a segmentation fault,
which no `except` catches.
"""

from __future__ import annotations

import os
import subprocess
import sys

from ragwright.retrievers.stores.base import StoreURL

SECONDS = 600
_SEARCH = """
import sys
import numpy as np
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.stores.opening import open_store
dimension = int(sys.argv[2])
store = open_store(StoreURL.parse(sys.argv[1]), dimension=dimension)
store.query(np.random.default_rng(0).standard_normal(dimension).astype(np.float32), 50)
store.fetch([next(store.ids())])
store.close()
"""


def try_store(place: StoreURL, dimension: int) -> str:
    """Return how opening and searching a store ends that does not end well; "" if it does.

    Args:
        place: The store; one inside a folder.
        dimension: The length of its vectors.
    """
    command = [sys.executable, "-c", _SEARCH, str(place), str(dimension)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    try:
        ran = subprocess.run(
            command, env=environment, capture_output=True, timeout=SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return f"a search takes more than {SECONDS} seconds"
    if ran.returncode < 0:
        return f"it ends a process that searches it by signal {-ran.returncode}"
    said = ran.stderr.decode(errors="replace").strip().splitlines()
    return (said[-1][:300] if said else "a search fails") if ran.returncode else ""
