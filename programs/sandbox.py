"""Checks whether this machine can run the code that a language model writes for a program.

`dspy.ProgramOfThought`, `CodeAct`, `RLM` and `Flex` run it in DSPy's sandbox (Pyodide within Deno),
unless a program or `dspy.configure(interpreter_factory=...)` names another interpreter.
"""

from __future__ import annotations

from importlib.util import find_spec
from shutil import which

import dspy
from dspy.primitives.code_interpreter import CodeInterpreterError

from ragwright.programs.anatomy import modules_of
from ragwright.programs.dspy_internals import interpreter_of
from ragwright.retrievers.errors import MissingExtra


def check_sandbox(program: dspy.Module, *, start: bool) -> None:
    """Make sure that DSPy's sandbox is there, if a program needs it.

    Args:
        program: Any program.
        start: Whether to start it too, which takes seconds and shows that it has its files.

    Raises:
        MissingExtra: It is not there, or does not start.
    """
    needing = [
        (place, part)
        for place, part in modules_of(program).items()
        if interpreter_of(part) is dspy.PythonInterpreter
    ]
    for place, part in needing[:1]:
        try:
            _try(start)
        except (CodeInterpreterError, FileNotFoundError) as error:
            raise MissingExtra(
                f"{place!r} ({type(part).__name__}) runs code that a language model wrote, and "
                f"DSPy's sandbox for it does not start: {error}",
                hint="pip install 'dspy[deno]' brings Deno, which fetches Pyodide when it is first "
                "used; or name another interpreter: dspy.configure(interpreter_factory=...).",
            ) from error


def _try(start: bool) -> None:
    if find_spec("deno") is None and which("deno") is None:
        raise FileNotFoundError("Deno is not installed.")
    if start:
        sandbox = dspy.PythonInterpreter()
        try:
            sandbox.execute("1")
        finally:
            sandbox.shutdown()
