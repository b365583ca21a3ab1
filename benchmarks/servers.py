"""An artifact in, a server that answers from it out: `rag serve` or `mlflow models serve`.

A server runs in a process of its own until its block ends. Knows nothing of what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RAG = "from ragwright.artifacts.cli import main; main()"
QUESTIONS = ROOT / "examples/python_reference/questions.jsonl"
TICKS = os.sysconf("SC_CLK_TCK")
WAIT = 120
"""Seconds that a server may take to be ready."""


@dataclass(frozen=True)
class Server:
    """A server that is ready, and the seconds it took to be."""

    url: str
    pid: int
    seconds: float


def parser_of(doc: str) -> argparse.ArgumentParser:
    """Return a parser of what all these benchmarks are given: an artifact, and questions."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("artifact")
    parser.add_argument("questions", nargs="?", default=str(QUESTIONS))
    return parser


def questions_in(file: str) -> list[str]:
    """Read the questions of a training set."""
    lines = Path(file).read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["question"] for line in lines]


def environment(**more: str) -> dict[str, str]:
    """What a new process finds: this checkout, and the commands of this Python.

    MLflow starts uvicorn by its name.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    sources = [str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sources), "PATH": path, **more}


@contextmanager
def rag_server(artifact: str, *options: str) -> Iterator[Server]:
    """Run `rag serve`."""
    port = _free_port()
    command = [sys.executable, "-c", RAG, "serve", artifact, "--port", str(port), *options]
    with _running(command, f"http://127.0.0.1:{port}", "/readyz", environment()) as server:
        yield server


@contextmanager
def thin_server(artifact: str, *options: str) -> Iterator[Server]:
    """Run `thin_server.py`: FastAPI around the same program, and nothing else."""
    port = _free_port()
    script = str(ROOT / "benchmarks/thin_server.py")
    command = [sys.executable, script, artifact, "--port", str(port), *options]
    with _running(command, f"http://127.0.0.1:{port}", "/readyz", environment()) as server:
        yield server


@contextmanager
def mlflow_server(artifact: str, folder: Path) -> Iterator[Server]:
    """Log the artifact as a model, and run `mlflow models serve` on it."""
    from mlflow import MlflowClient

    from ragwright.artifacts import log_artifact

    uri = f"sqlite:///{folder}/mlflow.db"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("load", artifact_location=(folder / "files").as_uri())
    run = client.create_run(experiment).info.run_id
    model = log_artifact(artifact, tracking_uri=uri, run_id=run)
    port = _free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", model, "-p", str(port)]
    command += ["--env-manager", "local"]
    given = environment(MLFLOW_TRACKING_URI=uri, MLFLOW_DISABLE_TELEMETRY="true")
    with _running(command, f"http://127.0.0.1:{port}", "/ping", given) as server:
        yield server


@contextmanager
def _running(
    command: list[str], url: str, ready: str, given: Mapping[str, str]
) -> Iterator[Server]:
    """Run a command until the block ends, all that it starts included; wait until it is ready."""
    begun = time.perf_counter()
    process = subprocess.Popen(
        command,
        env=given,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not _is_ready(url + ready):
            if process.poll() is not None or time.perf_counter() - begun > WAIT:
                raise SystemExit(f"did not start: {' '.join(command)}")
            time.sleep(0.02)
        yield Server(url, process.pid, time.perf_counter() - begun)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def processor_seconds(pid: int) -> float:
    """Seconds of a processor that a process took so far, by all its threads, those that ended too.

    Linux counts in ticks of 10 ms: read over many questions.
    """
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def _is_ready(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
