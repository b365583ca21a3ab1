"""Measure retrieval on your own questions: the same candidates replayed under several settings.

python examples/benchmarking.py
"""

import time
from tempfile import TemporaryDirectory

from ragwright.programs import Candidates, KnobValues, RerankRAG, gather, select
from ragwright.retrievers import Document, open_index
from ragwright.retrievers.ingest import ingest

DOCUMENTS = {
    "seine": "The Seine is 777 kilometres long and flows through Paris.",
    "tiber": "The Tiber is 405 kilometres long and flows through Rome.",
    "green": "Green tea is steeped at 80 degrees for two minutes.",
    "black": "Black tea takes boiling water and four minutes.",
}
QUESTIONS = {
    "How long is the Seine?": "seine",
    "Rome lies on which river?": "tiber",
    "How hot should water for green tea be?": "green",
    "How long does black tea steep?": "black",
}
SETTINGS = {
    "dense": KnobValues.dense(k=1),
    "hybrid": KnobValues(k=1),
    "hybrid + MaxSim": KnobValues(weight_maxsim=0.5, k=1),
}


def main() -> None:
    with TemporaryDirectory() as folder:
        ingest([Document(id, text) for id, text in DOCUMENTS.items()], folder)
        program = RerankRAG(folder)
        pool = Candidates.stack([gather(program, question) for question in QUESTIONS])
        document = {chunk.id: chunk.document_id for chunk in open_index(folder).chunks()}
        for name, knobs in SETTINGS.items():
            start = time.perf_counter()
            first = select(pool, knobs).columns[:, 0]
            spent = 1000 * (time.perf_counter() - start)
            found = [document[pool.ids[row][column]] for row, column in enumerate(first)]
            hits = sum(a == b for a, b in zip(found, QUESTIONS.values(), strict=True))
            print(f"{name:16} recall@1 {hits / len(QUESTIONS):.2f}   {spent:.2f} ms for all")


if __name__ == "__main__":
    main()
