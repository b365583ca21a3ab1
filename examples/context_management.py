"""What the language model gets to read: a token budget, orders, and what was cut.

python examples/context_management.py
"""

from tempfile import TemporaryDirectory

from ragwright.programs import HybridRAG, Knobs, KnobValues, RAGOptions, build_lm
from ragwright.retrievers import Document
from ragwright.retrievers.ingest import ingest

TEXT = "{} is a city. It has a river, a bridge and a market. " + "Its market is old. " * 10
CITIES = ("Paris", "Rome", "Oslo", "Lyon", "Turin", "Bergen")


def main() -> None:
    with TemporaryDirectory() as folder:
        ingest([Document(city, TEXT.format(city)) for city in CITIES], folder)
        for order in ("rank", "edges"):
            knobs = Knobs(KnobValues(k=6, context_tokens=250, order=order))
            # The window counts instructions, demonstrations, question and answer as well.
            program = HybridRAG(folder, knobs=knobs, options=RAGOptions(window=4000))
            program.set_lm(build_lm("extractive"))
            said = program(question="Which city has an old market?")
            print(f"order = {order}: {len(said.passages)} passages, {len(said.cut)} left out")
            for number, passage in enumerate(said.passages, start=1):
                print(f"  [{number}] {passage.document} {passage.score:.3f}")


if __name__ == "__main__":
    main()
