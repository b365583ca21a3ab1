"""Converts files, and unpacks archives, in a process of its own, which may hang, swell or die.

The process is started for the first file and goes on for the next; one that takes too long is
ended, and the file is a problem. Time is the processor's, so that a busy machine reads the same
files as an idle one. This module is run by it too, as its main program.
"""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import selectors
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self

from ragwright.retrievers.documents.archives import NoRoom, unpack
from ragwright.retrievers.documents.convert import convert_file, preload_converter
from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.kinds import HTML, MARKED_UP
from ragwright.retrievers.documents.opening import UnreadableFile
from ragwright.retrievers.documents.options import Problem, ReadOptions
from ragwright.retrievers.errors import InputError

_ARCHIVE = "archive"
"""Stands for the ending of what is unpacked, not converted."""
_MEMORY = 4 << 30
_HAS = Path("/proc/self/statm")
_STACK = 256 << 20
_DEEP = 20_000
_SECONDS = {**dict.fromkeys(HTML | MARKED_UP, (6.0, 3e-6)), ".pdf": (6.0, 3e-5)}
"""How long files of a kind may take: the smallest, and for each byte more."""
_ROOM = {".pdf": (256 << 20, 200)}
"""How much memory: forms in one another make gigabytes of a PDF of two kilobytes."""
_PATIENCE = 10.0
"""How many times as long it may take by the clock, on a machine that is busy with other things."""
_START_SECONDS = 60.0
"""How long the process may take to start, and its libraries to load, on a busy machine."""


class ConverterProcess:
    """A process that converts files, one at a time; a context manager.

    Args:
        max_seconds: How much of the processor's time a file may take.
        max_unpacked: How many bytes an office file may unpack to.
        encoding: Of pages that are not UTF-8 and declare nothing; "" to have it guessed.
    """

    def __init__(self, max_seconds: float, max_unpacked: int, encoding: str = "") -> None:
        self._seconds = max_seconds
        self._most = max_unpacked
        self._encoding = encoding
        self._process: subprocess.Popen[bytes] | None = None
        self._warm: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def convert(self, data: bytes, suffix: str) -> FileText:
        """Return what a file holds.

        Raises:
            UnreadableFile: It cannot be converted, took too long, or ended the process.
        """
        seconds = self._seconds
        if suffix in _SECONDS:
            least, each = _SECONDS[suffix]
            seconds = min(seconds, least + each * len(data))
        return FileText.of(self._reply(suffix, data, seconds))

    def unpack(self, path: Path, folder: Path, max_bytes: int) -> list[Problem]:
        """Write the files in an archive into a folder; return what of it was left out.

        Raises:
            UnreadableFile: It cannot be unpacked, took too long, or ended the process.
            InputError: The folder cannot be written to.
        """
        asked = {"path": str(path.absolute()), "folder": str(folder), "max_bytes": max_bytes}
        reply = self._reply(_ARCHIVE, json.dumps(asked).encode(), self._seconds)
        if "room" in reply:
            raise no_room(str(reply["room"]))
        return [Problem(str(name), str(reason)) for name, reason in reply["left"]]

    def _reply(self, suffix: str, data: bytes, seconds: float) -> Any:
        try:
            if suffix not in self._warm:
                self._ask(suffix, None, _START_SECONDS)
                self._warm.add(suffix)
            reply = self._ask(suffix, data, seconds)
        except (OSError, ValueError) as error:
            if self._end() == -signal.SIGPROF or isinstance(error, TimeoutError):
                work = "unpack" if suffix == _ARCHIVE else "convert"
                raise UnreadableFile(f"it took more than {seconds:g} seconds to {work}") from error
            raise UnreadableFile(
                "its conversion ended the converter (out of memory, or a fault)"
            ) from error
        if "problem" in reply:
            raise UnreadableFile(str(reply["problem"]))
        return reply

    def _ask(self, suffix: str, data: bytes | None, seconds: float) -> Any:
        """Have a file converted; without one, have what converts its kind loaded."""
        process = self._started()
        size = None if data is None else len(data)
        asked = {
            "suffix": suffix,
            "size": size,
            "most": self._most,
            "seconds": seconds,
            "encoding": self._encoding,
        }
        _write(process, json.dumps(asked).encode() + b"\n" + (data or b""))
        patience = _PATIENCE if data is not None else 1.0
        return json.loads(_read(process, time.monotonic() + seconds * patience))

    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
            )
        return self._process

    def _end(self) -> int:
        """End the process; return its exit status, which is below 0 after a signal."""
        process, self._process = self._process, None
        self._warm.clear()
        if process is None:
            return 0
        process.kill()  # which changes nothing for one that has ended already
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what is not written yet is not wanted
                    pipe.close()
        return process.wait()


