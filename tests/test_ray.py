"""Work that a Ray cluster does: the same index, nothing lost with a worker, caps kept exactly."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dspy
import numpy as np
import pytest
from typer.testing import CliRunner

from ragwright.artifacts.cli import app
from ragwright.optimize.questions.data import Question
from ragwright.optimize.scoring.evaluate import evaluate
from ragwright.optimize.scoring.metrics import build_metric
from ragwright.optimize.spending.budget import Account, BudgetSpent, Caps
from ragwright.optimize.spending.ledger import CallLedger
from ragwright.optimize.spending.metered import MeteredLM, listed_prices
from ragwright.programs.lm import build_lm, can_write, lm_identity
from ragwright.programs.remote import RemoteLM
from ragwright.retrievers import cluster, distributed
from ragwright.retrievers.chunking import ChunkSettings
from ragwright.retrievers.cluster import Crew, ray_cluster
from ragwright.retrievers.distributed import read_with_workers
from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.errors import ClusterError, IdentityError, InputError, MissingExtra
from ragwright.retrievers.index import Index, IndexSettings
from ragwright.retrievers.ingest import IngestProgress, ingest
from ragwright.retrievers.seen import batches
from ragwright.retrievers.types import Document
from tests.outside import slow
from tests.outside.working import die, double
from tests.retrievers.crashing import collection, settings
from tests.servers.ports import free_port
from tests.servers.scripted_lm import ScriptedLM
from tests.servers.slow_vectors import SlowVectors, slow_vectors

# Not by importing it: Ray reads its environment when it is imported.
there = pytest.mark.skipif(find_spec("ray") is None, reason="ray is not installed")
pytestmark = [pytest.mark.slow, there]

SLOW = IndexSettings(embedder="tests.outside.slow:Slow", chunking=ChunkSettings(size=16))
WORKERS = 4
LONG = bool(os.environ.get("RAGWRIGHT_RAY"))
"""`make attack` goes on for longer."""
LONG_ONLY = pytest.mark.skipif(not LONG, reason="make attack")


@pytest.fixture(scope="module")
def server() -> Iterator[SlowVectors]:
    with slow_vectors() as served, pytest.MonkeyPatch.context() as patch:
        patch.setenv(slow.ADDRESS, served.address)
        patch.setenv("RAGWRIGHT_CACHE_GIB", "0")  # every text is asked for
        yield served


@pytest.fixture(scope="module")
def crew(server: SlowVectors) -> Iterator[Crew]:
    """Four workers, whatever the processor: what they do in these tests is to wait."""
    with ray_cluster(WORKERS) as joined:
        yield joined


def sentences(count: int) -> Iterator[Document]:
    """Documents that are a chunk each."""
    return (Document(f"document-{n}", f"Number {n} is {n * n} squared.") for n in range(count))


def assert_same(one: Path, other: Path) -> None:
    """Compare two indexes: chunks, ids, vectors, rows of token vectors, keywords."""
    with closing(Index(one)) as left, closing(Index(other)) as right:
        assert left.fingerprint == right.fingerprint
        assert list(left.chunks()) == list(right.chunks())
        ids = list(left._parts.ledger.ids())
        assert ids == list(right._parts.ledger.ids())
        rows, wanted = left._parts.store.fetch(ids), right._parts.store.fetch(ids)
        assert all(np.array_equal(rows[id].vector, wanted[id].vector) for id in ids)
        assert left._parts.ledger.spans(ids) == right._parts.ledger.spans(ids)
        assert sorted(left._parts.keyword.ids()) == sorted(right._parts.keyword.ids())


@pytest.mark.parametrize("parent_size", [0, 64])
def test_the_index_is_the_one_that_one_process_makes(
    crew: Crew, tmp_path: Path, parent_size: int
) -> None:
    how = settings(parent_size=parent_size)
    for version in (0, 1):  # new, and then partly changed
        documents = list(collection(version))[:40]
        alone = ingest(documents, tmp_path / "alone", how)
        shared = ingest(documents, tmp_path / "index", how, crew=crew)
        assert replace(shared, seconds=0) == replace(alone, seconds=0)
        assert shared.embedded == shared.chunks_written > 30
        assert_same(tmp_path / "index", tmp_path / "alone")


def test_four_workers_wait_at_a_time(crew: Crew, server: SlowVectors, tmp_path: Path) -> None:
    ingest(sentences(256), tmp_path / "warm", SLOW, crew=crew)
    gains = []
    for attempt in range(3 if LONG else 1):  # another process may have the processor meanwhile
        server.spans.clear()
        ingest(sentences(640), tmp_path / f"index-{attempt}", SLOW, crew=crew)
        assert len(server.spans) == 640 / slow.AT_ONCE
        assert server.most == WORKERS
        gains.append(server.gain)
    assert max(gains) >= (3.5 if LONG else 1)


def test_a_worker_that_is_killed_loses_nothing(
    crew: Crew, server: SlowVectors, tmp_path: Path
) -> None:
    ingest(sentences(300), tmp_path / "alone", SLOW)
    server.pids.clear()
    server.kill_after = 5
    done = ingest(sentences(300), tmp_path / "index", SLOW, crew=crew)
    assert server.kill_after is None
    assert (done.added, done.chunks_written, done.embedded) == (300, 300, 300)
    assert os.getpid() not in server.pids
    assert_same(tmp_path / "index", tmp_path / "alone")


def test_an_ingest_that_was_stopped_goes_on(crew: Crew, tmp_path: Path) -> None:
    def stop(done: IngestProgress) -> None:
        if done.chunks:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ingest(sentences(1200), tmp_path / "index", settings(), progress=stop, crew=crew)
    written: list[int] = []
    done = ingest(
        sentences(1200), tmp_path / "index", settings(), crew=crew,
        progress=lambda now: written.append(now.chunks),
    )  # fmt: skip
    assert 0 < done.unchanged < 1200
    assert done.added + done.unchanged == 1200
    ingest(sentences(1200), tmp_path / "alone", settings())
    assert_same(tmp_path / "index", tmp_path / "alone")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files of several kinds, rows that share an id among them, and two that cannot be read."""
    made = tmp_path / "documents"
    (made / "sub").mkdir(parents=True)
    for number in range(40):
        (made / f"note-{number:02}.md").write_text(f"# Note {number}\n\nThe text of {number}.")
    (made / "rows-1.csv").write_text("id,text\n1,one\n2,two\n")
    (made / "rows-2.csv").write_text("id,text\n2,two again\n3,three\n")
    (made / "sub" / "last.txt").write_bytes(
        "Grüße aus der Stadt, in der es viele Bäume gibt.".encode("latin-1")
    )
    (made / "sub" / "broken.pdf").write_bytes(b"%PDF-1.4 nothing")
    (made / "sub" / "empty.txt").write_text("")
    return made


