"""A server of vectors is awaited: the answers of the sync path, and no thread that waits."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import dspy
import numpy as np
import pytest

from ragwright.programs import fallback
from ragwright.programs.anatomy import protect
from ragwright.programs.expand import ExpandedRetriever, Expansion
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.kinds import HybridRAG, MultiHopRAG, RerankRAG
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.limits import FallbackSettings
from ragwright.programs.rag import RAG
from ragwright.retrievers.dense import ChromaRetriever
from ragwright.retrievers.errors import IndexFault, InputError
from ragwright.retrievers.index import Index, IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.stores.base import StoreURL
from ragwright.retrievers.stores.chroma import ChromaStore
from ragwright.retrievers.stores.chroma_async import AwaitedChroma
from ragwright.retrievers.types import Document
from tests.programs.conftest import FACTS
from tests.servers.certificate import self_signed
from tests.servers.chroma import chroma_server
from tests.servers.proxy import Proxy

QUESTIONS = [f"What about {text.split('.')[0]}?" for text in FACTS.values()]
FILTERS: list[dict[str, Any] | None] = [
    None,
    {"size": {"$lt": 72}},
    {"$or": [{"size": 60}, {"size": {"$gt": 70}}]},
]
AT_ONCE = 64


@dataclass(frozen=True)
class Served:
    """An index whose vectors lie in a Chroma server behind a proxy."""

    path: str
    proxy: Proxy
    process: Popen[bytes]

    @property
    def index(self) -> Index:
        return open_index(self.path)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    (folder / "server").mkdir()
    with chroma_server(folder / "server") as (port, process), Proxy(port) as proxy:
        settings = IndexSettings(embedder="hash", store=f"chroma+http://127.0.0.1:{proxy.port}")
        documents = [Document(id, text, id, {"size": len(text)}) for id, text in FACTS.items()]
        ingest(documents, folder / "index", settings)
        yield Served(str(folder / "index"), proxy, process)
        close_index(folder / "index")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("served")) as running:
        yield running


@pytest.fixture(autouse=True)
def closed_circuits() -> Iterator[None]:
    yield
    fallback._breaker.cache_clear()


def programs(path: str) -> list[RAG]:
    varied = Knobs(KnobValues().replaced(diversity=0.5))
    return [
        RAG(ChromaRetriever(path)),
        HybridRAG(path),
        HybridRAG(path, knobs=varied),
        RerankRAG(path),
        MultiHopRAG(path),
    ]


def said(reply: dspy.Prediction) -> tuple[Any, ...]:
    found = reply.retrieved
    signals = [dict(passage.signals) for passage in found.passages]
    return reply.answer, reply.citations, list(reply.context), found.ids, found.scores, signals


def on_threads(count: int, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    """Run a coroutine on a loop that has so many threads and no more."""

    async def limited() -> Any:
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(count))
        return await work()

    return asyncio.run(limited())


def until(true: Callable[[], bool]) -> None:
    for _ in range(6000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen in a minute")


def test_awaited_and_called_find_the_same(served: Served, extractive: dspy.LM) -> None:
    for program in programs(served.path):
        program.set_lm(extractive)
        asked = [(question, where) for question in QUESTIONS[:4] for where in FILTERS]
        called = [said(program(question=question, where=where)) for question, where in asked]

        async def together(program: RAG = program, asked: Any = asked) -> list[Any]:
            calls = (program.acall(question=question, where=where) for question, where in asked)
            return [said(reply) for reply in await asyncio.gather(*calls)]

        assert asyncio.run(together()) == called
        assert len({str(answer) for answer in called}) > 6


def test_fetched_vectors_are_the_same(served: Served) -> None:
    index = served.index
    ids = list(index.dense("capital", 100))
    awaited = asyncio.run(index.avectors(ids))
    assert set(awaited) == set(ids)
    for id, vector in index.vectors(ids).items():
        np.testing.assert_array_equal(awaited[id], vector)


def test_64_calls_wait_for_the_server_at_once_with_one_thread(
    served: Served, extractive: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = HybridRAG(served.path)
    program.set_lm(extractive)
    questions = [QUESTIONS[n % len(QUESTIONS)] for n in range(AT_ONCE)]
    wanted = [said(program(question=question)) for question in questions]
    threads: list[str] = []
    monkeypatch.setattr(ChromaStore, "query", lambda *_: threads.append("asked from a thread"))
    before = served.proxy.searches
    served.proxy.hold(together=AT_ONCE)

    async def together() -> list[Any]:
        calls = (program.acall(question=question) for question in questions)
        return [said(reply) for reply in await asyncio.gather(*calls)]

    assert on_threads(1, together) == wanted
    assert (served.proxy.searches - before, served.proxy.overdue, threads) == (AT_ONCE, 0, [])


def test_each_query_of_an_expansion_waits_at_once(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    expansion = Expansion("multi-query")
    written = dspy.Prediction(queries=["Rome", "Oslo", "tea"])

    async def write(**inputs: Any) -> dspy.Prediction:
        return written

    monkeypatch.setattr(expansion.expand, "acall", write)
    monkeypatch.setattr(expansion.expand, "forward", lambda **inputs: written)
    stage = ExpandedRetriever(HybridRetriever(served.path), expansion)
    called = stage("Paris")
    served.proxy.hold(together=4)
    awaited = on_threads(1, lambda: stage.acall("Paris"))
    assert (awaited.ids, awaited.scores) == (called.ids, called.scores)
    assert served.proxy.overdue == 0


def test_a_stopped_server_degrades_both_ways_alike(tmp_path: Path, extractive: dspy.LM) -> None:
    with serving(tmp_path) as served:
        program = HybridRAG(served.path)
        program.set_lm(extractive)
        protect(program, FallbackSettings(failures=100))
        assert program(question=QUESTIONS[0]).degraded == []
        served.process.kill()
        served.process.wait()
        called = program(question=QUESTIONS[0])
        awaited = asyncio.run(program.acall(question=QUESTIONS[0]))
        assert said(awaited) == said(called)
        for reply in (called, awaited):
            (noted,) = reply.degraded
            assert (noted.stage, noted.used) == ("dense", "the keyword index alone")
            assert str(served.proxy.port) in noted.reason
        with pytest.raises(IndexFault, match=str(served.proxy.port)):
            asyncio.run(HybridRAG(served.path).retriever.acall(QUESTIONS[0]))


def test_a_gateway_without_its_server_is_a_fault_both_ways(
    served: Served, extractive: dspy.LM, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = HybridRAG(served.path)
    program.set_lm(extractive)
    protect(program, FallbackSettings(failures=100))
    monkeypatch.setattr(served.proxy, "down", True)
    called = program(question=QUESTIONS[0])
    awaited = asyncio.run(program.acall(question=QUESTIONS[0]))
    assert said(awaited) == said(called)
    for reply in (called, awaited):
        (noted,) = reply.degraded
        assert noted.stage == "dense"
        assert "Bad Gateway" in noted.reason


def test_a_hanging_server_costs_the_stages_limit_and_no_thread(
    served: Served, extractive: dspy.LM
) -> None:
    program = HybridRAG(served.path)
    program.set_lm(extractive)
    protect(program, FallbackSettings(retrieve_seconds=2, failures=100))
    program(question=QUESTIONS[0])
    served.proxy.hold(together=1000)

    async def together() -> list[dspy.Prediction]:
        return list(await asyncio.gather(*(program.acall(question=q) for q in QUESTIONS)))

    for reply in on_threads(1, together):
        (noted,) = reply.degraded
        assert (noted.stage, noted.used) == ("dense", "the keyword index alone")
        assert "longer than 2 seconds" in noted.reason
        assert reply.answer
    served.proxy.release()
    assert asyncio.run(program.acall(question=QUESTIONS[0])).degraded == []


def test_wrong_input_is_no_fault(served: Served) -> None:
    program = HybridRAG(served.path)
    protect(program, FallbackSettings(retrieve_seconds=5))
    with pytest.raises(InputError):
        asyncio.run(program.retriever.acall(QUESTIONS[0], where={"size": {"$near": 1}}))


def test_every_loop_has_its_client_and_ends_with_it(served: Served) -> None:
    index = served.index
    wanted = index.dense("capital", 5)
    kept = served.proxy.connections
    for _ in range(3):
        assert asyncio.run(index.adense("capital", 5)) == wanted
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda _: asyncio.run(index.adense("capital", 5)), range(8))
        assert list(found) == [wanted] * 8
    until(lambda: served.proxy.connections == kept)


def test_closing_waits_for_who_waits_for_an_answer(served: Served) -> None:
    index = served.index
    wanted = index.dense("capital", 5)

    async def closed_meanwhile() -> dict[str, float]:
        await index.adense("capital", 5)
        served.proxy.hold(together=1000)
        before = served.proxy.searches
        asked = asyncio.create_task(index.adense("capital", 5))
        await asyncio.to_thread(until, lambda: served.proxy.searches > before)
        close_index(served.path)
        await asyncio.sleep(0.05)
        served.proxy.release()
        found = await asked
        await asyncio.to_thread(until, lambda: served.proxy.connections == 0)
        return found

    assert asyncio.run(closed_meanwhile()) == wanted


def test_the_key_is_shown_by_both_clients(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMA_API_KEY", "a-key")
    place = StoreURL.parse(f"chroma+http://127.0.0.1:{served.proxy.port}")
    store, vector = ChromaStore(place), np.ones(64, dtype=np.float32)
    awaited = store.awaited
    assert awaited is not None
    for search in (lambda: store.query(vector, 1), lambda: asyncio.run(awaited.query(vector, 1))):
        served.proxy.asked = b""
        assert len(search()) == 1
        assert b"x-chroma-token: a-key" in served.proxy.asked.lower()
    store.close()


def opened(served: Served) -> tuple[ChromaStore, AwaitedChroma]:
    store = ChromaStore(StoreURL.parse(f"chroma+http://127.0.0.1:{served.proxy.port}"))
    assert store.awaited is not None
    return store, store.awaited


def test_a_closed_store_is_a_fault_both_ways(served: Served) -> None:
    store, awaited = opened(served)
    vector = np.ones(64, dtype=np.float32)
    store.close()
    asked = (
        lambda: store.query(vector, 1),
        lambda: store.fetch(["x"]),
        lambda: asyncio.run(awaited.query(vector, 1)),
        lambda: asyncio.run(awaited.fetch(["x"])),
    )
    for ask in asked:
        with pytest.raises(IndexFault, match=r"is closed\. Ask again"):
            ask()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_loops_that_close_without_a_word_leave_no_client(served: Served) -> None:
    store, awaited = opened(served)
    vector, kept = np.ones(64, dtype=np.float32), served.proxy.connections
    held = []
    for _ in range(3):
        loop = asyncio.new_event_loop()
        assert len(loop.run_until_complete(awaited.query(vector, 1))) == 1
        loop.close()
        held.append(len(awaited._clients))
    assert held == [1, 1, 1]
    store.close()
    assert awaited._clients == {}
    gc.collect()
    until(lambda: served.proxy.connections <= kept)


def test_an_unknown_certificate_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, context = self_signed(tmp_path)
    (tmp_path / "server").mkdir()
    with chroma_server(tmp_path / "server") as (port, _), Proxy(port, context) as proxy:
        place = StoreURL.parse(f"chroma+https://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        store = ChromaStore(place, create=True)
        awaited, vector = store.awaited, np.ones(4, dtype=np.float32)
        assert awaited is not None
        assert asyncio.run(awaited.query(vector, 1)) == {}
        monkeypatch.delenv("SSL_CERT_FILE")
        with pytest.raises(IndexFault, match="CERTIFICATE_VERIFY_FAILED"):
            asyncio.run(awaited.query(vector, 1))
        store.close()
