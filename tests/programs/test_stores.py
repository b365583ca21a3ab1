"""A program over an index answers alike wherever the vectors lie."""

from __future__ import annotations

from pathlib import Path

import dspy
import pytest

from ragwright.programs.kinds import HybridRAG
from ragwright.retrievers.index import IndexSettings, close_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from ragwright.retrievers.upkeep import verify
from tests.programs.conftest import FACTS
from tests.servers.stores import KINDS, located

QUESTIONS = [
    "What is the capital of France?",
    "Who wrote Rust?",
    "How many moons has Mars?",
    "How is espresso brewed?",
]


def documents() -> list[Document]:
    return [Document(id, text, id.title(), {"size": len(text)}) for id, text in FACTS.items()]


def answers(path: str, lm: dspy.LM) -> list[tuple[object, ...]]:
    program = HybridRAG(path)
    program.set_lm(lm)
    found: list[tuple[object, ...]] = []
    for question in QUESTIONS:
        for where in (None, {"size": {"$lt": 72}}):
            reply = program(question=question, where=where)
            scores = [round(score, 4) for score in reply.retrieved.scores]
            found.append((reply.answer, reply.citations, reply.context, scores))
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_answers_from_every_store(kind: str, tmp_path: Path, extractive: dspy.LM) -> None:
    ingest(documents(), tmp_path / "plain", IndexSettings(embedder="hash"))
    wanted = answers(str(tmp_path / "plain"), extractive)
    close_index(tmp_path / "plain")
    with located(kind, tmp_path, 64) as place:
        settings = IndexSettings(embedder="hash", store=place.format(1))
        ingest(documents(), tmp_path / "index", settings)
        assert answers(str(tmp_path / "index"), extractive) == wanted
        close_index(tmp_path / "index")
        assert verify(tmp_path / "index").sound
    assert len({answer for answer, *_ in wanted}) > 2
