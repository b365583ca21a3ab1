"""Walk from a folder of documents to a served answer, and write docs/transcript.md as it was said.

    python docs/transcript.py                     over 300 documents of /usr/share/doc
    python docs/transcript.py FOLDER --files 50   over 50 of a folder of yours
    python docs/transcript.py --writing           with a scripted model that writes; no page

Each command is the one that the last one printed as the next; nothing is edited on the way, and no
key is set. Takes some five minutes. With `--writing`, the environment names a server on loopback
whose model writes questions and answers from a script, one in four of them flawed: the walk ends
with an error if a flawed one was kept.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import resource
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tests.servers.writing_lm import WritingLM

PAGE = Path(__file__).with_name("transcript.md")
SOURCE = Path("/usr/share/doc")
KINDS = frozenset({".html", ".htm", ".md", ".rst", ".txt"})
SIZES = range(500, 100_000)
"""Bytes of a file that is taken: neither a stub nor a book."""
DOCUMENTS = "docs"
KEYS = re.compile(r"_API_KEY$|_TOKEN$")
NEXT = re.compile(r"(?:^next:| {6})\s*(?P<command>rag [^#\n]+)", re.MULTILINE)
WALK = ("init", "ingest", "questions", "study", "compile", "serve")
QUESTION = "How is a bug reported?"


def taken(source: Path, place: Path, count: int) -> str:
    """Copy `count` documents, evenly over a folder, to a place; say what they are."""
    found = [
        path
        for path in sorted(source.rglob("*"))
        if path.suffix in KINDS and path.is_file() and not path.is_symlink()
    ]
    found = [path for path in found if path.stat().st_size in SIZES]
    if not found:
        sys.exit(f"There are no documents in {source}.")
    count = min(count, len(found))
    chosen = [found[number * len(found) // count] for number in range(count)]
    for path in chosen:
        target = place / DOCUMENTS / path.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    size = sum(path.stat().st_size for path in chosen) / 1e6
    return f"{count} files ({size:.1f} MB) of `{source}`"


def environment(place: Path, given: Mapping[str, str]) -> dict[str, str]:
    """The settings of this process, without keys but those given, with an empty cache of vectors.

    `rag` is found beside this Python. What is embedded is kept from one command to the next.
    """
    kept = {name: value for name, value in os.environ.items() if not KEYS.search(name)}
    kept["RAGWRIGHT_CACHE"] = str(place / "cache")
    beside = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', '')}"
    return kept | dict(given) | {"PATH": beside, "COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"}


def said(command: str, place: Path, given: Mapping[str, str]) -> tuple[str, float, float]:
    """Run a command: what it printed, its seconds, and those of processors that it took."""
    start, before = time.perf_counter(), _processor()
    done = subprocess.run(
        _words(command), cwd=place, env=environment(place, given), check=False, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode not in {0, 1}:
        sys.exit(f"{command}: exit code {done.returncode}\n{done.stdout}")
    printed = done.stdout.replace(str(place), "~").rstrip()
    return printed, time.perf_counter() - start, _processor() - before


def _words(command: str) -> list[str]:
    return [sys.executable, "-m", "ragwright", *shlex.split(command)[1:]]


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def following(printed: str, wanted: str) -> str:
    """The command that was printed as the next one.

    Raises:
        SystemExit: It was not printed.
    """
    for match in NEXT.finditer(printed):
        command = match["command"].strip()
        if shlex.split(command)[1] == wanted:
            return command
    sys.exit(f"`rag {wanted}` was not printed as the next command:\n{printed}")


def served(command: str, place: Path, given: Mapping[str, str]) -> str:
    """Start the server, ask it one question over HTTP, and stop it."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with subprocess.Popen(
        [*_words(command), "--port", str(port)], cwd=place, env=environment(place, given),
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    ) as server:  # fmt: skip
        try:
            return _asked(f"http://127.0.0.1:{port}", server)
        finally:
            server.terminate()


def _asked(address: str, server: subprocess.Popen[bytes]) -> str:
    """Ask as soon as the server is ready."""
    while server.poll() is None:
        try:
            if httpx.get(f"{address}/readyz", timeout=5).is_success:
                break
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    reply = httpx.post(f"{address}/v1/ask", json={"question": QUESTION}, timeout=60)
    return str(reply.raise_for_status().json()["answer"])


def walked(
    place: Path, given: Mapping[str, str]
) -> tuple[list[str], list[tuple[str, float, float]]]:
    """Run the six commands; return the page's blocks, and each command's seconds."""
    command = f"rag init {DOCUMENTS}"
    blocks: list[str] = []
    took: list[tuple[str, float, float]] = []
    for name in WALK[1:]:
        printed, seconds, processor = said(command, place, given)
        blocks += ["```console", f"$ {command}", printed, "```", ""]
        took.append((command, seconds, processor))
        sys.stderr.write(f"{command}: {seconds:.0f} s, {processor:.0f} s of processors\n")
        command = following(printed, name)
    start, before = time.perf_counter(), _processor()
    answer = served(command, place, given)
    took.append((command, time.perf_counter() - start, _processor() - before))
    ask = f'$ curl 127.0.0.1:8600/v1/ask --json \'{{"question": "{QUESTION}"}}\' | jq .answer'
    return [*blocks, "```console", f"$ {command} &", ask, f'"{answer}"', "```", ""], took


def no_flaw_kept(place: Path, model: WritingLM) -> str:
    """Make sure that every flawed question which the model wrote was told from the others."""
    lines = (place / "questions.jsonl").read_text("utf-8").splitlines()
    kept = {(row["question"], row["answer"]) for row in map(json.loads, lines)}
    if wrong := kept & model.flawed:
        sys.exit(f"{len(wrong)} flawed questions were kept: {sorted(wrong)}")
    return f"{len(kept)} questions kept, none of {len(model.flawed)} flawed ones"


def with_writing_model(place: Path) -> None:
    """Walk with a model that writes, and print what the commands said."""
    with WritingLM() as model:
        given = {"OPENAI_API_KEY": "sk-scripted", "OPENAI_BASE_URL": model.url}
        blocks, _ = walked(place, given)
        sys.stdout.write("\n".join([*blocks, no_flaw_kept(place, model), ""]))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("source", type=Path, nargs="?", default=SOURCE, metavar="FOLDER")
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--writing", action="store_true")
    asked = parser.parse_args()
    load = os.getloadavg()[0]
    with TemporaryDirectory() as folder:
        documents = taken(asked.source, Path(folder), asked.files)
        if asked.writing:
            with_writing_model(Path(folder))
            return
        blocks, took = walked(Path(folder), {})
    cores = len(os.sched_getaffinity(0))
    lines = [
        "# Six commands, as they were said", "",
        f"Written by `python docs/transcript.py`, over {documents}. No key was set, nothing was "
        "edited, and each command is the one that the last one printed.", "",
        f"Python {platform.python_version()}, {cores} cores. Other work kept {load:.1f} processes "
        "waiting for them when it began; what the commands took of the processors is told apart.",
        "", "| command | seconds | of processors |", "|---|---|---|",
        *(f"| `{name}` | {seconds:.0f} | {used:.0f} |" for name, seconds, used in took),
        f"| all | {sum(one[1] for one in took):.0f} | {sum(one[2] for one in took):.0f} |", "",
    ]  # fmt: skip
    page = "\n".join([*lines, *blocks])
    PAGE.write_text(re.sub(r"[ \t]+$", "", page, flags=re.MULTILINE).rstrip() + "\n", "utf-8")


if __name__ == "__main__":
    main()
