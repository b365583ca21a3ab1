"""An embedder in; the same one out, but computing only what was never computed before.

A vector's key is its embedder's identity and its text, and one file in the user's cache folder
serves every index on the machine: a wiped index, or another chunk size for the same documents,
embeds only what is new. Token vectors are kept as an index keeps them, in 4 bits a dimension.
Knows no index, nor how the file is kept: see `vector_cache.py`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from ragwright.retrievers.cache_file import cache_folder, cache_limit
from ragwright.retrievers.embedding import (
    NO_PROMPT,
    Embedder,
    EncodedTexts,
    Floats,
    Prompt,
)
from ragwright.retrievers.embedding.base import WrappedEmbedder
from ragwright.retrievers.embedding.hosted import BATCH, is_hosted
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.seen import batches
from ragwright.retrievers.token_codes import CodedRows, draw_rotation, quantize, rotate_vectors
from ragwright.retrievers.types import content_hash
from ragwright.retrievers.vector_cache import CachedVectors, VectorCache

T = TypeVar("T")
log = logging.getLogger(__name__)


class CachedEmbedder(WrappedEmbedder):
    """An embedder that computes only what the cache does not hold.

    Args:
        embedder: What computes.
        cache: Where its results are kept; None to keep nothing.
        prompt: What the embedder says of each text: the same text has another vector then.

    Attributes:
        computed: How many texts were not in the cache.
        failures: How often the cache could not be read or written, and was done without.
    """

    def __init__(
        self, embedder: Embedder, cache: VectorCache | None, prompt: Prompt = NO_PROMPT
    ) -> None:
        super().__init__(embedder)
        self._prompt = () if prompt == NO_PROMPT else (prompt.type, prompt.text)
        self._cache = cache
        self._lock = threading.Lock()
        self.computed = 0
        self.failures = 0

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        """Embed texts, in order; equal ones once. `computed` counts those that were not cached.

        Token vectors come back as an index would read them, rounded to 4 bits a dimension,
        whether cached or not: so an index made twice is the same twice. They are decoded when
        they are asked for, which an index that is written does not.
        """
        tokens = tokens and self.token_vectors
        if self._cache is None:
            return self._counted(texts, tokens=tokens)
        return self._through(self._cache, texts, tokens=tokens)

    def _through(self, cache: VectorCache, texts: Sequence[str], *, tokens: bool) -> EncodedTexts:
        identity = self.identity
        prefix = content_hash(
            identity.model, identity.revision, str(identity.dimension), *self._prompt
        )
        keys = [content_hash(prefix, text) for text in texts]
        nothing: dict[str, CachedVectors] = {}
        kept = self._tried(lambda: cache.get(list(dict.fromkeys(keys))), nothing)
        found = {key: one for key, one in kept.items() if one.codes is not None or not tokens}
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in found}
        # What a model behind an API was paid for is kept before it is asked for more.
        at_once = BATCH if is_hosted(identity.model) else len(missing)
        for part in batches(missing.items(), at_once):
            encoded = self._counted([text for _, text in part], tokens=tokens)
            keyed = zip((key for key, _ in part), self._entries(cache, encoded), strict=True)
            fresh = dict(keyed)
            self._tried(partial(cache.put, fresh.items()), None)
            found |= fresh
        return self._assembled(cache, [found[key] for key in keys], tokens=tokens)

    def _rotation(self, cache: VectorCache) -> Floats:
        dimension = self.identity.dimension
        found = self._tried(lambda: cache.rotation(dimension), None)
        return draw_rotation(dimension) if found is None else found

    def _tried(self, work: Callable[[], T], otherwise: T) -> T:
        """Do without the cache where it fails: what it holds can be computed. Said once."""
        try:
            return work()
        except ModelError as error:
            if not self.failures:
                log.warning("%s It goes on without.", error)
            self.failures += 1
            return otherwise

    def _counted(self, texts: Sequence[str], *, tokens: bool) -> EncodedTexts:
        encoded = self._embedder.encode(texts, tokens=tokens)
        with self._lock:
            self.computed += len(texts)
        return encoded

    def _entries(self, cache: VectorCache, encoded: EncodedTexts) -> Iterator[CachedVectors]:
        codes: Sequence[bytes | None] = [None] * len(encoded.vectors)
        if encoded.tokens is not None:
            rotation = self._rotation(cache)
            codes = [quantize(rotate_vectors(rows, rotation)).tobytes() for rows in encoded.tokens]
        return (CachedVectors(*pair) for pair in zip(encoded.vectors, codes, strict=True))

    def _assembled(
        self, cache: VectorCache, found: Sequence[CachedVectors], *, tokens: bool
    ) -> EncodedTexts:
        dimension = self.identity.dimension
        empty = np.zeros((0, dimension), dtype=np.float32)
        vectors = np.stack([one.vector for one in found]) if found else empty
        if not tokens:
            return EncodedTexts(vectors)
        codes = tuple(
            np.frombuffer(one.codes or b"", dtype=np.uint8).reshape(-1, dimension // 2)
            for one in found
        )
        return EncodedTexts(vectors, CodedRows(codes, self._rotation(cache)))


_LOCK = threading.Lock()
_OPEN: dict[Path, VectorCache] = {}


def with_cache(embedder: Embedder, prompt: Prompt = NO_PROMPT) -> CachedEmbedder:
    """Return the embedder behind the user's cache, or behind none where it gains nothing.

    `RAGWRIGHT_CACHE` names the folder, `RAGWRIGHT_CACHE_GIB` how much the cache may fill there
    (4 by default); 0 turns it off. An odd dimension and the hash embedder are not cached.

    A file that cannot be opened is said, and done without. `prompt` is what the embedder says of
    each text.

    Raises:
        InputError: `RAGWRIGHT_CACHE_GIB` is not a number.
    """
    limit = cache_limit()
    identity = embedder.identity
    if limit <= 0 or identity.model == "hash" or identity.dimension % 2:
        return CachedEmbedder(embedder, None, prompt)
    path = cache_folder() / "vectors.sqlite"
    with _LOCK:
        if path not in _OPEN:
            try:
                _OPEN[path] = VectorCache(path, limit=limit)
            except ModelError as error:
                log.warning("%s It goes on without.", error)
                return CachedEmbedder(embedder, None, prompt)
        return CachedEmbedder(embedder, _OPEN[path], prompt)
