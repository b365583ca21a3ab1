"""Lets the workers of a Ray cluster make the calls of a language model.

Only the call itself is made elsewhere. Whether it is made, what it cost and what came back is
decided, counted and kept in this process, as ever: an account (`optimize/spending`) sees every
attempt before it goes out. A worker builds the model from its name and settings and reads keys from
its own environment. Knows no programs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import dspy
from dspy.lm15 import Request, Response
from dspy.utils.exceptions import LMTransportError

from ragwright.programs.dspy_internals import (
    request_from_dict,
    request_to_dict,
    response_from_dict,
    response_to_dict,
)
from ragwright.programs.engines import StandInEngine, StandInLM
from ragwright.programs.lm import build_lm
from ragwright.retrievers.cluster import Crew
from ragwright.retrievers.errors import ClusterError


@dataclass(frozen=True)
class RemoteEngine(StandInEngine):
    """Has a worker make each call, once; retries are for who asks.

    Attributes:
        lm: The model as this process would ask it: what it can do, and who it is.
        name: What a worker builds it from.
        options: And with which settings, as JSON.
        crew: The workers.
    """

    lm: dspy.LM
    name: str
    options: str
    crew: Crew

    def complete(self, request: Request) -> Response:
        """Answer one request.

        Raises:
            LMTransportError: The worker died; the call may have been paid for.
        """
        body = json.dumps(request_to_dict(request))
        try:
            reply = self.crew.once(answer_on_worker, self.name, self.options, body)
        except ClusterError as error:
            raise LMTransportError(str(error), model=self.lm.model) from error
        return response_from_dict(json.loads(reply))

    def close(self) -> None:
        """Nothing is open here."""


class RemoteLM(StandInLM):
    """A language model that workers ask.

    Args:
        name: As `build_lm` takes it.
        options: Likewise; plain values.
        crew: The workers.
    """

    def __init__(self, name: str, options: Mapping[str, Any], crew: Crew) -> None:
        lm = build_lm(name, **options)
        told = json.dumps(dict(options), sort_keys=True)
        super().__init__(lm, RemoteEngine(lm, name, told, crew), cache=lm.cache)


def answer_on_worker(name: str, options: str, body: str) -> str:
    """Answer a request, on a worker: JSON in, JSON out."""
    with dspy.context(disable_history=True):
        response = _built(name, options)(request_from_dict(json.loads(body)))
    return json.dumps(response_to_dict(response))


@lru_cache(maxsize=4)
def _built(name: str, options: str) -> dspy.LM:
    lm = build_lm(name, **json.loads(options) | {"cache": False})
    return lm.copy(num_retries=0)
