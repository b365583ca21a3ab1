"""A real cross-encoder, tiny and with random weights, goes through the real loading code."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest

from ragwright.programs import encoders
from ragwright.programs.candidates import Candidates
from ragwright.programs.hybrid import HybridRetriever
from ragwright.programs.kinds import RerankRAG
from ragwright.programs.knobs import Knobs, KnobValues
from ragwright.programs.rerank import CrossEncoder, LibraryReranker, RerankRetriever
from ragwright.retrievers.errors import ModelError


def test_it_scores_each_pair_on_its_own(index_path: str, tiny_cross_encoder: str) -> None:
    ids = HybridRetriever(index_path)("What is the capital of France?").ids
    encoder = CrossEncoder(index_path, tiny_cross_encoder)
    scores = encoder("What is the capital of France?", ids)
    assert len(scores) == len(ids)
    alone = [encoder("What is the capital of France?", [id])[0] for id in ids]
    assert scores == pytest.approx(alone, abs=1e-5)


def test_openvino_meets_few_widths_and_none_beyond_the_models(tiny_cross_encoder: str) -> None:
    model = encoders._cross_encoder(tiny_cross_encoder, "torch")  # OpenVINO needs optimum
    pairs = [("what is", "a river of paris " * count) for count in range(1, 40)]
    given = encoders._few_widths(model)
    wide = {model.preprocess([pair], **given)["input_ids"].shape[1] for pair in pairs}
    assert wide == {16, 32, 48, 64}
    assert model.predict(pairs, **given) == pytest.approx(model.predict(pairs), abs=1e-5)
    model.max_seq_length = 50
    assert encoders._few_widths(model) == {}


def test_its_scores_order_the_passages(index_path: str, tiny_cross_encoder: str) -> None:
    values = KnobValues(weight_dense=0.0, weight_bm25=1e-12, weight_cross=1.0, k=12)
    program = RerankRAG(index_path, reranker=tiny_cross_encoder, knobs=Knobs(values))
    found = program.retriever("What is the capital of France?")
    logits = [passage.signals["cross"] for passage in found]
    # A passage gets other last digits in another batch.
    assert logits == pytest.approx(sorted(logits, reverse=True), abs=1e-5)
    assert logits[0] - logits[-1] > 1e-3


def test_no_model_reranks_for_a_question_that_was_cancelled(
    index_path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    knobs = Knobs(KnobValues(weight_cross=1.0))
    stage = RerankRetriever(HybridRetriever(index_path), CrossEncoder(index_path), knobs=knobs)
    asked, cancelled = threading.Event(), threading.Event()
    scored: list[Any] = []
    gather = HybridRetriever.gather

    def held(*args: Any, **options: Any) -> Candidates:
        asked.set()
        assert cancelled.wait(60)
        return gather(*args, **options)

    monkeypatch.setattr(HybridRetriever, "gather", held)
    monkeypatch.setattr(
        "ragwright.programs.rerank.pair_scores", lambda *pairs: scored.append(pairs)
    )

    async def cancel() -> None:
        task = asyncio.create_task(stage.acall("What is the capital of France?"))
        assert await asyncio.to_thread(asked.wait, 60)
        task.cancel()
        cancelled.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    # A loop that ends waits for its threads.
    asyncio.run(cancel())
    assert scored == []


@pytest.mark.parametrize("backend", ["onnx", "openvino"])
def test_a_backend_that_is_not_installed_is_named(
    index_path: str, tiny_cross_encoder: str, backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    encoder = CrossEncoder(index_path, tiny_cross_encoder, backend=backend)  # type: ignore[arg-type]
    with pytest.raises(ModelError, match=backend):
        encoder("What?", HybridRetriever(index_path)("What?").ids)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_model_of_the_rerankers_library_scores_in_the_order_asked(
    index_path: str, tiny_cross_encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = HybridRetriever(index_path)("What is the capital of France?").ids
    ours = CrossEncoder(index_path, tiny_cross_encoder)("What is the capital of France?", ids)
    theirs = LibraryReranker(index_path, tiny_cross_encoder)("What is the capital of France?", ids)
    assert theirs == pytest.approx(ours, abs=1e-3)
    with pytest.raises(ModelError, match="no-such"):
        LibraryReranker(index_path, "no-such")("What?", ids)
    assert capsys.readouterr().out == ""