def test_a_folder_is_read_as_one_process_reads_it(crew: Crew, folder: Path) -> None:
    found: list[tuple[list[Document], list[Problem], list[Problem]]] = []
    for by in (None, crew):
        problems: list[Problem] = []
        notes: list[Problem] = []
        options = ReadOptions(on_error="skip", on_problem=problems.append, on_note=notes.append)
        source = read_documents(folder, options)
        found.append((list(read_with_workers(by, source) if by else source), problems, notes))
    alone, shared = found
    assert len(alone[0]) == 45
    assert [problem.place for problem in alone[1]] == ["sub/broken.pdf", "sub/empty.txt"]
    assert len(alone[2]) == 2
    assert sorted(shared[2], key=str) == sorted(alone[2], key=str)
    assert shared[:2] == alone[:2]
    with pytest.raises(InputError, match=r"Cannot read 'sub/broken.pdf'"):
        list(read_with_workers(crew, read_documents(folder)))


def test_what_a_worker_does_not_find_is_an_error_and_no_deletion(
    crew: Crew, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how, reading = settings(), ReadOptions(on_error="skip")
    ingest(read_documents(folder, reading), tmp_path / "index", how, crew=crew)

    def elsewhere(files: Iterator[tuple[Path, str]], size: int) -> Iterator[list]:
        moved = ((Path(f"/not-mounted{path}"), name) for path, name in files)
        return batches(moved, size)

    monkeypatch.setattr(distributed, "batches", elsewhere)
    with pytest.raises(InputError, match=r"does not find 'note-00\.md' at '/not-mounted"):
        ingest(read_documents(folder, reading), tmp_path / "index", how, crew=crew)
    with closing(Index(tmp_path / "index")) as index:
        assert index.document_count == 45


def test_a_worker_of_another_release_is_refused(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(distributed, "version", lambda _: "0.0.1")
    with pytest.raises(IdentityError, match=r"not \('0.0.1'"):
        ingest(sentences(3), tmp_path / "index", settings(), crew=crew)


def test_a_call_that_kills_its_workers_is_given_up(
    crew: Crew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "DEATHS", 1)
    assert len(list(crew.in_order(die, [(str(tmp_path / "once"),)]))) == 1
    with pytest.raises(ClusterError, match="A worker of the Ray cluster was lost"):
        list(crew.in_order(die, [("",)]))


def test_a_crew_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch, crew: Crew) -> None:
    with pytest.raises(InputError, match="0 workers"), ray_cluster(0):
        pass
    with pytest.raises(InputError, match="has its own"), ray_cluster(2):
        pass
    with ray_cluster() as same:  # the cluster that this process is in, which goes on
        assert same.workers == WORKERS
    assert list(crew.in_order(double, [(1,), (2,)])) == [2, 4]
    monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(ClusterError, match=r"no Ray cluster at '127.*refused.*ray start"):
        cluster._start(os.environ["RAY_ADDRESS"], None)
    monkeypatch.delenv("RAY_ADDRESS")
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(MissingExtra, match=r"ragwright\[ray\]"), ray_cluster():
        pass


def asked(lm: dspy.LM, question: str) -> str:
    predict = dspy.Predict("question -> answer")
    predict.set_lm(lm)
    return str(predict(question=question).answer)


def test_caps_and_ledger_stay_with_the_one_who_asks(crew: Crew, tmp_path: Path) -> None:
    with ScriptedLM(script={"answer": "yes"}) as scripted:
        options: dict[str, Any] = {"api_base": scripted.url, "num_retries": 2}
        remote = RemoteLM("openai/scripted", options, crew)
        here = build_lm("openai/scripted", **options)
        account = Account(CallLedger(tmp_path / "calls.sqlite"), Caps(calls=3), stage="test")
        metered = MeteredLM(remote, account)
        assert [asked(metered, text) for text in ("one", "two", "one")] == ["yes"] * 3
        assert (account.spent.calls, len(scripted.calls)) == (2, 2)
        scripted.fail("500")
        with pytest.raises(BudgetSpent):
            asked(metered, "three")  # a retry is a call as well, and there is one left
        assert (account.spent.calls, len(scripted.calls)) == (3, 3)
        nothing = Account(CallLedger(tmp_path / "calls.sqlite"), Caps(calls=0), stage="test")
        # What workers were told is known without them.
        assert asked(MeteredLM(here, nothing), "one") == "yes"
        assert len(scripted.calls) == 3
        assert lm_identity(remote) == lm_identity(metered) == lm_identity(here)
        assert can_write(metered)
        assert listed_prices(remote) == listed_prices(here)


@LONG_ONLY
def test_a_worker_that_is_killed_costs_the_call_that_it_made(crew: Crew, tmp_path: Path) -> None:
    with ScriptedLM(script={"answer": "yes"}) as scripted:
        remote = RemoteLM("openai/scripted", {"api_base": scripted.url, "num_retries": 2}, crew)
        account = Account(CallLedger(tmp_path / "calls.sqlite"), Caps(calls=5), stage="test")
        once = crew.once
        lost = iter([True])

        def fragile(function: Any, *arguments: Any) -> Any:
            return once(die, "") if next(lost, False) else once(function, *arguments)

        crew.once = fragile  # type: ignore[method-assign]
        try:
            assert asked(MeteredLM(remote, account), "one") == "yes"
        finally:
            del crew.once
        assert (account.spent.calls, len(scripted.calls)) == (2, 1)


def questions() -> list[Question]:
    return [Question(f"q{n}", f"What is {n}?", ("yes",)) for n in range(8)]


def test_questions_are_answered_by_workers(crew: Crew) -> None:
    with ScriptedLM(script={"answer": "yes"}) as scripted:
        program = dspy.Predict("question -> answer")
        program.set_lm(RemoteLM("openai/scripted", {"api_base": scripted.url}, crew))
        scripted.fail("429", times=1)
        done = evaluate(program, questions(), build_metric("answer_em"), threads=WORKERS)
        assert (done.mean, done.errors) == (1.0, {})
        assert len(scripted.calls) == 9
        assert all(row.prompt_tokens for row in done.rows)


RECIPE = """
name = "numbers"
[index]
path = "index"
documents = "documents.jsonl"
embedder = "tests.outside.slow:Slow"
[program]
kind = "hybrid"
[lm]
model = "openai/scripted"
api_base = "{url}"
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Iterator[tuple[Path, ScriptedLM]]:
    """A recipe with an embedder from outside, documents and questions, and its language model."""
    rows = [json.dumps({"id": one.id, "text": one.text}) for one in sentences(2000)]
    (tmp_path / "documents.jsonl").write_text("\n".join(rows[:20]))
    (tmp_path / "many.jsonl").write_text("\n".join(rows))
    asked = [{"question": one.question, "answers": ["yes"]} for one in questions()]
    (tmp_path / "questions.jsonl").write_text("\n".join(map(json.dumps, asked)))
    with ScriptedLM(script={"answer": "yes"}) as scripted:
        (tmp_path / "recipe.toml").write_text(RECIPE.format(url=scripted.url))
        yield tmp_path / "recipe.toml", scripted


def test_commands_take_a_cluster(
    crew: Crew, recipe: tuple[Path, ScriptedLM], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_TRUST", "")
    file, scripted = recipe
    call = CliRunner().invoke
    refused = call(app, ["ingest", str(file), "--engine", "ray"])
    assert (refused.exit_code, "--trust tests.outside.slow" in refused.output) == (2, True)
    refused = call(app, ["ingest", str(file), "--workers", "2"])
    assert (refused.exit_code, "Add --engine ray" in refused.output) == (2, True)
    trusted = ["--engine", "ray", "--json", "--trust", "tests.outside.slow"]
    done = call(app, ["ingest", str(file), *trusted])
    assert done.exit_code == 0, done.output
    with closing(Index(file.parent / "index")) as index:
        assert index.document_count == 20
    data = str(file.parent / "questions.jsonl")
    done = call(app, ["evaluate", str(file), data, *trusted])
    assert done.exit_code == 0, done.output
    assert len(scripted.calls) == len(questions())


def ray_processes() -> set[int]:
    """The processes of Ray's on this machine that are not those of this process."""
    told = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True)
    lines = [line for line in told.stdout.splitlines() if "ray::" in line or "/raylet" in line]
    return {int(line.split()[0]) for line in lines}


@LONG_ONLY
def test_a_killed_command_goes_on_and_leaves_no_process(
    server: SlowVectors, recipe: tuple[Path, ScriptedLM]
) -> None:
    file, _ = recipe
    before = ray_processes()
    command = [
        sys.executable, "-m", "ragwright", "ingest", str(file), "--documents",
        str(file.parent / "many.jsonl"), "--engine", "ray", "--workers", "4",
        "--trust", "tests.outside.slow",
    ]  # fmt: skip
    for kills in range(4):
        server.pids.clear()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        while len(server.pids) < 40 and process.poll() is None:
            time.sleep(0.05)
        if kills < 3:
            process.kill()
        assert process.wait(300) == (0 if kills == 3 else -signal.SIGKILL)
    until = time.monotonic() + 180  # two of Ray's helpers look for their parent now and then
    while ray_processes() - before and time.monotonic() < until:
        time.sleep(0.5)
    assert not ray_processes() - before
    ingest(sentences(2000), file.parent / "alone", IndexSettings(embedder=SLOW.embedder))
    assert_same(file.parent / "index", file.parent / "alone")
