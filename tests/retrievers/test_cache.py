"""Nothing is embedded twice: not in a second run, not for another index, not at another size."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ragwright.retrievers.cache import _OPEN, CachedEmbedder, with_cache
from ragwright.retrievers.cache_file import cache_folder
from ragwright.retrievers.chunking import ChunkSettings, chunk
from ragwright.retrievers.database import _TellingConnection
from ragwright.retrievers.embedding import EmbedderIdentity, EncodedTexts, HashEmbedder
from ragwright.retrievers.embedding.checked import CheckedEmbedder
from ragwright.retrievers.embedding.converted import converted_model_folder
from ragwright.retrievers.embedding.files import ModelFiles
from ragwright.retrievers.errors import InputError, ModelError
from ragwright.retrievers.token_codes import draw_rotation, quantize
from ragwright.retrievers.types import Document
from ragwright.retrievers.vector_cache import CachedVectors, VectorCache

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]
TEXTS = [f"{' '.join(WORDS[n:])}.\n\n{' '.join(WORDS[: n + 1])}." for n in range(8)] + WORDS
DOCUMENTS = [Document(str(n), text) for n, text in enumerate(TEXTS)]


class Counting(HashEmbedder):
    """A hash embedder that remembers what it was asked for, and may pass for another model."""

    def __init__(self, revision: str = "v1") -> None:
        super().__init__()
        self.asked: list[str] = []
        self._revision = revision

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity("counting", self._revision, 64, True)

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        self.asked += texts
        return super().encode(texts, tokens=tokens)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[VectorCache]:
    opened = VectorCache(tmp_path / "vectors.sqlite", limit=2**30)
    yield opened
    opened.close()


def texts_at(size: int) -> list[str]:
    settings = ChunkSettings(size=size)
    return [piece.text for document in DOCUMENTS for piece in chunk(document, settings)]


def test_a_text_is_computed_once(cache: VectorCache) -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner, cache)
    first = embedder.encode(["a b", "c", "a b"])
    again = CachedEmbedder(inner, cache).encode(["c", "a b", "d"])
    assert inner.asked == ["a b", "c", "d"]
    assert embedder.computed == 2
    np.testing.assert_array_equal(first.vectors, HashEmbedder().encode(["a b", "c", "a b"]).vectors)
    np.testing.assert_array_equal(again.vectors, HashEmbedder().encode(["c", "a b", "d"]).vectors)


def test_another_process_finds_what_was_kept(tmp_path: Path) -> None:
    for run in range(2):
        cache = VectorCache(tmp_path / "vectors.sqlite", limit=2**30)
        embedder = CachedEmbedder(Counting(), cache)
        embedder.encode(["a", "b"], tokens=True)
        cache.close()
        assert embedder.computed == (0 if run else 2)


def test_token_vectors_give_the_codes_that_fresh_ones_give(cache: VectorCache) -> None:
    text, rotation = "one two three four", draw_rotation(64)
    (fresh,) = HashEmbedder().encode([text], tokens=True).tokens or ()
    for _ in range(2):
        (rows,) = CachedEmbedder(Counting(), cache).encode([text], tokens=True).tokens or ()
        np.testing.assert_array_equal(quantize(rows @ rotation), quantize(fresh @ rotation))
        assert float((rows * fresh).sum(axis=1).min()) > 0.95


def test_a_damaged_file_never_gives_another_vector(tmp_path: Path) -> None:
    texts = [f"text number {number} of them" for number in range(40)]
    path = tmp_path / "vectors.sqlite"
    cache = VectorCache(path, limit=2**30)
    whole = CachedEmbedder(Counting(), cache).encode(texts, tokens=True)
    cache.close()
    data, chance, spared = path.read_bytes(), random.Random(0), 0
    for _ in range(20):
        damaged = bytearray(data)
        for at in chance.sample(range(100, len(data)), 20):
            damaged[at] ^= 1 << chance.randrange(8)
        for file in tmp_path.iterdir():
            file.unlink()
        path.write_bytes(damaged)
        try:
            cache = VectorCache(path, limit=2**30)
        except ModelError:
            continue
        embedder = CachedEmbedder(Counting(), cache)
        read = embedder.encode(texts, tokens=True)
        cache.close()
        spared += embedder.computed < len(texts)
        np.testing.assert_array_equal(read.vectors, whole.vectors)
        for rows, fresh in zip(read.tokens or (), whole.tokens or (), strict=True):
            np.testing.assert_array_equal(rows, fresh)
    assert spared > 3


def test_a_vector_without_tokens_does_not_pass_for_one_with_them(cache: VectorCache) -> None:
    inner = Counting()
    embedder = CachedEmbedder(inner, cache)
    embedder.encode(["a b"])
    assert embedder.encode(["a b"], tokens=True).tokens is not None
    embedder.encode(["a b"])
    assert inner.asked == ["a b", "a b"]


def test_another_revision_is_another_model(cache: VectorCache) -> None:
    CachedEmbedder(Counting("v1"), cache).encode(["a"])
    other = CachedEmbedder(Counting("v2"), cache)
    other.encode(["a"])
    assert other.computed == 1


def test_another_chunk_size_embeds_only_the_new_chunks(cache: VectorCache) -> None:
    inner = Counting()
    wide, narrow = texts_at(16), texts_at(8)
    CachedEmbedder(inner, cache).encode(wide, tokens=True)
    embedder = CachedEmbedder(inner, cache)
    embedder.encode(narrow, tokens=True)
    fresh = set(narrow) - set(wide)
    assert fresh
    assert set(narrow) & set(wide)
    assert embedder.computed == len(fresh)
    assert sorted(inner.asked) == sorted(set(wide) | fresh)


def test_no_texts_give_no_vectors(cache: VectorCache) -> None:
    encoded = CachedEmbedder(Counting(), cache).encode([], tokens=True)
    assert encoded.vectors.shape == (0, 64)
    assert encoded.tokens is not None
    assert len(encoded.tokens) == 0


def test_what_was_not_used_for_longest_goes_first(tmp_path: Path) -> None:
    path, vector = tmp_path / "vectors.sqlite", np.zeros(4096, dtype=np.float32)
    for name in ("old", "new"):
        cache = VectorCache(path, limit=2**30)
        cache.put([(f"{name}{n}", CachedVectors(vector, None)) for n in range(50)])
        cache.close()
    limit = 50 * 2 * 16384
    cache = VectorCache(path, limit=limit)
    assert len(cache.get([f"old{n}" for n in range(25)])) == 25
    cache.put([("last", CachedVectors(vector, None))])
    assert cache.bytes_used() <= limit
    left = set(cache.get([f"{name}{n}" for name in ("old", "new") for n in range(50)]))
    assert left >= {f"old{n}" for n in range(25)}
    assert set(cache.get(["last"])) == {"last"}
    assert not left & {f"old{n}" for n in range(25, 50)}
    cache.close()


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / "vectors.sqlite"
    path.write_bytes(b"this is no database" * 100)
    with pytest.raises(ModelError, match=r"vectors.sqlite.*Delete it"):
        VectorCache(path, limit=2**30)


def impatient(cache: VectorCache) -> None:
    """Let a cache not wait for who holds its file."""
    assert isinstance(cache._connection, _TellingConnection)
    cache._connection.wait("", 0)
    cache._connection.execute("PRAGMA busy_timeout=10")


def test_a_locked_file_is_an_error_that_says_so(tmp_path: Path, cache: VectorCache) -> None:
    impatient(cache)
    other = sqlite3.connect(tmp_path / "vectors.sqlite", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ModelError, match="locked"):
        cache.put([("a", CachedVectors(np.zeros(2, dtype=np.float32), None))])
    other.close()


@pytest.mark.parametrize("harm", ["not a database", "locked", "read-only"])
def test_a_cache_that_fails_is_done_without(
    harm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path))
    path = cache_folder() / "vectors.sqlite"
    path.parent.mkdir(parents=True, exist_ok=True)
    whole = with_cache(Counting()).encode(["a", "b"], tokens=True)
    if harm == "not a database":
        _OPEN.pop(path).close()
        path.write_bytes(b"this is no database" * 1000)
    held = with_cache(Counting())
    if harm == "locked":
        assert held._cache is not None
        impatient(held._cache)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN EXCLUSIVE")
    if harm == "read-only":
        assert held._cache is not None
        held._cache._connection.execute("PRAGMA query_only=1")
    found = held.encode(["a", "b", "c"], tokens=True)
    np.testing.assert_array_equal(found.vectors[:2], whole.vectors)
    assert held.computed >= 1
    said = [record for record in caplog.records if record.name == "ragwright.retrievers.cache"]
    assert [record.levelname for record in said] == ["WARNING"]
    assert "goes on without" in said[0].getMessage()
    if harm == "locked":
        other.close()


def _asked_twice(embedder: HashEmbedder) -> tuple[int, list[str]]:
    """Return how often it computed, and which files were made."""
    cached = with_cache(embedder)
    cached.encode(["a"])
    cached.encode(["a"])
    return cached.computed, sorted(path.name for path in cache_folder().glob("*.sqlite"))


def test_the_cache_can_be_turned_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path))
    monkeypatch.setenv("RAGWRIGHT_CACHE_GIB", "0")
    assert _asked_twice(Counting()) == (2, [])
    monkeypatch.delenv("RAGWRIGHT_CACHE_GIB")
    assert _asked_twice(HashEmbedder()) == (2, [])
    assert _asked_twice(Counting()) == (1, ["vectors.sqlite"])
    monkeypatch.setenv("RAGWRIGHT_CACHE_GIB", "much")
    with pytest.raises(InputError, match="much"):
        with_cache(Counting())


class Paid(HashEmbedder):
    """A model behind an API that fails once, when it has been asked for a while."""

    token_vectors = False

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    @property
    def identity(self) -> EmbedderIdentity:
        return EmbedderIdentity("litellm:paid/model", "hosted", 64, True)

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        self.asked.append(len(texts))
        if len(self.asked) == 3:
            raise ModelError("Too many requests.")
        return super().encode(texts)


def test_what_was_paid_for_is_not_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path))
    paid, texts = Paid(), [f"text {n}" for n in range(300)]
    with pytest.raises(ModelError, match="Too many"):
        with_cache(paid).encode(texts)
    found = with_cache(paid).encode(texts)
    np.testing.assert_array_equal(found.vectors, HashEmbedder().encode(texts).vectors)
    assert paid.asked == [96, 96, 96, 96, 12]


def test_a_converted_model_that_lacks_a_file_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path))
    files, made = ModelFiles("m", "1", tmp_path, None, 8), []

    def make(folder: Path) -> None:
        made.append(folder)
        (folder / "graph").write_text("whole")

    folder = converted_model_folder(files, "kind", make)
    harms: list[Callable[[], object]] = [
        lambda: None,
        (folder / "graph").unlink,
        lambda: (folder / "graph").write_text("cut"),
        lambda: (folder / "sizes.json").write_text("{"),
        (folder / "sizes.json").unlink,
    ]
    for number, harm in enumerate(harms, start=1):
        harm()
        assert converted_model_folder(files, "kind", make) == folder
        assert ((folder / "graph").read_text(), len(made)) == ("whole", number)


class Given:
    """An embedder of somebody's own, which gives what a test says."""

    engine, token_vectors = "own", True
    identity = EmbedderIdentity("own", "1", 4, True)

    def __init__(self, vectors: Any, tokens: Any = None) -> None:
        self.vectors, self.given = vectors, tokens

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        return EncodedTexts(self.vectors, self.given)


