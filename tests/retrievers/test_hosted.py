"""A hosted embedder over real HTTP: what it asks, retries, refuses, and an index made with it."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.programs.recipe import Recipe
from ragwright.retrievers.cache import with_cache
from ragwright.retrievers.embedding import (
    NO_PROMPT,
    EngineSettings,
    HashEmbedder,
    load_embedder,
    loading,
)
from ragwright.retrievers.embedding.hosted import BATCH, HostedEmbedder
from ragwright.retrievers.errors import IndexFault, ModelError, RecipeError
from ragwright.retrievers.index import IndexSettings, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.upkeep import verify
from tests.retrievers.conftest import lands
from tests.servers.embeddings import Embeddings, Fault, embeddings_server

NAME = "litellm:openai/words"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Embeddings]:
    with embeddings_server() as running:
        monkeypatch.setenv("RAGWRIGHT_EMBEDDING_API_BASE", running.address)
        monkeypatch.setenv("OPENAI_API_KEY", "secret-key")
        yield running


@pytest.fixture
def embedder(server: Embeddings) -> HostedEmbedder:
    return HostedEmbedder("openai/words", pause=0.001)


def test_vectors_come_back_in_order_and_of_length_1(
    embedder: HostedEmbedder, server: Embeddings
) -> None:
    texts = [f"word {number}" for number in range(2 * BATCH + 1)]
    encoded = embedder.encode(texts, tokens=True)
    np.testing.assert_allclose(encoded.vectors, HashEmbedder().encode(texts).vectors, atol=1e-6)
    assert encoded.tokens is None
    assert [len(asked) for asked in server.asked] == [1, BATCH, BATCH, 1]


def test_the_identity_holds_the_address(embedder: HostedEmbedder, server: Embeddings) -> None:
    identity = embedder.identity
    assert (identity.model, identity.dimension, identity.normalised) == (NAME, 64, True)
    assert identity.revision == server.address.removeprefix("http://")
    assert embedder.identity is identity
    assert len(server.asked) == 1


def test_an_empty_text_is_sent_as_a_space(embedder: HostedEmbedder, server: Embeddings) -> None:
    assert embedder.encode([""]).vectors.shape == (1, 64)
    assert server.asked[-1] == [" "]
    assert embedder.encode([]).vectors.shape == (0, 64)


@pytest.mark.parametrize("fault", [429, 500])
def test_what_passes_is_tried_again(
    embedder: HostedEmbedder, server: Embeddings, fault: Fault
) -> None:
    server.faults.extend([fault] * 4)
    assert embedder.identity.dimension == 64
    assert len(server.asked) == 5


def test_it_gives_up_in_the_end(server: Embeddings, capfd: pytest.CaptureFixture[str]) -> None:
    embedder = HostedEmbedder("openai/words", attempts=2, pause=0.001)
    server.faults.extend([429] * 10)
    with pytest.raises(ModelError, match=r"'litellm:openai/words' cannot be used: RateLimitError"):
        embedder.encode(["word"])
    # OpenAI's client makes two more of each of the two attempts.
    assert len(server.asked) == 6
    assert "Give Feedback" not in capfd.readouterr().out


VECTOR = [1.0] * 64
WRONG = [
    ([1, 2], "without vectors"),
    ([None, None], "without vectors"),
    ([{"index": 0}, {"index": 1}], "without vectors"),
    ([{"index": at, "embedding": None} for at in range(2)], "without vectors"),
    ([{"index": at, "embedding": "AACAPw=="} for at in range(2)], "no list of numbers"),
    ([{"index": at, "embedding": ["a"] * 64} for at in range(2)], "no list of numbers"),
    ([{"index": at, "embedding": {"a": 1}} for at in range(2)], "no list of numbers"),
    ([{"index": at, "embedding": [[1]] * 64} for at in range(2)], "empty or not finite"),
    ([{"index": at, "embedding": [None] * 64} for at in range(2)], "empty or not finite"),
    ([{"index": 0, "embedding": VECTOR}] * 2, "whose they are"),
    ([{"index": at, "embedding": VECTOR} for at in (-1, 0)], "whose they are"),
    ([{"index": at, "embedding": VECTOR} for at in "ab"], "whose they are"),
]


@pytest.mark.filterwarnings("ignore:Pydantic serializer")  # LiteLLM's, of what is no vector
@pytest.mark.parametrize(("rows", "said"), WRONG)
def test_an_answer_that_holds_no_vectors_is_an_error(
    embedder: HostedEmbedder, server: Embeddings, rows: list[Any], said: str
) -> None:
    assert embedder.identity.dimension == 64
    server.faults.append(rows)
    with pytest.raises(ModelError, match=said):
        embedder.encode(["one", "two"])


def test_vectors_without_numbers_are_in_the_order_of_the_texts(
    embedder: HostedEmbedder, server: Embeddings
) -> None:
    server.faults += [None, [{"embedding": [1.0] + [0.0] * 63}, {"embedding": [0.0] * 63 + [1.0]}]]
    assert embedder.encode(["one", "two"]).vectors.argmax(axis=1).tolist() == [0, 63]


def test_a_model_that_gives_zeros_is_refused(embedder: HostedEmbedder, server: Embeddings) -> None:
    server.faults.append([{"index": 0, "embedding": [0.0] * 64}])
    with pytest.raises(ModelError, match="a vector of zeros"):
        embedder.encode(["one"])


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (401, r"refused the key \(AuthenticationError\)\. Set the provider's key"),
        (400, "cannot be used: BadRequestError"),
        ("one too few", "gave 1 vectors for 2 texts"),
        ("wrong length", "gave vectors of length 1, not 64"),
    ],
)
def test_what_does_not_pass_is_an_error_at_once(
    embedder: HostedEmbedder, server: Embeddings, fault: Fault, said: str
) -> None:
    assert embedder.identity.dimension == 64
    server.faults.append(fault)
    with pytest.raises(ModelError, match=said) as raised:
        embedder.encode(["one", "two"])
    assert len(server.asked) == 2
    assert "secret-key" not in str(raised.value)


@contextmanager
def answering(status: int, headers: dict[str, str], body: Iterable[bytes]) -> Iterator[list[str]]:
    """A server that answers with the same; yields the heads of its requests, after its address."""
    heads = [""]

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heads.append(str(self.headers))
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, text in headers.items():
                self.send_header(name, text)
            self.end_headers()
            with suppress(OSError):
                for piece in body:
                    self.wfile.write(piece)

        def log_message(self, format: str, *args: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        heads[0] = f"http://127.0.0.1:{server.server_port}"
        yield heads
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("model", ["azure/words", "gemini/words", "cohere/words", "openai/words"])
def test_nothing_is_sent_where_a_server_sends_on_to(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Azure's and Gemini's keys went along, as their headers are others, and so did every text."""
    for name in ("AZURE", "GEMINI", "COHERE", "OPENAI"):
        monkeypatch.setenv(f"{name}_API_KEY", "secret-key")
    monkeypatch.setenv("AZURE_API_VERSION", "2024-02-01")
    with answering(200, {}, []) as other:
        location = other[0].replace("127.0.0.1", "localhost")
        with answering(307, {"Location": location, "Content-Length": "0"}, []) as named:
            monkeypatch.setenv("RAGWRIGHT_EMBEDDING_API_BASE", named[0])
            with pytest.raises(ModelError, match="sends on to http://localhost"):
                HostedEmbedder(model, attempts=2, pause=0.001).encode(["word"])
    assert (len(named), len(other)) == (2, 1)
    assert "secret-key" in named[1]


