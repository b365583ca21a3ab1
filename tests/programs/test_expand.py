"""Written queries: what is searched for, and what several hops and a history do."""

from __future__ import annotations

import json
from pathlib import Path

import dspy
import pytest

from ragwright.programs.build import build_program, build_recipe_lm, tunable_knobs
from ragwright.programs.candidates import Candidates
from ragwright.programs.expand import Expansion, Query
from ragwright.programs.hybrid import HybridRetriever, merge_candidates
from ragwright.programs.kinds import HybridRAG, MultiHopRAG
from ragwright.programs.multihop import MultiHopRetriever
from ragwright.programs.rag import RAGOptions
from ragwright.programs.recipe import Recipe
from ragwright.retrievers.errors import InputError, ModelError, RecipeError
from ragwright.retrievers.index import IndexSettings, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.types import Document
from tests.servers.scripted_lm import ScriptedLM

QUESTION = "Which river flows through the capital of France?"


@pytest.mark.parametrize("kind", ["multi-query", "step-back", "decompose"])
def test_the_question_is_always_searched_for_itself(
    kind: str, server: ScriptedLM, scripted: dspy.LM
) -> None:
    server.script = {"queries": json.dumps(["one", QUESTION, " ", "one", "two", *"abcdef"])}
    expansion = Expansion(kind)  # type: ignore[arg-type]
    expansion.set_lm(scripted)
    expected = [QUESTION, "one", "two", "a", "b"]
    assert expansion(QUESTION) == [Query(text) for text in expected]


def test_hyde_asks_only_the_dense_source_for_the_passage(
    server: ScriptedLM, scripted: dspy.LM
) -> None:
    server.script = {"passage": "The Seine flows through Paris."}
    expansion = Expansion("hyde")
    expansion.set_lm(scripted)
    assert expansion(QUESTION) == [
        Query(QUESTION),
        Query(QUESTION, dense="The Seine flows through Paris."),
    ]


def test_a_written_query_finds_what_the_question_does_not(
    index_path: str, server: ScriptedLM, scripted: dspy.LM
) -> None:
    server.script = {"queries": '["How are Phobos and Deimos called?"]'}
    question = "What circles the fourth rock?"
    plain = HybridRAG(index_path)
    expanded = HybridRAG(index_path, expansion="multi-query")
    for program in (plain, expanded):
        program.set_lm(scripted)
    found = {passage.document for passage in expanded.retriever(question, 3)}
    assert "mars" in found
    assert "mars" not in {passage.document for passage in plain.retriever(question, 3)}


def test_copies_are_seen_that_different_queries_found(tmp_path: Path) -> None:
    documents = [Document(id, "The Seine is long.") for id in "ab"]
    ingest(
        [*documents, Document("c", "The Tiber is long.")], tmp_path, IndexSettings(embedder="hash")
    )
    ids = [chunk.id for chunk in open_index(tmp_path).chunks()]
    parts = [Candidates.union({id: 0.5}, {}, {id: 9}) for id in ids]
    texts = merge_candidates(str(tmp_path), parts).texts
    assert texts is not None
    assert texts[0, 0] == texts[0, 1] != texts[0, 2]


def test_hops_follow_the_notes_and_keep_to_the_budget(
    index_path: str, server: ScriptedLM, scripted: dspy.LM
) -> None:
    asked = iter(["Seine river", "English Channel", "never asked"])
    server.script = {"query": lambda _: next(asked), "note": "Paris.", "enough": "False"}
    stage = MultiHopRetriever(HybridRetriever(index_path), hops=3)
    stage.set_lm(scripted)
    found = stage("What is the capital of France?", 12)
    assert len(server.calls) == 2
    assert [json.loads(call.fields["notes"]) for call in server.calls] == [[], ["Paris."]]
    assert len(set(found.ids)) == len(found.ids)
    assert {"paris", "seine"} <= {passage.document for passage in found}


@pytest.mark.parametrize(
    "script",
    [{"enough": "True", "query": "more"}, {"query": QUESTION, "enough": "False"},
     {"query": "", "enough": "False"}],
)  # fmt: skip
def test_hops_stop_when_it_is_enough_or_nothing_new_is_asked(
    script: dict[str, str], index_path: str, server: ScriptedLM, scripted: dspy.LM
) -> None:
    server.script = {"note": "x", **script}
    program = MultiHopRAG(index_path, hops=5)
    program.set_lm(scripted)
    single = HybridRAG(index_path).retriever(QUESTION)
    assert program.retriever(QUESTION).ids == single.ids
    assert len(server.calls) == 1


def test_the_offline_model_can_hop(index_path: str, extractive: dspy.LM) -> None:
    program = MultiHopRAG(index_path, hops=2)
    program.set_lm(extractive)
    assert program(question="What is the capital of France?").answer.startswith("Paris")


def test_a_history_makes_the_question_stand_alone(
    index_path: str, server: ScriptedLM, scripted: dspy.LM
) -> None:
    server.script = {"standalone": "What is the capital of Norway?"}
    program = HybridRAG(index_path, options=RAGOptions(conversation=True))
    program.set_lm(scripted)
    history = dspy.History(messages=[{"question": "Where is Oslo?", "answer": "In Norway."}])
    said = program(question="And what is it of it?", history=history)
    assert "Oslo is the capital of Norway." in said.answer
    assert [call.wanted[0] for call in server.calls] == ["standalone", "answer"]
    assert program(question="What is the capital of Italy?").answer.startswith("Rome")
    assert len(server.calls) == 3  # without a history nothing is rewritten


def test_a_history_that_nobody_reads_is_refused(index_path: str, scripted: dspy.LM) -> None:
    program = HybridRAG(index_path)
    program.set_lm(scripted)
    history = dspy.History(messages=[{"question": "a", "answer": "b"}])
    with pytest.raises(InputError, match="conversation = true"):
        program(question="c", history=history)


@pytest.mark.parametrize(
    "section",
    [{"kind": "hybrid", "expansion": "hyde"}, {"kind": "rerank", "reranker": "listwise"},
     {"kind": "hybrid", "conversation": True}],
)  # fmt: skip
def test_what_needs_a_writing_model_refuses_the_offline_one(section: dict[str, object]) -> None:
    recipe = Recipe.checked({"program": section, "index": {"embedder": "hash"}})
    with pytest.raises(ModelError, match="does not write"):
        build_program(recipe, lm=build_recipe_lm(recipe))


@pytest.mark.parametrize(
    ("section", "named"),
    [
        ({"kind": "rerank", "reranker": "none"}, "needs a reranker"),
        ({"kind": "rag", "expansion": "hyde"}, "takes no expansion"),
        ({"hops": 9}, "hops"),
        ({"expansion": "magic"}, "magic"),
    ],
)
def test_parts_that_do_not_fit_are_refused(section: dict[str, object], named: str) -> None:
    with pytest.raises(RecipeError, match=named):
        Recipe.checked({"program": section})


def test_the_weight_of_a_reranker_that_a_pool_stores_can_be_tuned() -> None:
    sections = [{"kind": "rag"}, {"kind": "rerank"}, {"kind": "rerank", "reranker": "listwise"}]
    recipes = [Recipe.checked({"program": section}) for section in sections]
    assert "weight_maxsim" in tunable_knobs(recipes[1])
    assert not {
        name for name in tunable_knobs(recipes[-1]) if name in ("weight_lm", "rerank_depth")
    }
