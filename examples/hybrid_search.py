"""Dense and BM25 together: what each finds alone, and two ways to fuse them.

python examples/hybrid_search.py
"""

from tempfile import TemporaryDirectory

from ragwright.programs import HybridRetriever, Knobs, KnobValues
from ragwright.retrievers import Document
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("e1", "Error E-4711: the pump does not start. Check the fuse."),
    Document("e2", "Error E-4712: the pump runs hot. Clean the filter."),
    Document("care", "Rinse the sieve once a week so that water can pass freely."),
    Document("start", "If the machine stays silent after switching on, look at the mains."),
]
SETTINGS = {
    "dense": KnobValues.dense(k=2),
    "BM25": KnobValues(weight_dense=0.0, weight_bm25=1.0, k=2),
    "convex": KnobValues(weight_dense=0.5, weight_bm25=0.5, k=2),
    "reciprocal ranks": KnobValues(fusion="rrf", k=2),
}


def main() -> None:
    with TemporaryDirectory() as folder:
        ingest(DOCUMENTS, folder)
        for question in ("What does E-4712 mean?", "My coffee maker makes no sound"):
            print(question)
            for name, values in SETTINGS.items():
                found = HybridRetriever(folder, knobs=Knobs(values))(question)
                print(f"  {name:17}", [passage.document for passage in found])


if __name__ == "__main__":
    main()