PACKED = {"Content-Encoding": "gzip"}


@pytest.mark.parametrize("model", ["cohere/words", "openai/words"])
@pytest.mark.parametrize(
    ("headers", "body"),
    [({}, repeat(b" " * 65_536)), (PACKED, [gzip.compress(b" " * (2 << 20))])],
    ids=["endless", "packed"],
)
def test_a_reply_has_a_bound_and_is_asked_for_once(
    model: str, headers: dict[str, str], body: Iterable[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ragwright.retrievers.embedding.guarded.MOST_BYTES", 1 << 20)
    for name in ("COHERE", "OPENAI"):
        monkeypatch.setenv(f"{name}_API_KEY", "secret-key")
    with answering(200, {"Content-Type": "application/json", **headers}, body) as named:
        monkeypatch.setenv("RAGWRIGHT_EMBEDDING_API_BASE", named[0])
        with pytest.raises(ModelError, match="larger than 1 MB"):
            HostedEmbedder(model, attempts=2, pause=0.001).encode(["word"])
    assert len(named) == 2


def test_a_missing_key_is_named_at_once(
    embedder: HostedEmbedder, server: Embeddings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ModelError, match=r"Set OPENAI_API_KEY in the environment\.$"):
        embedder.encode(["word"])
    assert server.asked == []


def test_a_name_without_a_provider_is_refused() -> None:
    with pytest.raises(ModelError, match="'litellm:words' is not a hosted embedder"):
        load_embedder("litellm:words")


def test_the_cache_pays_for_a_text_once(
    embedder: HostedEmbedder, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RAGWRIGHT_CACHE_GIB", "1")
    first, second = with_cache(embedder), with_cache(embedder)
    wanted = first.encode(["one", "two"], tokens=True)
    found = second.encode(["one", "two"], tokens=True)
    assert (first.computed, second.computed) == (2, 0)
    assert found.tokens is wanted.tokens is None
    np.testing.assert_array_equal(found.vectors, wanted.vectors)


def test_an_index_without_token_vectors(
    embedder: HostedEmbedder, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(loading._LOADED, (NAME, EngineSettings(), NO_PROMPT), embedder)
    report = ingest(lands(), path, IndexSettings(embedder=NAME))
    assert (report.added, report.engine) == (6, "litellm openai/words")
    index = open_index(path)
    (best,) = index.dense("The capital of Peru is Lima.", 1)
    assert index.passages([best])[0].document == "Peru"
    with pytest.raises(IndexFault, match="holds no token vectors: its embedder 'litellm:"):
        index.maxsim("Peru", [best])
    assert verify(path).sound


def test_a_recipe_that_needs_token_vectors_is_refused() -> None:
    with pytest.raises(RecipeError, match=r'reranker "maxsim" needs token vectors'):
        Recipe.checked({"index": {"embedder": NAME}})
    Recipe.checked({"index": {"embedder": NAME}, "program": {"kind": "hybrid"}})
