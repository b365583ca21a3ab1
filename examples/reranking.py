"""Reranking with the token vectors that the index holds anyway: no second model.

python examples/reranking.py
"""

from tempfile import TemporaryDirectory

from ragwright.programs import HybridRetriever, Knobs, KnobValues, MaxSim, RerankRetriever
from ragwright.retrievers import Document
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("a", "Phobos and Deimos are the moons of Mars. They were found in 1877."),
    Document("b", "The Moon is the only moon of the Earth. It was first visited in 1969."),
    Document("c", "Mars was visited by rovers. A rover found signs of water in 2004."),
    Document("d", "Jupiter has 95 known moons. The four largest were found in 1610."),
]


def main() -> None:
    with TemporaryDirectory() as folder:
        ingest(DOCUMENTS, folder)
        knobs = Knobs(KnobValues(weight_maxsim=0.5, rerank_depth=50, k=3))
        hybrid = HybridRetriever(folder, knobs=knobs)
        reranked = RerankRetriever(hybrid, MaxSim(folder), knobs=knobs)
        question = "In which year were the moons of Mars found?"
        for name, stage in (("fused", hybrid), ("reranked", reranked)):
            print(name)
            for passage in stage(question):
                signals = {key: round(value, 2) for key, value in passage.signals.items()}
                print(f"  {passage.document} {passage.score:.3f} {signals}")


if __name__ == "__main__":
    main()
