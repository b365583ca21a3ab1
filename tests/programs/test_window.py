"""The whole prompt and the answer fit the window, whatever passages, demonstrations and budget."""

from __future__ import annotations

import dspy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.programs.context import build_context
from ragwright.programs.kinds import HybridRAG
from ragwright.programs.rag import RAG, RAGOptions
from ragwright.programs.signatures import AnswerWithCitations
from ragwright.programs.window import (
    answer_tokens,
    count_model_tokens,
    fit_context,
    model_window,
    prompt_tokens,
)
from ragwright.retrievers.chunking import count_tokens
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.types import Passage
from tests.programs.conftest import client
from tests.servers.scripted_lm import ScriptedLM

SENTENCES = st.lists(
    st.sampled_from(
        ["It rains.", "Why?\n", "naïve 日本語 text.", '"quoted" \\ and { } [[ ## x ## ]]']
    ),
    min_size=1,
    max_size=60,
).map(" ".join)
PASSAGES = st.lists(SENTENCES, max_size=8)
MODELS = st.sampled_from(["openai/gpt-4o-mini", "openai/gpt-4", "ollama_chat/llama3.2"])


@given(PASSAGES, st.lists(SENTENCES, max_size=3), st.integers(500, 3000), MODELS)
def test_it_never_overflows(texts: list[str], demos: list[str], window: int, model: str) -> None:
    predict = dspy.Predict(AnswerWithCitations)
    predict.lm = dspy.LM(model, max_tokens=100)
    predict.demos = [
        dspy.Example(context=[demo], question="Why?", answer=demo, citations=[1]) for demo in demos
    ]
    passages = [
        Passage(text, id=str(place), score=1 - place / 10) for place, text in enumerate(texts)
    ]
    packed = build_context(passages, 200_000)
    inputs = {"question": "What is it?"}
    try:
        context = fit_context(packed, predict, inputs, window=window)
    except InputError:
        empty = {"context": [], **inputs}
        assert prompt_tokens(predict, empty, lm=predict.lm) + 100 > window
        return
    rendered = {"context": list(context.numbered), **inputs}
    assert prompt_tokens(predict, rendered, lm=predict.lm) + 100 <= window
    assert context.numbered == tuple(f"[{n}] {p}" for n, p in enumerate(context.passages, start=1))
    kept = {passage.id for passage in context.passages}
    assert kept | set(context.cut) == {passage.id for passage in passages}
    assert not kept & set(context.cut)


def test_the_worst_go_first_and_the_last_is_shortened() -> None:
    predict = dspy.Predict(AnswerWithCitations)
    predict.lm = dspy.LM("openai/gpt-4o-mini", max_tokens=50)
    best, worst = ("One sentence. " * 400, "Another one. " * 400)
    passages = [Passage(best, id="best", score=0.9), Passage(worst, id="worst", score=0.1)]
    context = fit_context(build_context(passages, 10_000), predict, {"question": "?"}, window=1200)
    assert [passage.id for passage in context.passages] == ["best"]
    assert (context.cut, context.truncated) == (("worst",), True)
    assert context.passages[0].endswith("sentence.")


def test_tokens_are_the_models_own_or_an_upper_estimate() -> None:
    text = "Retrieval-augmented generation, 日本語."
    assert count_model_tokens(text, "openai/gpt-4") == count_tokens(text, "cl100k_base")
    assert count_model_tokens(text, "openai/gpt-4o-mini") == count_tokens(text, "o200k_base")
    assert count_model_tokens(text, "ollama_chat/llama3.2") > count_tokens(text, "cl100k_base")


def test_the_window_is_what_dspy_knows_of_the_model(extractive: dspy.LM) -> None:
    assert model_window(dspy.LM("openai/gpt-4o-mini")) == 128_000
    assert model_window(dspy.LM("openai/never-heard-of")) is None
    assert model_window(extractive) is None
    assert model_window(None) is None
    assert answer_tokens(dspy.LM("openai/gpt-4o-mini", max_tokens=77)) == 77


def test_a_program_keeps_to_the_window_it_is_given(index_path: str, server: ScriptedLM) -> None:
    def asked(window: int) -> dspy.Prediction:
        program: RAG = HybridRAG(index_path, options=RAGOptions(window=window))
        program.set_lm(client(server, max_tokens=100))
        return program(question="What is the capital of France?")

    wide = asked(4000)
    bare = dspy.Predict(AnswerWithCitations)
    empty = {"context": [], "question": "What is the capital of France?"}
    narrow = asked(prompt_tokens(bare, empty, lm=client(server)) + 100 + 60)
    assert len(wide.passages) == 5
    assert 0 < len(narrow.passages) < 5
    assert len(narrow.passages) + len(narrow.cut) == 5
    assert narrow.answer == wide.answer
    with pytest.raises(InputError, match="window of 300 tokens"):
        asked(300)
