"""Turns errors of a run's files into one error that says how to go on.

A disk that is full, a folder that cannot be written and a ledger of calls that is damaged end a
compile, and none of them is a wrong answer of the program. Knows no file by name.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ragwright.optimize.spending.ledger import LedgerFault
from ragwright.retrievers.errors import CompileError

_HINT = "Make room, or let it be written, and go on with --resume: no call is paid for twice."


@contextmanager
def translate_disk_errors(folder: Path, *, hint: str = _HINT) -> Iterator[None]:
    """Translate what is wrong with files while something works in a folder.

    Args:
        folder: Where.
        hint: How to go on.

    Raises:
        CompileError: A file cannot be read or written, or the ledger of calls is damaged.
    """
    try:
        yield
    except LedgerFault as fault:
        again = f"{hint} A damaged one has to be deleted: its calls are made again."
        raise CompileError(str(fault), hint=again) from fault
    except OSError as error:
        file = str(error.filename or folder)
        reason = error.strerror or type(error).__name__
        raise CompileError(f"{file!r} cannot be read or written: {reason}.", hint=hint) from error
