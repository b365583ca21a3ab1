"""Do questions made from documents rank retrieval settings as people's questions do?

    python benchmarks/synthetic_questions.py                squad and scifact
    python benchmarks/synthetic_questions.py --set FOLDER   any BEIR folder, as often as wanted

Ten settings are ranked by nDCG@10 of documents, once on the set's own questions and once on probes
(`rag questions` without a language model). Kendall's tau says how far both orders agree: 1 is the
same order, 0 is none. Its interval comes from drawing both sets of questions anew. What can be had
at most is less than 1 where settings differ little: people's questions are measured against each
other too, one half of them against the other half.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import kendalltau

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import METRIC, ROOMY, indexed_set  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.questions.probes import Probe, find_probes  # noqa: E402
from ragwright.optimize.study.pooling import StudyQuestions, fetch_study_questions  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

SETS = ("squad", "scifact")
DRAWS = 999


def settings() -> Mapping[str, KnobValues]:
    """Ten ways of retrieving that people choose among."""

    def way(dense: float, bm25: float, maxsim: float = 0.0, **more: object) -> KnobValues:
        numbers = {"weight_dense": dense, "weight_bm25": bm25, "weight_maxsim": maxsim}
        return KnobValues(**numbers, **more, **ROOMY)  # type: ignore[arg-type]

    return {
        "dense": way(1, 0),
        "BM25": way(0, 1),
        "hybrid .25/.75": way(0.25, 0.75),
        "hybrid .5/.5": way(0.5, 0.5),
        "hybrid .75/.25": way(0.75, 0.25),
        "hybrid rrf": way(0.5, 0.5, fusion="rrf"),
        "dense + MaxSim": way(1, 0, 1),
        "BM25 + MaxSim": way(0, 1, 1),
        "hybrid + MaxSim": way(0.5, 0.5, 1),
        "BM25, the best 20 by MaxSim": way(0, 0.01, 1, rerank_depth=20),
    }


def scored(found: StudyQuestions) -> NDArray[np.float64]:
    """Return nDCG@10 by setting and question, shape (settings, questions)."""
    labelled = found.labelled("document")
    return np.array([labelled.scores(knobs, METRIC) for knobs in settings().values()])


def agreement(people: NDArray[np.float64], made: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return tau of the mean scores, and its 95 % interval over drawings of both sets."""
    random = np.random.default_rng(0)

    def drawn(table: NDArray[np.float64]) -> NDArray[np.float64]:
        return table[:, random.integers(table.shape[1], size=table.shape[1])].mean(axis=1)

    tau = float(kendalltau(people.mean(axis=1), made.mean(axis=1)).statistic)
    taus = [kendalltau(drawn(people), drawn(made)).statistic for _ in range(DRAWS)]
    low, high = np.percentile(taus, [2.5, 97.5])
    return tau, float(low), float(high)


def people_agree(people: NDArray[np.float64]) -> float:
    """Return the mean tau between one half of people's questions and the other, over drawings."""
    random, half = np.random.default_rng(1), people.shape[1] // 2
    orders = (random.permutation(people.shape[1]) for _ in range(DRAWS))
    halves = [
        (people[:, at[:half]].mean(axis=1), people[:, at[half:]].mean(axis=1)) for at in orders
    ]
    return float(np.mean([kendalltau(one, other).statistic for one, other in halves]))


def _question(probe: Probe) -> Question:
    name = probe.document
    return Question(
        id=str(probe.row()["id"]), question=probe.question, answers=(probe.answer,),
        documents=(name,), group=name,
    )  # fmt: skip


def measure(folder: Path, count: int) -> None:
    """Print both rankings of a set and how far they agree."""
    index, asked = indexed_set(folder)
    recipe = Recipe.checked({"name": "synthetic", "index": index})
    chosen = sorted(np.random.default_rng(0).permutation(len(asked))[:count])
    people = scored(fetch_study_questions(recipe, [asked[place] for place in chosen]))
    found = find_probes(open_index(recipe.index.path).chunks(), count)
    made = scored(fetch_study_questions(recipe, [_question(probe) for probe in found.kept]))
    tau, low, high = agreement(people, made)
    print(f"\n{folder.name}: {people.shape[1]} questions of people, {made.shape[1]} probes")
    for name, asked_score, probe_score in zip(
        settings(), people.mean(axis=1), made.mean(axis=1), strict=True
    ):
        print(f"  {name:28} people {asked_score:.4f}   probes {probe_score:.4f}")
    print(f"  tau {tau:.2f} (95 % interval {low:.2f} to {high:.2f})")
    print(
        f"  one half of people's questions against the other: {people_agree(people):.2f}",
        flush=True,
    )


def main() -> None:
    """Measure every set that was named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", action="append", type=Path, dest="sets", metavar="FOLDER")
    parser.add_argument("--questions", type=int, default=300)
    asked = parser.parse_args()
    for folder in asked.sets or [DATA / name for name in SETS]:
        measure(folder, asked.questions)


if __name__ == "__main__":
    main()
