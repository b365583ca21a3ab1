"""Fit the weights of the offline language model on SQuAD, and score them on other articles.

    python benchmarks/extractive_weights.py [--questions 300] [--index FOLDER]

The model is `programs/extractive`; the weights it prints are those in `spans.py`. Each question is
put to the five passages that retrieval finds for it, with eight demonstrations drawn by chance from
other fitting questions. A fold of whole articles is held out. Data: BEIR-style `squad` in the
folder RAG_DATA (default ../shared/data). Nothing of the Python sample takes part.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, questions_of  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.scoring.metrics import normalize_answer, token_f1  # noqa: E402
from ragwright.programs.extractive import ranking, spans  # noqa: E402
from ragwright.programs.extractive.form import focus_of, learn_form  # noqa: E402
from ragwright.programs.kinds import RerankRAG  # noqa: E402
from ragwright.programs.knobs import Knobs, KnobValues  # noqa: E402
from ragwright.retrievers.documents import read_documents  # noqa: E402
from ragwright.retrievers.embedding import MINILM  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402

KNOBS = KnobValues(weight_dense=0.35, weight_bm25=0.25, weight_maxsim=0.4)
DEMONSTRATIONS = 8
PENALTY = 0.01

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One question's candidates.

    Attributes:
        features: Shape (n, f).
        right: Shape (n,): whether the candidate is an accepted answer.
        f1: Shape (n,): its token F1.
    """

    features: Floats
    right: NDArray[np.bool_]
    f1: Floats


def halves(asked: Sequence[Question], count: int) -> tuple[list[Question], list[Question]]:
    """Draw `count` questions to fit on and half as many from other articles."""
    drawn = random.Random(0)
    articles = sorted({one.group for one in asked})
    drawn.shuffle(articles)
    held = set(articles[: len(articles) // 3])
    fit = [one for one in asked if one.group not in held]
    other = [one for one in asked if one.group in held]
    return drawn.sample(fit, count), drawn.sample(other, count // 2)


def case(
    one: Question, program: RerankRAG, pool: Sequence[Question], seed: int
) -> tuple[Case, Case]:
    """Return a question's candidates, and the best of them with their meanings as features."""
    passages = program.retriever(one.question, k=5).passages
    numbered = [f"[{number}] {passage}" for number, passage in enumerate(passages, 1)]
    ranked = ranking.rank(one.question, numbered, embedder=MINILM)
    others = [other for other in pool if other.question != one.question]
    shown = random.Random(seed).sample(others, DEMONSTRATIONS)
    form = learn_form(one.question, [(demo.question, demo.answers[0]) for demo in shown])
    found = spans.candidates(one.question, ranked, form) if form else []
    best = sorted(found, key=lambda span: -span.score)[: spans.EMBEDDED_SPANS]
    return (
        _case(found, one, np.array([span.features for span in found])),
        _case(best, one, _meanings(one.question, best)),
    )


def _case(found: Sequence[spans.Span], one: Question, features: Floats) -> Case:
    accepted = {normalize_answer(answer) for answer in one.answers}
    right = np.array([normalize_answer(span.text) in accepted for span in found], dtype=bool)
    return Case(features, right, np.array([token_f1(span.text, one.answers) for span in found]))


def _meanings(question: str, best: Sequence[spans.Span]) -> Floats:
    """Return each candidate's score and its cosine with the question and with its focus."""
    texts = [question, focus_of(question), *(span.text for span in best)]
    vectors = ranking.vectors_of(texts, embedder=MINILM)
    scores = np.array([[span.score] for span in best])
    return np.hstack([scores, vectors[2:] @ vectors[:2].T])


def fit(cases: Sequence[Case], start: Floats) -> Floats:
    """Maximise the mean log probability of the right candidates, with an L2 penalty.

    Conditional logit (McFadden 1974); features are scaled to unit variance for the penalty.
    """
    usable = [one for one in cases if one.right.any()]
    scale = np.concatenate([one.features for one in usable]).std(axis=0) + 1e-6

    def loss(weights: Floats) -> tuple[float, Floats]:
        total, slope = 0.0, np.zeros_like(weights)
        for one in usable:
            scaled = one.features / scale
            scores = scaled @ weights
            share = np.exp(scores - scores.max())
            share /= share.sum()
            right = share * one.right
            total -= float(np.log(right.sum()))
            slope -= scaled.T @ (right / right.sum() - share)
        count = len(usable)
        return total / count + PENALTY * weights @ weights, slope / count + 2 * PENALTY * weights

    return np.asarray(minimize(loss, start * scale, jac=True, method="L-BFGS-B").x / scale)


def f1(cases: Sequence[Case], weights: Floats) -> float:
    """Mean token F1 of the candidates that the weights put first."""
    return float(np.mean([one.f1[np.argmax(one.features @ weights)] for one in cases]))


def main() -> None:
    """Print the fitted weights, and the F1 of the present and of the fitted ones."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--questions", type=int, default=300)
    parser.add_argument("--index", default=".rag/benchmarks/squad")
    options = parser.parse_args()
    ingest(read_documents(str(DATA / "squad" / "corpus.jsonl")), options.index)
    program = RerankRAG(options.index, knobs=Knobs(KNOBS))
    fitting, held = halves(questions_of(DATA / "squad"), options.questions)
    made = [case(one, program, fitting, seed) for seed, one in enumerate(fitting)]
    kept = [case(one, program, fitting, seed) for seed, one in enumerate(held)]
    report("spans", made, kept, part=0, present=np.array(spans.WEIGHTS))
    report("meanings", made, kept, part=1, present=np.array([1.0, *spans.MEANING_WEIGHTS]))


def report(
    name: str,
    made: Sequence[tuple[Case, Case]],
    kept: Sequence[tuple[Case, Case]],
    *,
    part: int,
    present: Floats,
) -> None:
    """Fit one set of weights and print it with its F1 before and after, on held-out articles."""
    fitting = [pair[part] for pair in made if len(pair[part].f1)]
    held = [pair[part] for pair in kept if len(pair[part].f1)]
    fitted = fit(fitting, present)
    print(f"{name}: {', '.join(f'{weight:.1f}' for weight in fitted)}")
    print(f"  held-out F1, n = {len(held)}: present {f1(held, present):.3f}", end="")
    print(f", fitted {f1(held, fitted):.3f}")


if __name__ == "__main__":
    main()
