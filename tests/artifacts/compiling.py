"""Compiles in child processes that are killed, run out of disk, or find damaged files.

Has everything imported and nothing open, so that a child starts at once. Called as:
compiling.py FOLDER SERVER KIND COUNT; prints a line for each attack, and fails if one of them ended
in anything but the compile that is undisturbed or an error of ours.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import chromadb.api.rust  # noqa: F401 - imported before forking
import mlflow.pyfunc  # noqa: F401

import ragwright.artifacts.registry  # noqa: F401
from ragwright.artifacts.cli.compile import CompileRequest, compile_recipe
from ragwright.artifacts.store import load
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.errors import RagError
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stamp import IndexSettings
from tests.optimize.conftest import CHUNKING, documents, lines

RECIPE = """name = "towns"
[index]
path = "index"
embedder = "hash"
[index.chunking]
kind = "recursive"
size = 24
[lm]
model = "openai/scripted"
api_base = "SERVER"
[compile]
optimizer = "labeled"
retrieval_trials = 3
shortlist = 1
threads = 2
"""
FINE, REFUSED, BROKEN = 0, 3, 4
LONGEST = 900
CLOCK_JUMPS = (0.0, 86_400.0, -86_400.0, 3e8)


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def prepare(root: Path, server: str) -> None:
    settings = IndexSettings(embedder="hash", chunking=ChunkSettings.model_validate(CHUNKING))
    ingest(documents(), root / "index", settings)
    rows = lines()[:40]
    for number, row in enumerate(rows):
        row["split"] = ("train", "dev", "test", "test")[number % 4]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (root / "questions.jsonl").write_text(text, encoding="utf-8")
    (root / "rag.toml").write_text(RECIPE.replace("SERVER", server), encoding="utf-8")


def compiled(root: Path, place: Path, *, stage: Path | None = None) -> Path:
    """Compile, or go on with what a run in `place` has come to; return the version."""

    def told(name: str, done: int, total: int) -> None:
        if stage is not None:
            stage.write_text(name, encoding="utf-8")

    runs = sorted((place / "runs").glob("*/journal.jsonl")) if place.exists() else []
    begun = [file.parent for file in runs if file.stat().st_size]
    wanted = CompileRequest(
        recipe=root / "rag.toml",
        trainset=root / "questions.jsonl",
        output=place / "artifact",
        workspace=place,
        resume=begun[-1] if begun else None,
    )
    done = compile_recipe(wanted, told)
    if stage is not None:
        stage.write_text("done", encoding="utf-8")
    return done.version


def state_of(version: Path) -> str:
    """What a compile came to: everything that its program knows."""
    return json.dumps(load(version).dump_state(), sort_keys=True, default=str)


def forked(act: Callable[[], object], output: Path) -> int:
    """Run something in a child; its output goes to a file."""
    child = os.fork()
    if child:
        return child
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    status = FINE
    try:
        act()
    except RagError as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        status = REFUSED
    except BaseException:  # noqa: BLE001 (whatever it is, it is no error of ours)
        traceback.print_exc()
        status = BROKEN
    sys.stderr.flush()
    os._exit(status)


def ended(child: int) -> int:
    """Wait for a child, not for ever."""
    until = time.monotonic() + LONGEST
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return BROKEN


@dataclass
class Attack:
    """A folder with an index and a training set, and what compiling it undisturbed comes to."""

    root: Path
    drawn: random.Random
    seconds: float = 0.0
    wanted: str = ""
    broken: int = 0

    def begin(self) -> None:
        began = time.monotonic()
        version = self.root / "whole" / "artifact" / "1"
        output = self.root / "whole.txt"
        status = ended(forked(lambda: compiled(self.root, self.root / "whole"), output))
        if status:
            raise SystemExit(output.read_text(encoding="utf-8"))
        self.seconds = time.monotonic() - began
        self.wanted = self.state(version)

    def state(self, version: Path) -> str:
        """Load a version in a child: nothing is to be open here."""
        output = self.root / "state.txt"
        ended(forked(lambda: sys.stdout.write(state_of(version)) and sys.stdout.flush(), output))
        return output.read_text(encoding="utf-8")

    def run(self, place: Path, prepared: Callable[[], object] = lambda: None) -> tuple[int, str]:
        """Compile in a child that something is done to first; return its status and last words."""
        output = self.root / "output.txt"

        def act() -> None:
            prepared()
            compiled(self.root, place)

        status = ended(forked(act, output))
        said = [line for line in output.read_text(encoding="utf-8").splitlines() if line.strip()]
        return status, said[-1] if said else ""

    def judged(self, name: str, place: Path, status: int, said: str) -> None:
        """Make sure that a disturbed compile was refused, or can be finished, or is right."""
        first = {FINE: "went on", REFUSED: "refused"}.get(status, "BROKEN")
        again, last = (status, said) if status == FINE else self.run(place)
        right = again == FINE and self.state(newest(place)) == self.wanted
        end = "the same" if right else f"NOT the same: {last}"
        self.broken += first == "BROKEN" or not right
        say(f"{name}: {first}, {end}. {said[:300] if status else ''}")


def newest(place: Path) -> Path:
    versions = [entry for entry in (place / "artifact").iterdir() if entry.name.isdecimal()]
    return max(versions, key=lambda entry: int(entry.name))


def kills(attack: Attack, count: int) -> None:
    """Kill one compile after the other, anywhere, and let it go on; then the next one."""
    stages: dict[str, int] = {}
    place, number, stage = attack.root / "killed-0", 0, attack.root / "stage"
    killed = 0
    while killed < count:
        stage.write_text("start", encoding="utf-8")
        output = attack.root / "output.txt"
        child = forked(partial(compiled, attack.root, place, stage=stage), output)
        time.sleep(attack.drawn.uniform(0, attack.seconds))
        os.kill(child, signal.SIGKILL)
        if ended(child) == -signal.SIGKILL:
            killed += 1
            name = stage.read_text(encoding="utf-8") or "start"
            stages[name] = stages.get(name, 0) + 1
        else:
            status = FINE if (place / "artifact").exists() else BROKEN
            attack.judged(f"compile {number}", place, status, output.read_text(encoding="utf-8"))
            number += 1
            place = attack.root / f"killed-{number}"
    attack.judged(f"compile {number}", place, *attack.run(place))
    say(f"killed {killed} times: {stages}")


class Disk:
    """Counts what a process writes below a folder, and lets it fail from one time on.

    Args:
        below: The folder.
        room: How many times there is room.
        kind: What is wrong then, of `errno`.
    """

    def __init__(self, below: Path, room: int, kind: int = errno.ENOSPC) -> None:
        self.below = f"{below}{os.sep}"
        self.room = room
        self.kind = kind
        self.count = 0

    def watch(self) -> None:
        sys.addaudithook(self._heard)
        for name in ("write", "fsync"):
            setattr(os, name, self._guarded(getattr(os, name)))

    def _guarded(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def guarded(descriptor: int, *more: Any) -> Any:
            self._wrote(Path(f"/proc/self/fd/{descriptor}").readlink())
            return call(descriptor, *more)

        return guarded

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                self._wrote(path)
        elif event in {"os.rename", "os.mkdir", "os.truncate", "tempfile.mkdtemp"}:
            self._wrote(arguments[0])

    def _wrote(self, path: object) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        if not str(Path(os.fsdecode(path)).absolute()).startswith(self.below):
            return
        self.count += 1
        if self.count > self.room:
            raise OSError(self.kind, os.strerror(self.kind), os.fsdecode(path))


def writes(attack: Attack, count: int) -> None:
    """Fill the disk at a write of a compile, and at all later ones; then make room and go on."""
    counted = attack.root / "counted"
    place = attack.root / "counting"

    def counting() -> None:
        disk = Disk(place, sys.maxsize)
        disk.watch()
        compiled(attack.root, place)
        counted.write_text(str(disk.count), encoding="utf-8")

    if status := ended(forked(counting, attack.root / "output.txt")):
        raise SystemExit(f"counting writes failed: {status}")
    total = int(counted.read_text(encoding="utf-8"))
    for number in range(count):
        room = total * number // count + attack.drawn.randrange(max(1, total // count))
        place = attack.root / f"full-{number}"
        status, said = attack.run(place, Disk(place, room).watch)
        attack.judged(f"no room after {room} of {total} writes", place, status, said)


def sizes(attack: Attack, count: int) -> None:
    """Let no file grow beyond a size, whoever writes it, SQLite and MLflow too; then go on."""
    import resource

    for number in range(count):
        most = 2 ** attack.drawn.randrange(6, 19)
        place = attack.root / f"small-{number}"
        heard, told = os.pipe()  # a file of what it says could not grow either

        def limited(most: int = most, told: int = told) -> None:
            os.dup2(told, 1)
            os.dup2(told, 2)
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        status, _ = attack.run(place, limited)
        os.close(told)
        with os.fdopen(heard, encoding="utf-8") as pipe:
            said = [line for line in pipe.read().splitlines() if line.strip()]
        last = said[-1] if said else ""
        attack.judged(f"no file over {most} bytes", place, status, last)


def damage(attack: Attack, count: int) -> None:
    """Damage a file of a run that was cut short or is done; it goes on, or is refused clearly."""
    cut = attack.root / "cut"
    child = forked(lambda: compiled(attack.root, cut), attack.root / "output.txt")
    while not list(cut.glob("runs/*/evaluations/*")) and not os.waitpid(child, os.WNOHANG)[0]:
        time.sleep(0.05)
    time.sleep(attack.seconds / 4)
    os.kill(child, signal.SIGKILL)
    for number in range(count):
        place = attack.root / f"damaged-{number}"
        shutil.copytree(attack.root / ("whole" if number % 3 == 2 else "cut"), place)
        shutil.rmtree(place / "artifact", ignore_errors=True)
        file, how = _damaged(place, attack.drawn)
        status, said = attack.run(place)
        name = f"{how}: {file.relative_to(place)}"
        if status == REFUSED:
            say(f"{name}: refused. {said[:300]}")
            attack.broken += file.name not in said
        else:
            attack.judged(name, place, status, said)


def _damaged(place: Path, drawn: random.Random) -> tuple[Path, str]:
    files = sorted(
        file
        for file in (place / "runs").rglob("*")
        if file.suffix in {".jsonl", ".sqlite", ".npz", ".json", ".db"} and file.stat().st_size
    )
    # Files of each kind as often as others: there is one journal, and many evaluations.
    kinds = sorted({file.suffix + file.parent.name for file in files})
    kind = drawn.choice(kinds)
    file = drawn.choice([one for one in files if one.suffix + one.parent.name == kind])
    data = bytearray(file.read_bytes())
    at, how = drawn.randrange(len(data)), drawn.choice(["zeros", "noise", "cut", "longer", "gone"])
    if how == "zeros":
        data[at : at + 64] = bytes(len(data[at : at + 64]))
    elif how == "noise":
        data[at : at + 64] = drawn.randbytes(len(data[at : at + 64]))
    elif how == "cut":
        del data[at:]
    elif how == "longer":
        data += drawn.randbytes(100)
    file.unlink()
    if how != "gone":
        file.write_bytes(data)
    return file, how


def together(attack: Attack, count: int) -> None:
    """Let two compiles write into one artifact at once."""
    for number in range(count):
        place = attack.root / f"both-{number}"
        outputs = [attack.root / f"output-{one}.txt" for one in "ab"]
        children = [forked(partial(compiled, attack.root, place), one) for one in outputs]
        for child, output in zip(children, outputs, strict=True):
            said = output.read_text(encoding="utf-8").splitlines()
            attack.judged("two at once", place, ended(child), (said or [""])[-1])
        versions = {entry.name for entry in (place / "artifact").iterdir()} & {"1", "2"}
        attack.broken += versions != {"1", "2"}
        say(f"versions {sorted(versions)}")


def clock(attack: Attack, count: int) -> None:
    """Set the clock forward and back by days and years while a compile runs."""
    for number in range(count):
        place, real = attack.root / f"clock-{number}", time.time

        def jumping(real: Callable[[], float] = real, seed: int = number) -> None:
            drawn = random.Random(seed)
            time.time = lambda: real() + drawn.choice(CLOCK_JUMPS)

        status, said = attack.run(place, jumping)
        attack.judged("the clock jumps", place, status, said)


def readonly(attack: Attack, count: int) -> None:
    """Let one folder after the other be read-only."""
    for number, name in enumerate(["", "runs", "artifact", "mlartifacts", "../index"][:count]):
        place = attack.root / f"readonly-{number}"
        below = (place / name).resolve()
        status, said = attack.run(place, Disk(below, 0, errno.EROFS).watch)
        attack.judged(f"{name or 'all'} is read-only", place, status, said)


def main() -> None:
    root, server, kind, count = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    root = root.resolve()
    os.chdir(root)
    ended(forked(lambda: prepare(root, server), root / "output.txt"))
    attack = Attack(root, random.Random(count))
    attack.begin()
    {
        "kills": kills, "writes": writes, "sizes": sizes, "damage": damage,
        "together": together, "clock": clock, "readonly": readonly,
    }[kind](attack, count)  # fmt: skip
    say(f"{attack.broken} broken")
    sys.exit(bool(attack.broken))


if __name__ == "__main__":
    main()
