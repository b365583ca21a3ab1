"""Recall@5 of several hops against one search: 2WikiMultihopQA and HotpotQA.

    python benchmarks/multihop.py [--questions 200] [--sets hotpotqa-train100 ...]

Reads BEIR folders below $RAG_DATA (default ../shared/data), indexes each whole corpus once under
.rag/benchmarks, and searches a fixed sample of questions (2Wiki: those with `gold_complete`).
Recall@5: share of a question's gold documents among the documents of the first 5 passages. The
offline model writes no queries: its "query" is the sentence that it finds best. The scripted model
(tests/servers) asks for the names in that sentence that the question lacks.
"""

from __future__ import annotations

import argparse
import re
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import dspy
import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed_in_chunks, sample_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.programs import HybridRAG, Knobs, KnobValues, MultiHopRAG, RerankRAG, build_lm  # noqa: E402
from tests.servers.scripted_lm import ScriptedLM, best_sentence  # noqa: E402

SETS = ("hotpotqa-train100", "2wikimultihopqa-1000")
K = 5
_NAME = re.compile(r"\b[A-Z][\w.'-]*(?:\s+[A-Z][\w.'-]*)*")


def bridge(fields: Mapping[str, str]) -> str:
    """The names in the best sentence that the question lacks."""
    _, sentence = best_sentence(fields)
    names = [name for name in _NAME.findall(sentence) if name not in fields["question"]]
    return " ".join(names) or sentence


def programs(path: str, offline: dspy.LM, scripted: dspy.LM) -> dict[str, dspy.Module]:
    def knobs(maxsim: float = 0.0) -> Knobs:
        return Knobs(KnobValues(weight_maxsim=maxsim, k=K))

    found: dict[str, dspy.Module] = {
        "hybrid, one search": HybridRAG(path, knobs=knobs()),
        "hybrid + MaxSim, one search": RerankRAG(path, knobs=knobs(0.5)),
    }
    for name, lm in (("offline", offline), ("scripted", scripted)):
        for hops in (2, 3):
            plain = MultiHopRAG(path, hops=hops, knobs=knobs())
            plain.set_lm(lm)
            found[f"hybrid, {hops} hops, {name}"] = plain
        late = MultiHopRAG(path, hops=2, reranker="maxsim", knobs=knobs(0.5))
        late.set_lm(lm)
        found[f"hybrid + MaxSim, 2 hops, {name}"] = late
    return found


def recall(program: dspy.Module, questions: Sequence[Question]) -> list[float]:
    scores = []
    for question in questions:
        found = {passage.document for passage in program.retriever(question.question, K)}
        scores.append(len(found.intersection(question.documents)) / len(question.documents))
    return scores


def interval(differences: list[float]) -> tuple[float, float]:
    """95 % paired bootstrap interval of the mean."""
    values, draws = np.array(differences), np.random.default_rng(0)
    means = [draws.choice(values, len(values)).mean() for _ in range(2000)]
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def report(name: str, count: int) -> None:
    folder = DATA / name
    if not folder.is_dir():
        print(f"{name}: not at {folder}, left out")
        return
    questions, path = sample_of(folder, count), indexed_in_chunks(name)
    print(f"\n{name}: {len(questions)} questions, Recall@{K}")
    with ScriptedLM(script={"query": bridge, "enough": "False"}) as server:
        scripted = dspy.LM("openai/scripted", api_base=server.url, api_key="none", cache=False)
        base: list[float] = []
        for label, program in programs(path, build_lm("extractive"), scripted).items():
            start = time.perf_counter()
            scores = recall(program, questions)
            base = base or scores
            low, high = interval([a - b for a, b in zip(scores, base, strict=True)])
            milliseconds = 1000 * (time.perf_counter() - start) / len(questions)
            print(
                f"  {label:36} {np.mean(scores):.3f}  against one hybrid search "
                f"{np.mean(scores) - np.mean(base):+.3f} [{low:+.3f}, {high:+.3f}]  "
                f"{milliseconds:.0f} ms",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--sets", nargs="*", default=SETS)
    options = parser.parse_args()
    for name in options.sets:
        report(name, options.questions)


if __name__ == "__main__":
    main()
