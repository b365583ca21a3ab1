"""The smallest RAG: documents in, an answer with citations out. No key, no download.

python examples/basic_rag.py
"""

from tempfile import TemporaryDirectory

from ragwright.programs import RAG, build_lm
from ragwright.retrievers import ChromaRetriever, Document
from ragwright.retrievers.ingest import ingest

DOCUMENTS = [
    Document("seine", "The Seine is 777 kilometres long. It flows through Paris."),
    Document("tiber", "The Tiber is 405 kilometres long. It flows through Rome."),
    Document("tea", "Green tea is steeped at 80 degrees. Black tea takes boiling water."),
]


def main() -> None:
    with TemporaryDirectory() as folder:
        ingest(DOCUMENTS, folder)
        program = RAG(ChromaRetriever(folder, k=2))
        program.set_lm(build_lm("extractive"))
        said = program(question="Which river flows through Rome?")
        print(said.answer)
        for number in said.citations:
            print(f"  [{number}] {said.passages[number - 1].document}")


if __name__ == "__main__":
    main()