def no_room(reason: str) -> InputError:
    """The error for a place of temporary files that cannot be written to."""
    return InputError(
        f"Archives cannot be unpacked: {reason}.",
        hint="Name a folder for temporary files that has room: TMPDIR=/a/folder",
    )


def _write(process: subprocess.Popen[bytes], data: bytes) -> None:
    if process.stdin is not None:  # always: it was started with one
        process.stdin.write(data)
        process.stdin.flush()


def _read(process: subprocess.Popen[bytes], until: float) -> bytes:
    """Read a line of the process.

    Raises:
        TimeoutError: It did not come in time.
        OSError: The process ended.
    """
    if process.stdout is None:
        raise OSError("the process has no output")
    descriptor, parts = process.stdout.fileno(), list[bytes]()
    # Not select.select: it takes no descriptor above 1023, which a server may have open.
    with selectors.DefaultSelector() as waiting:
        waiting.register(descriptor, selectors.EVENT_READ)
        while not parts or not parts[-1].endswith(b"\n"):
            if not waiting.select(max(0.0, until - time.monotonic())):
                raise TimeoutError
            part = os.read(descriptor, 1 << 20)
            if not part:
                raise OSError("the process ended")
            parts.append(part)
    return b"".join(parts)


def _serve(source: IO[bytes], target: IO[bytes]) -> None:
    """Convert what comes in until nothing comes any more.

    Whoever asked removes what was unpacked; unless it was killed, which ends what comes in.
    """
    unpacked = list[str]()
    try:
        _serve_each(source, target, unpacked)
    finally:
        for folder in unpacked:
            shutil.rmtree(folder, ignore_errors=True)


def _serve_each(source: IO[bytes], target: IO[bytes], unpacked: list[str]) -> None:
    while line := source.readline():
        asked = json.loads(line)
        if asked["size"] is None:
            if asked["suffix"] != _ARCHIVE:
                preload_converter(asked["suffix"])
            answer: dict[str, Any] = {}
        else:
            data = source.read(asked["size"])
            if asked["suffix"] == _ARCHIVE:
                unpacked.append(json.loads(data)["folder"])
            signal.setitimer(signal.ITIMER_PROF, asked["seconds"])  # which ends the process
            _limit_memory(_room(asked["suffix"], len(data)))
            answer = _answer(data, asked)
            signal.setitimer(signal.ITIMER_PROF, 0)
        target.write(json.dumps(answer).encode() + b"\n")
        target.flush()


def _answer(data: bytes, asked: dict[str, Any]) -> dict[str, Any]:
    try:
        if asked["suffix"] == _ARCHIVE:
            return _unpack(json.loads(data), asked["most"])
        return convert_file(data, asked["suffix"], asked["most"], asked["encoding"]).as_dict()
    except UnreadableFile as error:
        return {"problem": str(error)}
    except RecursionError:
        return {"problem": "it is nested too deeply"}
    except MemoryError:
        return {"problem": "it takes more memory than a file may"}


def _unpack(asked: dict[str, Any], most: int) -> dict[str, Any]:
    left = list[Problem]()
    limits = ReadOptions(max_bytes=asked["max_bytes"], max_unpacked_bytes=most, on_note=left.append)
    try:
        unpack(Path(asked["path"]), Path(asked["folder"]), limits)
    except NoRoom as error:
        return {"room": str(error)}
    return {"left": [(one.place, one.reason) for one in left]}


def _last_words(target: IO[bytes], kind: type[BaseException], error: BaseException | None) -> None:
    """Say what a library raised, which ends this process; the next file gets another."""
    reason = " ".join(f"{kind.__name__} {error}".split())[:200]
    target.write(json.dumps({"problem": f"it cannot be converted: {reason}"}).encode() + b"\n")
    target.flush()


def _room(suffix: str, size: int) -> int:
    """Return how much memory this process may have for a file, besides what it has already."""
    if suffix not in _ROOM:
        return _MEMORY
    least, each = _ROOM[suffix]
    try:
        has = int(_HAS.read_text().split()[0]) * mmap.PAGESIZE
    except (OSError, ValueError, IndexError):  # not everywhere
        return _MEMORY
    return min(_MEMORY, has + least + each * size)


def _limit_memory(most: int) -> None:
    """Bound the memory of this process, and leave no core file behind."""
    with contextlib.suppress(ImportError, ValueError, OSError):  # not everywhere
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_AS, (most, _MEMORY))


def _deep(work: Callable[[], None]) -> None:
    """Run something with room for deeply nested documents."""
    threading.stack_size(_STACK)
    sys.setrecursionlimit(_DEEP)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


if __name__ == "__main__":
    # What libraries print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it ends with what started it
    _limit_memory(_MEMORY)
    threading.excepthook = lambda args: _last_words(answers, args.exc_type, args.exc_value)
    _deep(lambda: _serve(sys.stdin.buffer, answers))
