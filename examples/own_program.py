"""A program of one's own, compiled: a support bot with two stages on two indexes.

    python examples/own_program.py

The handbook says what holds for everybody, the tickets what was done before. Both stages and the
prompt are tuned together; what comes out is the class below, saved with the report and the ties to
both indexes, and loaded, asked and served in a new process.
"""

from __future__ import annotations

import subprocess
import sys
import time
from tempfile import TemporaryDirectory

import dspy
from fastapi.testclient import TestClient

from ragwright import (
    Document,
    HybridRetriever,
    JointOptimizer,
    MaxSim,
    RerankRetriever,
    build_lm,
    ingest,
    load,
    save,
)
from ragwright.artifacts.server.app import create_app
from ragwright.artifacts.server.settings import ServerSettings
from ragwright.programs import Knobs, KnobValues
from ragwright.retrievers import IndexSettings

PRODUCTS = ("lamp", "kettle", "heater", "radio", "fan", "clock", "printer", "scale")
PLACES = ("Berlin", "Paris", "Madrid", "Rome", "Vienna", "Oslo")


class Support(dspy.Module):
    """Answers a customer's question about a product, and says whether it is urgent."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        handbook, tickets = f"{folder}/handbook", f"{folder}/tickets"
        # Both begin as most do, with plain vector search.
        found = HybridRetriever(handbook, knobs=Knobs(KnobValues.dense()))
        self.handbook = RerankRetriever(found, MaxSim(handbook), knobs=found.knobs)
        self.tickets = HybridRetriever(tickets, knobs=Knobs(KnobValues.dense()))
        self.answer = dspy.ChainOfThought("context, question, product -> answer, urgent: bool")

    def forward(self, question: str, product: str) -> dspy.Prediction:
        asked = f"{product}: {question}"
        context = [*self.handbook(asked, 3).passages, *self.tickets(asked, 2).passages]
        return self.answer(context=context, question=question, product=product)


def helpful(gold: dspy.Example, pred: dspy.Prediction, trace: object = None) -> float:
    """Whether what is wanted stands in the answer."""
    return float(gold.answer in str(pred.answer))


def documents() -> tuple[list[Document], list[Document]]:
    """Make a handbook and a history of tickets."""
    handbook = [
        Document(
            f"{product}-{place}",
            f"Customers in {place} return a {product} to warehouse {number}{place[0]}.",
            f"Returning a {product} in {place}",
        )
        for number, product in enumerate(PRODUCTS)
        for place in PLACES
    ]
    tickets = [
        Document(
            f"ticket-{product}-{place}", f"In {place} a {product} smoked. Solved: {place[::-1]}."
        )
        for product in PRODUCTS
        for place in PLACES
    ]
    return handbook, tickets


def examples() -> list[dspy.Example]:
    """Make questions; `documents` says where the answer stands, so that retrieval is judged too."""
    return [
        dspy.Example(
            question=f"Where do I return it in {place}?",
            product=product,
            answer=f"warehouse {number}{place[0]}",
            documents=[f"{product}-{place}", f"ticket-{product}-{place}"],
        ).with_inputs("question", "product")
        for number, product in enumerate(PRODUCTS)
        for place in PLACES
    ]


def main(folder: str) -> None:
    """Index, compile, save, and ask in a new process."""
    settings = IndexSettings(embedder="hash")
    for name, found in zip(("handbook", "tickets"), documents(), strict=True):
        ingest(found, f"{folder}/{name}", settings)
    optimizer = JointOptimizer(
        metric=helpful,
        prompts="labeled",
        lm=build_lm("extractive"),
        run_dir=f"{folder}/run",
        retrieval_trials=20,
    )
    compiled = optimizer.compile(Support(folder), trainset=examples())
    found = compiled.compile_result
    print(f"{found.verdict}: {found.baseline.mean:.2f} -> {found.compiled.mean:.2f} on test")
    for stage, knobs in found.setting.items():
        print(f"{stage}: {found.start[stage].weights} -> {knobs.weights}")
    version = save(compiled, f"{folder}/support", options={"folder": folder})
    print("the report has both stages:", version / "report" / "report.html")
    subprocess.run([sys.executable, __file__, folder], check=True)


def ask(folder: str) -> None:
    """Load what was saved, and ask; then ask the app that `rag serve --trust own_program` runs."""
    asked = {"question": "Where do I return it in Rome?", "product": "kettle"}
    program = load(f"{folder}/support", program=Support(folder))
    reply = program(**asked)
    print("a new process:", reply.answer, "- urgent:", reply.urgent)
    settings = ServerSettings(artifact=f"{folder}/support", trust=("own_program",), feedback="")
    with TestClient(create_app(settings, keys=()), base_url="http://localhost") as client:
        while client.get("/readyz").status_code != 200:
            time.sleep(0.1)
        said = client.post("/v1/ask", json=asked).json()
    print("served:", said["answer"], "-", said["outputs"])


if __name__ == "__main__":
    if len(sys.argv) > 1:
        ask(sys.argv[1])
    else:
        with TemporaryDirectory() as place:
            main(place)
