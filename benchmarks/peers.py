"""LangChain's and LlamaIndex's hybrid retrieval beside ours: how well they rank, what they cost.

    python benchmarks/peers.py [--sets squad scifact ...] [--set FOLDER] [--questions 400]

All get the same chunks (200 tokens, title and headings in front, as our default index searches
them) and the same MiniLM vectors of chunks and questions, keep vectors in Chroma on disk, and take
100 candidates of each source. nDCG@10 by document; differences are ours less the peer's, paired,
groups of questions resampled. Processor milliseconds are those of the whole process for 50 ranked
chunks, the question's vector given. "build" is seconds of a processor to build the search, vectors
given; ours ingests beforehand, embedding included, which no column shows.

Peers run in an environment of their own, build/peers, made from benchmarks/peers.txt at the first
run; --python names another one.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import CHROMA, SHARED, indexed_set  # noqa: E402
from benchmarks.peer_exchange import KEPT, Exchange, Search, run  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.scoring.statistics import paired_gain  # noqa: E402
from ragwright.programs import HybridRetriever, Knobs, KnobValues, MaxSim, RerankRetriever  # noqa: E402
from ragwright.retrievers.chunking.chunks import text_to_search  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

HERE = Path(__file__).resolve().parent
ENVIRONMENT = ROOT / "build" / "peers"
PEERS = ("langchain", "llamaindex")
OURS = ("hybrid", "hybrid + MaxSim")
CUTOFF = 10

Found = dict[str, Any]


def environment() -> Path:
    """Make the peers' environment unless it is there; its interpreter."""
    python = ENVIRONMENT / "bin" / "python"
    if not python.exists():
        print(f"installing {HERE / 'peers.txt'} into {ENVIRONMENT} ...", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(ENVIRONMENT)], check=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(HERE / "peers.txt")]
        subprocess.run(install, check=True)
    return python


def handed_out(path: str, questions: Sequence[Question], folder: Path) -> Exchange:
    """Write what everybody gets: chunks as they are searched, and all vectors."""
    index = open_index(path)
    chunks = list(index.chunks())
    ids = [chunk.id for chunk in chunks]
    texts = [text_to_search(chunk, index.settings.chunking) for chunk in chunks]
    kept = index.vectors(ids)
    asked = [one.question for one in questions]
    exchange = Exchange(
        folder, ids, texts, np.array([kept[id] for id in ids], dtype=np.float32), asked,
        np.array([index.vector_of(question) for question in asked], dtype=np.float32),
    )  # fmt: skip
    exchange.write()
    return exchange


def ours(path: str, way: str) -> Search:
    """Our retriever as a module is called, with the default fusion and depth."""
    retriever: Any = HybridRetriever(path)
    if way != OURS[0]:
        knobs = Knobs(KnobValues(weight_maxsim=0.5))
        retriever = RerankRetriever(HybridRetriever(path, knobs=knobs), MaxSim(path), knobs=knobs)
    index = open_index(path)

    def search(question: str) -> list[str]:
        index.vector_of(question)
        return [passage.id for passage in retriever(question, k=KEPT).passages]

    return search


def measure(folder: Path, count: int, python: Path) -> None:
    """Print the rows of one set."""
    table, every = indexed_set(folder)
    chosen = np.random.default_rng(0).permutation(len(every))[:count]
    questions = [every[place] for place in sorted(chosen)]
    documents = {chunk.id: chunk.document_id for chunk in open_index(table["path"]).chunks()}
    with TemporaryDirectory() as kept:
        exchange = handed_out(table["path"], questions, Path(kept))
        for way in OURS:
            run(way, exchange, lambda _, way=way: ours(table["path"], way))
        for peer in PEERS:
            subprocess.run(
                [str(python), "-W", "ignore", str(HERE / f"peer_{peer}.py"), kept], check=True
            )
        found = {
            name: json.loads((Path(kept) / f"{name}.json").read_text("utf-8"))
            for name in (*OURS, *PEERS)
        }
    scores = {name: scores_of(one, questions, documents) for name, one in found.items()}
    for name, one in found.items():
        print(row(folder.name, name, one, scores, [q.group for q in questions]), flush=True)


def scores_of(
    found: Found, questions: Sequence[Question], documents: dict[str, str]
) -> np.ndarray[Any, Any]:
    """Return each question's nDCG@10 by document, which counts where its first chunk stands."""
    scores = []
    for ranking, question in zip(found["rankings"], questions, strict=True):
        ranked = list(dict.fromkeys(documents[id] for id in ranking))[:CUTOFF]
        gold = set(question.documents)
        gains = [1 / np.log2(place + 2) for place, id in enumerate(ranked) if id in gold]
        ideal = sum(1 / np.log2(place + 2) for place in range(min(CUTOFF, len(gold))))
        scores.append(sum(gains) / ideal)
    return np.array(scores)


def row(
    dataset: str,
    name: str,
    found: Found,
    scores: dict[str, np.ndarray[Any, Any]],
    groups: Sequence[str],
) -> str:
    cells = [dataset, name, f"{scores[name].mean():.3f}"]
    for way in OURS:
        gain = paired_gain(scores[name], scores[way], groups=list(groups))
        cells.append(
            "" if name in OURS else f"{gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})"
        )
    milliseconds = (1000 * statistics.median(found[kind]) for kind in ("processor", "wall"))
    cells += [f"{value:.1f}" for value in milliseconds]
    cells.append("" if name in OURS else f"{found['build']:.1f}")
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    labelled = [name for name in SHARED if name != CHROMA]
    parser.add_argument("--sets", nargs="*", default=labelled, help="of the shared data")
    parser.add_argument("--set", action="append", type=Path, dest="folders", metavar="FOLDER")
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--python", type=Path, help="an interpreter that has benchmarks/peers.txt")
    asked = parser.parse_args()
    python = asked.python or environment()
    compared = " | ".join(f"{way} less it" for way in OURS)
    print(f"| set | retrieval | nDCG@10 | {compared} | CPU ms | ms | build s |")
    print("|---" * 8 + "|")
    for folder in asked.folders or [DATA / name for name in asked.sets]:
        measure(folder, asked.questions, python)


if __name__ == "__main__":
    main()
