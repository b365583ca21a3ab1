"""Every reranker that runs here: nDCG@10 and milliseconds for 50 candidates, in one run.

    python benchmarks/reranking.py [--questions 150] [--sets squad scifact] [--untrained]

Reads BEIR folders below $RAG_DATA (default ../shared/data); a fixed sample of their questions over
the whole corpus, in chunks of 400 tokens. Candidates: the 50 best of dense and BM25, fused with
equal weights; "alone" orders them by the reranker's score, "combined" by the mean of all three.
Rerankers by a language model are left out: their quality is the language model's. One whose
weights or library are not here is listed with the reason. --untrained times a cross-encoder of the
default's shape with random weights instead: its milliseconds are those of the trained one, its
quality is noise.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed_in_chunks, sample_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.programs import CrossEncoder, HybridRetriever, KnobValues, LibraryReranker, MaxSim  # noqa: E402
from ragwright.programs.candidates import Candidates  # noqa: E402
from ragwright.programs.rerank import DEFAULT_CROSS_ENCODER, Reranker  # noqa: E402
from ragwright.programs.selection import rank, shortlist  # noqa: E402
from ragwright.retrievers.embedding import MINILM  # noqa: E402
from ragwright.retrievers.embedding.base import Integers  # noqa: E402
from ragwright.retrievers.embedding.files import find_model  # noqa: E402
from ragwright.retrievers.errors import ModelError  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

DEPTH = 50
FUSED = KnobValues(rerank_depth=DEPTH, k=10)


def rerankers(path: str) -> dict[str, Reranker]:
    found: dict[str, Reranker] = {"MaxSim": MaxSim(path)}
    for backend in ("torch", "onnx", "openvino"):
        name = f"{DEFAULT_CROSS_ENCODER}, {backend}"
        found[name] = CrossEncoder(path, DEFAULT_CROSS_ENCODER, backend=backend)
    found["rerankers: flashrank"] = LibraryReranker(path, "flashrank")
    found["rerankers: colbert"] = LibraryReranker(path, "colbert")
    return found


def untrained(folder: str) -> str:
    """Write a cross-encoder of MiniLM-L6's shape with random weights, and return its folder."""
    from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

    AutoTokenizer.from_pretrained(find_model(MINILM).folder).save_pretrained(folder)
    config = BertConfig(
        hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536,
        num_labels=1,
    )  # fmt: skip
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def ndcg(documents: Sequence[str], gold: Sequence[str]) -> float:
    """nDCG@10 with gains 0 and 1; a document counts once."""
    gains, seen = 0.0, set()
    for place, document in enumerate(documents[:10]):
        if document in gold and document not in seen:
            gains += 1 / np.log2(place + 2)
        seen.add(document)
    return float(gains / sum(1 / np.log2(n + 2) for n in range(min(10, len(gold)))))


def settings_of(reranker: Reranker | None) -> dict[str, KnobValues]:
    """What is scored: the reranker alone and together with the others, or these without any."""
    if reranker is None:
        return {"fused": FUSED}
    weights = {f"weight_{reranker.signal}": 1.0}
    alone = FUSED.replaced(weight_dense=1e-6, weight_bm25=0.0, **weights)
    return {"alone": alone, "combined": FUSED.replaced(**weights)}


def reranked(
    reranker: Reranker, question: str, candidates: Candidates, columns: Integers
) -> tuple[Candidates, float]:
    """Return the candidates with the reranker's signal, and the milliseconds that it took."""
    ids = [candidates.ids[0][column] for column in columns[0] if column >= 0]
    reranker(question, ids[:1])  # the question's own vectors are encoded here
    start = time.perf_counter()
    found = reranker(question, ids)
    milliseconds = 1000 * (time.perf_counter() - start)
    table = np.full(columns.shape, np.nan, dtype=np.float32)
    table[columns >= 0] = found
    return candidates.with_signal(reranker.signal, columns, table), milliseconds


def judged(path: str, reranker: Reranker | None, questions: Sequence[Question]) -> str:
    hybrid, index, settings = HybridRetriever(path), open_index(path), settings_of(reranker)
    scores: dict[str, list[float]] = {name: [] for name in settings}
    spent = []
    for question in questions:
        candidates = hybrid.gather(question.question)
        columns = shortlist(candidates, FUSED)
        if reranker is not None:
            candidates, took = reranked(reranker, question.question, candidates, columns)
            spent.append(took)
        for name, knobs in settings.items():
            ranked = rank(candidates, columns, knobs).columns[0]
            ids = [candidates.ids[0][column] for column in ranked if column >= 0]
            documents = [passage.document for passage in index.passages(ids)]
            scores[name].append(ndcg(documents, question.documents))
    said = "  ".join(f"{name} {np.mean(values):.3f}" for name, values in scores.items())
    return said + (f"  {np.median(spent):.1f} ms for {DEPTH} (median)" if spent else "")


def report(name: str, count: int, untrained_folder: str) -> None:
    folder = DATA / name
    if not folder.is_dir():
        print(f"{name}: not at {folder}, left out")
        return
    questions, path = sample_of(folder, count), indexed_in_chunks(name)
    print(f"\n{name}: {len(questions)} questions, nDCG@10", flush=True)
    print(f"  {'no reranker':52} {judged(path, None, questions)}", flush=True)
    chosen = rerankers(path)
    if untrained_folder:
        chosen = {"untrained cross-encoder, torch": CrossEncoder(path, untrained_folder)}
    for label, reranker in chosen.items():
        try:
            print(f"  {label:52} {judged(path, reranker, questions)}", flush=True)
        except ModelError as error:
            print(f"  {label:52} not run: {error.what}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--questions", type=int, default=150)
    parser.add_argument("--sets", nargs="*", default=("squad", "scifact"))
    parser.add_argument("--untrained", action="store_true")
    options = parser.parse_args()
    with TemporaryDirectory() as folder:
        model = untrained(folder) if options.untrained else ""
        for name in options.sets:
            report(name, options.questions, model)


if __name__ == "__main__":
    main()