@pytest.mark.parametrize("vectors", [np.eye(2, 4), np.eye(2, 4).tolist(), np.eye(2, 4, dtype=int)])
def test_numbers_of_any_kind_are_kept_as_they_are_found_again(
    vectors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAGWRIGHT_CACHE", str(tmp_path))
    for _ in range(2):
        found = with_cache(CheckedEmbedder(Given(vectors), "own:Given")).encode(["a", "b"])
        np.testing.assert_array_equal(found.vectors, np.eye(2, 4, dtype=np.float32))


@pytest.mark.parametrize(
    ("vectors", "tokens", "said"),
    [
        (np.eye(1, 4), None, r"shape \(1, 4\), not \(2, 4\)"),
        (np.eye(2, 5), None, r"shape \(2, 5\), not \(2, 4\)"),
        (np.full((2, 4), np.nan), None, "not finite"),
        ([["a"] * 4] * 2, None, "no numbers"),
        (np.eye(2, 4), [np.eye(3, 5)] * 2, r"shape \(3, 5\), not \(3, 4\)"),
        (np.eye(2, 4), [np.eye(3, 4)], "token vectors of 1 texts for 2"),
    ],
)
def test_other_vectors_than_were_asked_for_are_the_embedders_fault(
    vectors: Any, tokens: Any, said: str
) -> None:
    with pytest.raises(ModelError, match=f"The embedder 'own:Given' gave .*{said}"):
        CheckedEmbedder(Given(vectors, tokens), "own:Given").encode(["a", "b"], tokens=True)
