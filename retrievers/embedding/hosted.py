"""Embeds through models behind an API, by LiteLLM; there are no token vectors.

A name is `litellm:PROVIDER/MODEL`. Keys come from the environment, as the provider's own variable
(`OPENAI_API_KEY`, say), and so may the server's address: `RAGWRIGHT_EMBEDDING_API_BASE`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from ragwright.retrievers.embedding.base import (
    EmbedderIdentity,
    EncodedTexts,
    Floats,
    scale_to_unit_length,
)
from ragwright.retrievers.errors import ModelError

PREFIX = "litellm:"
ADDRESS = "RAGWRIGHT_EMBEDDING_API_BASE"
BATCH = 96
"""Texts to a request: the least that a large provider (Cohere) takes; OpenAI takes 2048."""
ATTEMPTS = 6
LONGEST_PAUSE = 60.0
SECONDS_PER_CALL = 60.0
_SHORTEST_KEY = 8


def is_hosted(name: str) -> bool:
    """Tell whether an embedder's name means a model behind an API."""
    return name.startswith(PREFIX)


class HostedEmbedder:
    """A model behind an API. Its vectors are scaled to length 1; it has no token vectors.

    Rate limits, time-outs, lost connections and the server's own errors are retried, with random
    pauses that grow exponentially. Where OpenAI's client does the asking, it repeats each of these
    attempts twice by itself, heeding `Retry-After`; LiteLLM cannot tell it not to. The dimension
    is asked of the model with one short text.

    Args:
        model: A LiteLLM model string, such as "openai/text-embedding-3-small".
        attempts: How often a request is made, at most.
        pause: Seconds that the first pause may take; the others grow from it.
        input_type: What the model is told the texts are; "" for nothing.

    Raises:
        ModelError: The name is not PROVIDER/MODEL.
    """

    token_vectors = False

    def __init__(
        self, model: str, *, attempts: int = ATTEMPTS, pause: float = 1.0, input_type: str = ""
    ) -> None:
        provider, _, name = model.partition("/")
        if not provider or not name:
            raise ModelError(
                f"{PREFIX + model!r} is not a hosted embedder.",
                hint=f"Write {PREFIX}PROVIDER/MODEL, e.g. {PREFIX}openai/text-embedding-3-small.",
            )
        self._model = model
        self._told = {"input_type": input_type} if input_type else {}
        self._attempts = attempts
        self._pause = pause
        self._address = os.environ.get(ADDRESS) or None
        self._lock = threading.Lock()
        self._identity: EmbedderIdentity | None = None

    @property
    def engine(self) -> str:
        return f"litellm {self._model}"

    @property
    def identity(self) -> EmbedderIdentity:
        """Providers tell no revision: the address stands for it, without user, password or query.

        Raises:
            ModelError: The model cannot be reached, or refuses.
        """
        with self._lock:
            if self._identity is None:
                asked = self._rows(["dimension"])
                if not asked.any():
                    raise self._fault("gave a vector of zeros, near which nothing is found")
                dimension = asked.shape[1]
                revision = _shown(self._address) if self._address else "hosted"
                self._identity = EmbedderIdentity(PREFIX + self._model, revision, dimension, True)
            return self._identity

    def encode(self, texts: Sequence[str], *, tokens: bool = False) -> EncodedTexts:
        """Embed texts, in order. `tokens` is not heeded: there are none.

        Raises:
            ModelError: The model cannot be reached, refuses, or answers with other vectors than
                were asked for.
        """
        dimension = self.identity.dimension
        parts = [np.zeros((0, dimension), dtype=np.float32)]
        for start in range(0, len(texts), BATCH):
            rows = self._rows(texts[start : start + BATCH])
            if rows.shape[1] != dimension:
                raise self._fault(f"gave vectors of length {rows.shape[1]}, not {dimension}")
            parts.append(rows)
        return EncodedTexts(np.concatenate(parts))

    def _rows(self, texts: Sequence[str]) -> Floats:
        """Ask for one batch; shape (len(texts), d), each row of length 1."""
        data = self._asked(texts)
        if len(data) != len(texts):
            raise self._fault(f"gave {len(data)} vectors for {len(texts)} texts")
        found = [row["embedding"] for row in self._in_order(data)]
        if not all(isinstance(vector, list) for vector in found):
            raise self._fault("gave a vector that is no list of numbers")
        if len({len(vector) for vector in found}) != 1:
            raise self._fault("gave vectors of different lengths")
        try:
            rows = np.array(found, dtype=np.float32)
        except (ValueError, TypeError, OverflowError) as error:
            raise self._fault("gave a vector that is no list of numbers") from error
        if rows.ndim != 2 or not rows.size or not np.isfinite(rows).all():
            raise self._fault("gave a vector that is empty or not finite")
        return scale_to_unit_length(rows)

    def _in_order(self, data: Sequence[Any]) -> list[Any]:
        """Return the rows of an answer by the numbers of their texts, or as they came without."""
        try:
            numbers = [row["index"] for row in data]
            told = [row["embedding"] is not None for row in data]
        except (TypeError, LookupError, AttributeError):
            told = [False]
        if not all(told):
            raise self._fault("gave an answer without vectors")
        if all(number is None for number in numbers):
            return list(data)
        if set(map(str, numbers)) != set(map(str, range(len(data)))):
            raise self._fault("gave vectors that do not say whose they are")
        return sorted(data, key=lambda row: int(row["index"]))

    def _asked(self, texts: Sequence[str]) -> list[Any]:
        from litellm import exceptions
        from openai import OpenAIError

        passing: tuple[type[Exception], ...] = (
            exceptions.RateLimitError,
            exceptions.Timeout,
            exceptions.APIConnectionError,
            exceptions.InternalServerError,
            exceptions.ServiceUnavailableError,
            exceptions.BadGatewayError,
        )
        missing = self._missing_keys()
        if missing:
            # How LiteLLM passes on that OpenAI's client has no key: no use in trying again.
            passing = tuple(kind for kind in passing if kind is not exceptions.InternalServerError)
        retrying = Retrying(
            retry=retry_if_exception_type(passing),
            stop=stop_after_attempt(self._attempts),
            wait=wait_random_exponential(multiplier=self._pause, max=LONGEST_PAUSE),
            reraise=True,
        )
        try:
            return retrying(self._call, texts)
        except (exceptions.AuthenticationError, exceptions.PermissionDeniedError) as error:
            # What the provider says may hold a part of the key.
            raise self._fault(
                f"refused the key ({type(error).__name__})",
                hint="Set the provider's key in the environment, e.g. OPENAI_API_KEY.",
            ) from error
        except OpenAIError as error:
            said = _without_keys((str(error).splitlines() or [""])[0])
            hint = f"Set {' and '.join(missing)} in the environment." if missing else ""
            what = f"cannot be used: {type(error).__name__}: {said.rstrip('.')}"
            raise self._fault(what, hint=hint) from error

    def _missing_keys(self) -> list[str]:
        import litellm

        return list(litellm.validate_environment(self._model)["missing_keys"])

    def _call(self, texts: Sequence[str]) -> list[Any]:
        import litellm

        from ragwright.retrievers.embedding.guarded import guard_litellm

        guard_litellm()
        # It prints advice to standard output, where results belong; DSPy silences it too.
        litellm.suppress_debug_info = True
        answer = litellm.embedding(
            model=self._model,
            # Providers refuse an empty text.
            input=[text or " " for text in texts],
            api_base=self._address,
            encoding_format="float",
            drop_params=True,
            timeout=SECONDS_PER_CALL,
            **self._told,
        )
        return answer.data if isinstance(answer.data, list) else []

    def _fault(self, what: str, *, hint: str = "") -> ModelError:
        return ModelError(
            f"The embedding model {PREFIX + self._model!r} {what}.",
            hint=hint or "Check its name, the provider's state and your limits there.",
        )


def _without_keys(said: str) -> str:
    """Return what a server said without keys of the environment, which it may have repeated."""
    for name, key in os.environ.items():
        if name.endswith("_API_KEY") and len(key) >= _SHORTEST_KEY:
            said = said.replace(key, f"${name}")
    return said


def _shown(address: str) -> str:
    parts = urlsplit(address)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.hostname}{port}{parts.path.rstrip('/')}"
