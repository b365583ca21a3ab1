"""Processes of their own that begin with everything imported, for tests that start many.

They are forked from a server that has imported what a compile needs, and are processes like any
other from there on: with their own folder, environment and output, killed and waited for alone.
Importing costs more than most of what such tests let them do.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

# Not LiteLLM and not OpenVINO, which start threads.
IMPORTED = (
    "chromadb.api.rust",
    "mlflow.pyfunc",
    "mlflow.store.tracking.sqlalchemy_store",
    "optuna",
    "pyarrow",
    "ragwright.artifacts.cli.compile",
    "scipy.stats",
    "tests.optimize.killed",
)


def _context() -> ForkServerContext:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(IMPORTED))
    return context


class Forked:
    """A process that calls a function; what it prints goes into two files.

    Attributes:
        returncode: None while it runs; minus the number of the signal that ended it.
    """

    def __init__(
        self,
        call: Callable[..., object],
        *given: Any,
        folder: Path,
        out: Path,
        err: Path,
        env: Mapping[str, str] | None = None,
    ) -> None:
        environment = dict(os.environ if env is None else env)
        told = (call, given, str(folder), str(out), str(err), environment)
        self._process = _context().Process(target=_begin, args=told)
        self._process.start()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def interrupt(self) -> None:
        """Press Ctrl-C."""
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGINT)

    def wait(self, timeout: float) -> None:
        self._process.join(timeout)
        assert self.returncode is not None, "it still runs"


def rag(*words: str) -> None:
    """What `rag` does in its process."""
    from ragwright.artifacts.cli import main

    sys.argv = ["rag", *words]
    main()


def _begin(
    call: Callable[..., object],
    given: tuple[Any, ...],
    folder: str,
    out: str,
    err: str,
    environment: dict[str, str],
) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in ((1, out), (2, err)):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    try:
        call(*given)
    finally:
        atexit._run_exitfuncs()  # a forked process ends without them
