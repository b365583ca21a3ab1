"""A packed passage is extended by the chunks around it: no gap, no repetition, no overrun."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.programs.context import build_context
from ragwright.programs.kinds import HybridRAG
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.lm import build_lm
from ragwright.programs.neighbours import JOINT_TOKENS, ChunkFacts, Surroundings, choose_neighbours
from ragwright.programs.rag import RAG, RAGOptions
from ragwright.programs.signatures import AnswerWithCitations
from ragwright.programs.widening import neighbour_extension, surrounding_chunks
from ragwright.programs.window import answer_tokens, prompt_tokens
from ragwright.retrievers.chunking import ChunkSettings, count_tokens
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.index import IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.narrowing import narrowing
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.returned import Sides
from ragwright.retrievers.types import Document

PLACES = range(12)


def document(sizes: dict[str, int], texts: dict[str, int] | None = None) -> Surroundings:
    """One document of chunks with these sizes, in order; each with a text of its own."""
    ids = list(sizes)
    sides: dict[str, Sides] = {
        id: (tuple(ids[:place][::-1]), tuple(ids[place + 1 :])) for place, id in enumerate(ids)
    }
    numbers = dict(zip(ids, PLACES, strict=False)) | (texts or {})
    return Surroundings(sides, {id: ChunkFacts(size, numbers[id]) for id, size in sizes.items()})


TENS = document(dict.fromkeys("abcdefg", 10))


@pytest.mark.parametrize(
    ("packed", "left", "reach", "expected"),
    [
        ("d", 100, 0, [("", "")]),
        ("d", 100, 1, [("c", "e")]),
        ("d", 100, 2, [("cb", "ef")]),
        ("a", 100, 2, [("", "bc")]),
        # A neighbour costs its 10 tokens and 1 for the joint.
        ("d", 21, 2, [("c", "")]),
        ("d", 22, 2, [("cb", "")]),
        ("d", 33, 2, [("cb", "e")]),
        ("d", -5, 2, [("", "")]),
        # What is there as a passage, or beside one, is not added again, nor stepped over.
        ("df", 100, 2, [("cb", "e"), ("", "g")]),
        ("de", 100, 2, [("cb", ""), ("", "fg")]),
        ("dx", 100, 1, [("c", "e"), ("", "")]),
    ],
)
def test_the_nearest_that_fit_are_added(
    packed: str, left: int, reach: int, expected: list[tuple[str, str]]
) -> None:
    taken = choose_neighbours(list(packed), TENS, left=left, reach=reach)
    assert [("".join(before), "".join(after)) for before, after in taken] == expected


def test_a_neighbour_that_does_not_fit_ends_its_side_alone() -> None:
    around = document({"a": 5, "b": 90, "c": 10, "d": 5, "e": 5})
    assert choose_neighbours(["c"], around, left=30, reach=2) == [((), ("d", "e"))]


def test_a_text_that_is_in_the_context_is_not_repeated() -> None:
    around = document(dict.fromkeys("abc", 10), {"c": 0})
    assert choose_neighbours(["a", "b"], around, left=100, reach=1) == [((), ()), ((), ())]


@given(
    st.lists(st.integers(1, 40), min_size=1, max_size=12),
    st.lists(st.sampled_from(PLACES), unique=True, max_size=5),
    st.integers(-10, 200),
    st.integers(0, 2),
)
def test_what_is_added_fits_touches_and_comes_once(
    sizes: list[int], places: list[int], left: int, reach: int
) -> None:
    around = document({f"c{place}": size for place, size in enumerate(sizes)})
    ids = list(around.pieces)
    packed = [ids[place] for place in places if place < len(ids)]
    taken = choose_neighbours(packed, around, left=left, reach=reach)
    added = [id for before, after in taken for id in (*before, *after)]
    assert sum(around.pieces[id].tokens + JOINT_TOKENS for id in added) <= max(0, left)
    assert len({*packed, *added}) == len(packed) + len(added)
    for id, (before, after) in zip(packed, taken, strict=True):
        place = ids.index(id)
        assert list(before) == ids[max(0, place - len(before)) : place][::-1]
        assert list(after) == ids[place + 1 : place + 1 + len(after)]
        assert max(len(before), len(after)) <= reach


TEXT = " ".join(
    f"Fact {number} is that the number {number} follows another." for number in range(9)
)


@pytest.fixture(params=[0, 8], ids=["adjacent", "overlapping"])
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[str]:
    chunking = ChunkSettings(kind="token", size=24, overlap=request.param)
    settings = IndexSettings(embedder="hash", chunking=chunking)
    ingest([Document("facts", TEXT), Document("other", "Tea is green.")], tmp_path / "i", settings)
    yield str(tmp_path / "i")
    close_index(tmp_path / "i")


def test_the_text_is_the_documents_and_its_offsets_say_where(path: str) -> None:
    index = open_index(path)
    chunks = index.document("facts")
    (middle,) = index.passages([chunks[2].id])
    for reach in (1, 2):
        packed = [middle.scored(0.5, dense=0.5)]
        context = build_context(packed, 500, extend=neighbour_extension(RetrieverOf(path), reach))
        (read,) = context.passages
        start, end = chunks[2 - reach].start, chunks[2 + reach].end
        assert read == TEXT[start:end]
        assert (read.metadata["start"], read.metadata["end"]) == (start, end)
        assert (read.id, read.score, read.signals) == (middle.id, 0.5, {"dense": 0.5})
        assert context.numbered == (f"[1] {TEXT[start:end]}",)
        assert count_tokens(read) <= int(read.metadata["tokens"]) + 2 * reach * JOINT_TOKENS


@pytest.mark.parametrize("gone", [3, 4])
def test_a_side_ends_at_a_chunk_that_is_gone_by_the_time_it_is_read(
    path: str, monkeypatch: pytest.MonkeyPatch, gone: int
) -> None:
    index = open_index(path)
    ids = [one.id for one in index.document("facts")]
    tokens = index.tokens
    monkeypatch.setattr(
        index, "tokens", lambda asked: tokens([id for id in asked if id != ids[gone]])
    )
    found = surrounding_chunks(index, [ids[2]], reach=2)
    assert found.sides == {ids[2]: ((ids[1], ids[0]), tuple(ids[3:gone]))}
    assert {ids[2], ids[1], ids[0], *ids[3:gone]} <= found.pieces.keys()


def test_no_neighbour_is_read_that_the_filter_does_not_pass(path: str) -> None:
    """Of one document a caller may see some pages: those beside them were shown with them."""
    question, first = "Which number follows in fact 4?", open_index(path).document("facts")[:4]
    program = HybridRAG(path, knobs=Knobs(KnobValues(k=4, neighbours=2, context_tokens=4000)))
    where, told = {"start": {"$lte": first[-1].start}}, TEXT[first[-1].end :][:20]
    with dspy.context(lm=build_lm("extractive", embedder="hash")):
        everything = program(question)
        read = [program(question, where=where), asyncio.run(program.acall(question, where=where))]
        sent = program.messages(question, where=where)
        with narrowing(where):
            read.append(program(question))
    assert max(passage.metadata["end"] for passage in everything.passages) > first[-1].end
    assert told not in str(sent)
    for answer in read:
        assert max(passage.metadata["end"] for passage in answer.passages) == first[-1].end
        assert told not in "".join(answer.passages)


class RetrieverOf:
    """Anything that reads an index."""

    def __init__(self, path: str) -> None:
        self.path = path


def test_a_citation_names_the_passage_that_was_retrieved(path: str) -> None:
    question = "Which number follows in fact 4?"
    read = {}
    for reach in (0, 1):
        values = KnobValues(k=2, neighbours=reach, context_tokens=400)
        program = HybridRAG(path, knobs=Knobs(values))
        with dspy.context(lm=build_lm("extractive", embedder="hash")):
            read[reach] = program(question)
    assert [p.id for p in read[0].passages] == [p.id for p in read[1].passages]
    assert read[0].retrieved.ids == read[1].retrieved.ids
    for plain, extended in zip(read[0].passages, read[1].passages, strict=True):
        assert plain in extended
    assert sum(map(len, read[1].passages)) > sum(map(len, read[0].passages))
    assert set(read[1].citations) <= {1, 2}


def test_neighbours_push_no_passage_out_of_the_models_window(path: str) -> None:
    question, lm = "Which number follows in fact 4?", build_lm("extractive", embedder="hash")

    def asked(reach: int, window: int | None = None) -> dspy.Prediction:
        knobs = Knobs(KnobValues(k=2, neighbours=reach, context_tokens=400))
        program = HybridRAG(path, knobs=knobs, options=RAGOptions(window=window))
        with dspy.context(lm=lm):
            return program(question)

    plain, extended = asked(0), asked(1)
    inputs = {"context": plain.context, "question": question}
    enough = prompt_tokens(dspy.Predict(AnswerWithCitations), inputs, lm=lm) + answer_tokens(lm)
    assert extended.context != plain.context
    for window, wanted in ((enough, plain), (enough - 1, asked(0, enough - 1))):
        narrow = asked(1, window)
        assert (narrow.context, narrow.cut) == (wanted.context, wanted.cut)
    assert (len(plain.passages), plain.cut) == (2, [])


def test_a_retriever_without_an_index_has_no_neighbours() -> None:
    def retriever(query: str, k: int | None = None, *, where: None = None) -> RetrievalResult:
        return RetrievalResult.of([])

    program = RAG(retriever, knobs=Knobs(KnobValues.dense().replaced(neighbours=1)))
    with (
        dspy.context(lm=build_lm("extractive", embedder="hash")),
        pytest.raises(InputError, match="neighbours = 1, but function reads no index"),
    ):
        program("What is tea?")
