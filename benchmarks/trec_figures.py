"""Figures of `rag study retrieval` beside those of trec_eval (pytrec_eval), question by question.

    python benchmarks/trec_figures.py                squad and scifact
    python benchmarks/trec_figures.py --set FOLDER   any BEIR folder, as often as wanted

Runs and judgements are written in TREC's formats and read back, so that trec_eval sees what
`rag study retrieval --trec FOLDER` writes. Ends with exit code 1 if any two figures differ by more
than 1e-9.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytrec_eval

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import fetched  # noqa: E402
from ragwright.optimize.study.pooling import StudyQuestions  # noqa: E402
from ragwright.optimize.study.retrieval import study_retrieval  # noqa: E402
from ragwright.optimize.study.trec import (  # noqa: E402
    read_judgements,
    read_trec_run,
    trec_judgements,
    trec_run,
    write_judgements,
    write_trec_run,
)

SETS = ("squad", "scifact")
MEASURES = {
    "ndcg@10": "ndcg_cut_10",
    "recall@5": "recall_5",
    "recall@10": "recall_10",
    "precision@5": "P_5",
    "hit@5": "success_5",
    "map@10": "map_cut_10",
}
SAME = 1e-9


def largest_difference(found: StudyQuestions, folder: Path) -> tuple[int, float]:
    """Return how many figures were compared, and the largest difference among them."""
    study = study_retrieval(found, metrics=list(MEASURES))
    write_judgements(trec_judgements(found), folder / "qrels")
    judge = pytrec_eval.RelevanceEvaluator(
        read_judgements(folder / "qrels"), set(MEASURES.values())
    )
    differences = []
    for number, way in enumerate(study.ways):
        file = folder / f"{number}.run"
        write_trec_run(trec_run(found, way.knobs), file, tag=way.name)
        theirs = judge.evaluate(read_trec_run(file))
        for ours, name in MEASURES.items():
            wanted = np.array([theirs[question.id][name] for question in found.questions])
            differences.append(np.abs(way.scores[f"document {ours}"] - wanted))
    return sum(map(len, differences)), max(float(one.max()) for one in differences)


def main() -> int:
    """Compare every set that was named."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", action="append", type=Path, dest="sets", metavar="FOLDER")
    parser.add_argument("--questions", type=int, default=300)
    asked = parser.parse_args()
    worst = 0.0
    for folder in asked.sets or [DATA / name for name in SETS]:
        found = fetched(folder, asked.questions)
        with TemporaryDirectory() as place:
            count, difference = largest_difference(found, Path(place))
        print(f"{folder.name}: {len(found.questions)} questions, {count} figures, "
              f"largest difference {difference:.1e}", flush=True)  # fmt: skip
        worst = max(worst, difference)
    return int(worst > SAME)


if __name__ == "__main__":
    sys.exit(main())
