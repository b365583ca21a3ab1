"""The journal of a run: an append-only file in its folder, so that it resumes after a crash.

One JSON object a line, each written through to the disk; a line that a crash cut short is dropped.
The first says what the run is made from: with anything else it does not go on. LM calls are in the
ledger, evaluations in files of their own. Knows nothing of what the entries mean.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ragwright.retrievers.errors import CompileError, InputError

NAME = "journal.jsonl"
RECORDED = "recorded"
"""The event of a run that was finished, and kept where runs are kept: so that it is kept once."""
_SUM = "crc"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run is made from; every field a hash or an identity.

    Attributes:
        data: The training set.
        program: Kind, prompts and knobs that the program starts with.
        recipe: Everything in the recipe that decides the result; no paths, no threads.
        index: The index.
        lm: The language models, without keys.
    """

    data: str
    program: str
    recipe: str
    index: str
    lm: str


class Journal:
    """The journal of one run.

    Args:
        folder: The run's folder.
    """

    def __init__(self, folder: Path) -> None:
        self.file = folder / NAME
        self.entries = _read(self.file)

    def begin(self, origin: Origin, *, resume: bool) -> None:
        """Start a run, or go on with one that is made from the same.

        Raises:
            InputError: There is no run to go on with, or one where a new run should start.
            CompileError: It was made from something else.
        """
        if resume and not self.entries:
            raise InputError(
                f"There is no run to resume in {str(self.file.parent)!r}.",
                hint="Give the folder of a run that `rag compile` has started.",
            )
        if not resume and self.entries:
            raise InputError(
                f"{str(self.file.parent)!r} holds a run already.",
                hint="Resume it, or choose another folder.",
            )
        if resume:
            self._check(origin)
        self.add("resumed" if resume else "started", asdict(origin))

    def add(self, event: str, values: Mapping[str, Any]) -> None:
        """Write an entry; it is on the disk when this returns."""
        entry = json.loads(json.dumps({"event": event, **values}))
        entry |= {_SUM: _checksum(entry)}
        self.file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        try:
            os.write(descriptor, (json.dumps(entry) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self.entries.append(entry)

    def last(self, event: str, **values: Any) -> dict[str, Any] | None:
        """Return the newest entry of a kind that has these values."""
        for entry in reversed(self.entries):
            known = {key: entry.get(key) for key in values}
            if entry["event"] == event and known == values:
                return dict(entry)
        return None

    def _check(self, origin: Origin) -> None:
        began = self.entries[0]
        names = [field.name for field in fields(Origin)]
        changed = [name for name in names if began.get(name) != getattr(origin, name)]
        if changed:
            raise CompileError(
                f"The run in {str(self.file.parent)!r} cannot go on: since it started, "
                f"{' and '.join(changed)} changed.",
                hint="Undo the change, or start a new run.",
            )


def _read(file: Path) -> list[dict[str, Any]]:
    if not file.exists():
        return []
    data = file.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if len(whole) < len(data):
        with file.open("r+b") as handle:
            handle.truncate(len(whole))
    entries = [_entry(line) for line in whole.splitlines()]
    broken = [number for number, entry in enumerate(entries, 1) if entry is None]
    if broken:
        raise CompileError(
            f"The journal {str(file)!r} is damaged: line {broken[0]} is not what was written.",
            hint="Start a new run: replies that were paid for are kept beside it.",
        )
    return [entry for entry in entries if entry is not None]


def _entry(line: bytes) -> dict[str, Any] | None:
    """Read a line; None if it is not what was written. Older ones have no checksum."""
    try:
        entry = json.loads(line)
    except ValueError:
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("event"), str):
        return None
    return entry if entry.get(_SUM, _checksum(entry)) == _checksum(entry) else None


def _checksum(entry: Mapping[str, Any]) -> int:
    plain = {key: value for key, value in entry.items() if key != _SUM}
    return zlib.crc32(json.dumps(plain, sort_keys=True).encode())


@contextmanager
def lock_run_folder(folder: Path) -> Iterator[None]:
    """Hold a run's folder, so that no second process works on it.

    Raises:
        CompileError: Another process does.
    """
    import filelock

    folder.mkdir(0o700, parents=True, exist_ok=True)  # questions and answers lie there
    lock = filelock.FileLock(folder / "run.lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout as error:
        raise CompileError(
            f"Another process works on the run in {str(folder)!r}.", hint="Wait for it to end."
        ) from error
    try:
        yield
    finally:
        lock.release()
