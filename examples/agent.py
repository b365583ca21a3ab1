"""An agent over our search, compiled, against a compiled pipeline that may use as many tokens.

    python examples/agent.py                    with the offline model
    python examples/agent.py openai/gpt-4o-mini    with one that thinks

`dspy.ReAct` chooses when to search; the pipeline searches once and answers. Both are compiled on
the same questions. Then the pipeline reads as many passages as the agent's tokens would pay for.
The offline model searches once, so here an agent only costs more: that is what is to be seen.
"""

import sys
from dataclasses import replace
from tempfile import TemporaryDirectory

import dspy
from own_program import PLACES, PRODUCTS, documents

from ragwright import HybridRetriever, JointOptimizer, build_lm, evaluate, ingest
from ragwright.optimize import Evaluation, Question, build_metric
from ragwright.optimize.questions.data import to_examples
from ragwright.optimize.scoring.statistics import paired_gain
from ragwright.retrievers import IndexSettings

METRIC = build_metric("answer_f1")
RULES = "Keep the receipt, and the box if there is one. Money goes back to the card that paid."


class Pipeline(dspy.Module):
    """Searches once."""

    def __init__(self, path: str, k: int = 3) -> None:
        super().__init__()
        self.search, self.k = HybridRetriever(path), k
        self.answer = dspy.ChainOfThought("context, question -> answer")

    def forward(self, question: str) -> dspy.Prediction:
        return self.answer(context=self.search(question, self.k).passages, question=question)


class Agent(dspy.Module):
    """Searches as often as it likes, three times at most."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.search = HybridRetriever(path)
        self.react = dspy.ReAct("question -> answer", tools=[self.handbook], max_iters=3)

    def handbook(self, query: str) -> list[str]:
        """Find what the handbook says."""
        return list(self.search(query, 3).passages)

    def forward(self, question: str) -> dspy.Prediction:
        return self.react(question=question)


def questions() -> list[Question]:
    return [
        Question(
            id=f"{product}-{place}",
            question=f"Where does somebody in {place} take a {product} back to?",
            answers=(f"warehouse {number}{place[0]}",),
            documents=(f"{product}-{place}",),
        )
        for number, product in enumerate(PRODUCTS)
        for place in PLACES
    ]


def measured(program: dspy.Module, asked: list[Question], said: str) -> Evaluation:
    found = evaluate(program, asked, METRIC)
    print(f"{said:42} {found.mean:.3f}, {tokens(found):.0f} tokens a question")
    return found


def tokens(found: Evaluation) -> float:
    return sum(row.prompt_tokens + row.completion_tokens for row in found.rows) / len(found.rows)


def main(model: str, folder: str) -> None:
    lm, asked = build_lm(model), questions()
    learned, judged = asked[::2], asked[1::2]
    found = [replace(one, text=f"{one.text} {RULES}") for one in documents()[0]]
    ingest(found, f"{folder}/index", IndexSettings(embedder="hash"))
    examples = to_examples(learned)

    def compiled(program: dspy.Module, name: str) -> dspy.Module:
        optimizer = JointOptimizer(
            metric="answer_f1", prompts="labeled", lm=lm, run_dir=f"{folder}/{name}"
        )
        return optimizer.compile(program, trainset=examples)

    with dspy.context(lm=lm):
        agent = compiled(Agent(f"{folder}/index"), "agent")
        pipeline = compiled(Pipeline(f"{folder}/index"), "pipeline")
        by_agent = measured(agent, judged, "agent")
        measured(pipeline, judged, f"pipeline, {pipeline.k} passages")
        while pipeline.k < 45 and tokens(evaluate(pipeline, judged[:4], METRIC)) < tokens(by_agent):
            pipeline.k += 3
        by_pipeline = measured(pipeline, judged, f"pipeline at equal tokens, {pipeline.k} passages")
    gain = paired_gain(by_pipeline.scores, by_agent.scores)
    print(f"agent - pipeline: {gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f})")


if __name__ == "__main__":
    with TemporaryDirectory() as place:
        main(sys.argv[1] if len(sys.argv) > 1 else "extractive", place)
