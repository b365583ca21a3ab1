"""Copies of programs that hold what lives: threads, queues, pools, clients that close."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from threading import Thread
from typing import Any

import dspy
import numpy as np
import pytest
from sqlalchemy import create_engine, text

from ragwright.programs import HybridRetriever
from ragwright.programs.anatomy import copy_program, knobs_of
from ragwright.programs.copying import attributes_of

WAIT = 30.0
"""Seconds after which nobody answers any more."""


class Batcher:
    """Hands questions to a thread of its own."""

    def __init__(self) -> None:
        self.asked: Queue[tuple[str, Future[str]]] = Queue()
        self.worker = Thread(target=self._work, daemon=True)
        self.worker.start()

    def __call__(self, question: str) -> str:
        answer: Future[str] = Future()
        self.asked.put((question, answer))
        return answer.result(WAIT)

    def _work(self) -> None:
        while True:
            question, answer = self.asked.get()
            answer.set_result(question.upper())


class Pool:
    def __init__(self) -> None:
        self.kept = {"pool": [ThreadPoolExecutor(1)]}

    def __call__(self, question: str) -> str:
        return self.kept["pool"][0].submit(question.upper).result(WAIT)


class Client:
    """Closes its connection when nobody has it any more, as clients of HTTP do."""

    def __init__(self) -> None:
        self.open = [True]

    def __call__(self, question: str) -> str:
        assert self.open[0]
        return question.upper()

    def __del__(self) -> None:
        self.open[0] = False


class Holder:
    """Keeps a living thing beside a stage: it is the program's own, and is copied."""

    def __init__(self, living: Any) -> None:
        self.living, self.search = living, HybridRetriever("index")


class Program(dspy.Module):
    def __init__(self, living: Any) -> None:
        super().__init__()
        self.living, self.holder = living, Holder(living)
        self.answer = dspy.Predict("context, question -> answer")


@pytest.mark.parametrize("kind", [Batcher, Pool, Client])
def test_what_lives_is_shared_and_what_is_beside_it_copied(kind: Any) -> None:
    program = Program(kind())
    for _ in range(2):  # the first one is thrown away
        twin = copy_program(program)
    assert twin.living is program.living is twin.holder.living
    assert twin.holder.search.knobs is not program.holder.search.knobs
    assert twin.answer is not program.answer
    assert twin.living("who") == program.living("who") == "WHO"
    assert list(knobs_of(twin)) == list(knobs_of(program))


def test_a_copy_searches_with_the_embeddings_of_dspy() -> None:
    def embed(texts: list[str]) -> Any:
        return np.array([[len(text), 1.0] for text in texts])

    program = Program(dspy.retrievers.Embeddings(["a", "aaaa"], embed, k=1))
    copy_program(program)
    twin = copy_program(copy_program(program))
    assert twin.living is program.living
    assert twin.living("aaaa").passages == program.living("aaaa").passages


class Lazy:
    """Makes what is asked of it, as SQLAlchemy's and many clients' parts do."""

    __slots__ = ("made", "never")

    def __init__(self) -> None:
        self.made = 1

    def __getattr__(self, name: str) -> Any:
        raise TypeError(f"{name} cannot be made")


def test_nothing_of_what_is_copied_is_run() -> None:
    program: Any = Program(Lazy())
    twin: Any = copy_program(program)
    assert twin.living.made == 1
    assert attributes_of(program.living) == {"made": 1}


def test_an_engine_of_a_database_is_shared(tmp_path: Path) -> None:
    engine = create_engine(f"sqlite:///{tmp_path / 'facts.db'}")
    program: Any = Program(engine)
    twin: Any = copy_program(program)
    del program
    with twin.living.connect() as connection:
        assert connection.execute(text("select 7")).scalar() == 7
    assert list(knobs_of(twin)) == ["holder.search.knobs"]
