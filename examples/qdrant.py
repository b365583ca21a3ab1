"""Qdrant, embedded: an index whose vectors lie in Qdrant, searched, filtered and kept up to date.

python examples/qdrant.py

The same with a server is `store = "qdrant+http://localhost:6333#rivers"`; see docs/stores.md.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from ragwright.programs import HybridRAG, build_lm
from ragwright.retrievers import Document
from ragwright.retrievers.index import IndexSettings, close_index, open_index
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("seine", "The Seine flows through Paris.", metadata={"year": 1900}),
    Document("loire", "The Loire flows through Nantes.", metadata={"year": 1950}),
    Document("tiber", "The Tiber flows through Rome.", metadata={"year": 2000}),
]


def main() -> None:
    with TemporaryDirectory() as folder:
        index = Path(folder) / "index"
        store = f"qdrant:{folder}/qdrant#rivers"
        report = ingest(DOCUMENTS, index, IndexSettings(store=store))
        print(f"added {report.added} to {open_index(index).settings.store.rpartition('#')[2]}")

        program = HybridRAG(str(index))
        program.set_lm(build_lm("extractive"))
        found = program(question="Which river flows through Rome?")
        print(found.answer, found.citations)

        # A filter applies before the cut to k, in Qdrant and in keyword search alike.
        older = program.retriever("river", 2, where={"year": {"$lt": 1960}})
        print(sorted(passage.document for passage in older))

        # Unchanged texts cost nothing; a changed one replaces its vector in Qdrant.
        changed = [*DOCUMENTS[:2], Document("tiber", "The Tiber flows through Rome and Orte.")]
        report = ingest(changed, index, IndexSettings(store=store))
        print(f"unchanged {report.unchanged}; {open_index(index).count} chunks")
        close_index(index)


if __name__ == "__main__":
    main()
