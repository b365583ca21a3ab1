"""Chroma as a dspy.Retrieve: called, behind dspy.configure(rm=...), filtered, kept up to date.

python examples/chroma.py
"""

from tempfile import TemporaryDirectory

import dspy

from ragwright.retrievers import ChromaRetriever, Document
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("seine", "The Seine flows through Paris.", metadata={"country": "France"}),
    Document("loire", "The Loire flows through Nantes.", metadata={"country": "France"}),
    Document("tiber", "The Tiber flows through Rome.", metadata={"country": "Italy"}),
]


def main() -> None:
    with TemporaryDirectory() as folder:
        ingest(DOCUMENTS, folder)
        retriever = ChromaRetriever(folder, k=2)
        for passage in retriever("rivers", where={"country": "France"}):
            print(f"{passage.score:.3f} {passage.document}: {passage}")

        with dspy.context(rm=retriever):
            print(dspy.Retrieve(k=1)("a river in Rome").passages)

        # The whole collection again: what did not change costs nothing, what vanished is deleted.
        report = ingest([*DOCUMENTS[1:], Document("po", "The Po flows through Turin.")], folder)
        print(f"added {report.added}, deleted {report.deleted}, unchanged {report.unchanged}")
        print(retriever("Turin", 1).ids, retriever("Turin", 1).passages)


if __name__ == "__main__":
    main()
