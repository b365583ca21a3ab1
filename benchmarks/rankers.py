"""The learned ranker (LightGBM's LambdaMART over the signals) against tuned knobs.

    python benchmarks/rankers.py                          every shared set with labels
    python benchmarks/rankers.py --set FOLDER             any BEIR folder, as often as wanted
    python benchmarks/rankers.py --keep FILE              splits that are in FILE are not done again
    python benchmarks/rankers.py --drawn                  with labels that say nothing

Splits, halves and figures are those of `fixed_ways.py`. On the half that chooses, knobs are tuned
and a ranker is learned; the other half judges. "continued" is the ranker of a compile, which boosts
from the tuned score on, taken as it is; "gated" the same where the gate of a compile lets it
through, which learns it without each of five folds of the half that chooses. "blended" is trees
that were grown from nothing, with a third of the weight beside the tuned signals. What other gates
would have come to is printed below. With `--drawn`, what a question of the half that chooses wants
is drawn from its candidates, and true labels judge. Needs the extra `ragwright[ranker]`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA  # noqa: E402
from benchmarks.fixed_ways import (  # noqa: E402
    METRIC,
    ROOMY,
    SHARED,
    Halves,
    fetched,
    halves_of,
    tuned_on,
)
from ragwright.optimize.learning import FEWEST  # noqa: E402
from ragwright.optimize.retrieval.crossfit import (  # noqa: E402
    FOLDS,
    CrossFittedRanker,
    Folds,
    Lists,
    crossfit_ranker,
)
from ragwright.optimize.retrieval.gate import GateData, GateRuling, gate_part  # noqa: E402
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings  # noqa: E402
from ragwright.optimize.study.pooling import StudyQuestions  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.learned import Ranker  # noqa: E402
from ragwright.programs.learned.ranker import RankerInputs  # noqa: E402
from ragwright.programs.learned.trees import grow_boosted_trees  # noqa: E402

Table = NDArray[Any]
BLENDED = 0.35
WAYS = ("fixed", "blended", "continued", "gated")
WHOLE = 0.98
"""The share of a ranker that holds the tuned score already."""
POWER = 1.959964 + 0.841621
"""Standard errors in the smallest gain that is found 4 times of 5."""
GATES: dict[str, float | None] = {
    "better by 1.96 standard errors": 1.96, "better by a standard error": 1.0,
    "better at all": 0.0, "not worse by a standard error": -1.0, "always": None,
}  # fmt: skip


def compared(halves: Halves, seed: int, trials: int) -> dict[str, float]:
    """One split: nDCG@10 on the half that judges, by way."""
    choosing, judging = halves.choosing, halves.judging
    tuned = tuned_on(halves, seed, trials).best.replaced(**ROOMY)
    ways = {name: way.replaced(**ROOMY)
            for name, way in standard_settings(choosing.candidates).items()}  # fmt: skip
    before = {name: np.nanmean(choosing.scores(way, METRIC)) for name, way in ways.items()}
    rows = {
        "fixed": judging.scores(ways[max(before, key=before.__getitem__)], METRIC),
        "tuned": judging.scores(tuned, METRIC),
        "blended": _judged(judging, _from_nothing(choosing, judging, tuned), tuned, BLENDED),
    }
    part = _learned(halves, tuned)
    scores = part.whole.ranks("", judging.candidates)
    assert scores is not None
    rows["continued"] = _judged(judging, scores, tuned, WHOLE)
    ruling = _gate(halves, tuned, part)
    rows["gated"] = rows["continued" if ruling.kept else "tuned"]
    means = {name: float(np.nanmean(row)) for name, row in rows.items()}
    held_out, error = ruling.gain.gain, ruling.gain.detectable / POWER
    return {**means, "kept": float(ruling.kept), "held out": held_out, "error": error}


def drawn(found: StudyQuestions, seed: int) -> Halves:
    """Let every question that chooses want so many of its candidates, whichever they are."""
    halves, rng = halves_of(found, seed), np.random.default_rng(seed)
    labelled = halves.choosing
    relevance = labelled.relevance
    facts = np.zeros_like(relevance.facts)
    for row, ids in enumerate(labelled.candidates.ids):
        units = relevance.units[row, : len(ids)]
        for fact in np.flatnonzero(relevance.ideal[row]).tolist():
            # By chunk, long documents would be wanted more often: that could be learned.
            facts[row, : len(ids), fact] = units == rng.choice(np.unique(units))
    dealt = replace(relevance, facts=facts)
    return replace(halves, choosing=replace(labelled, relevance=dealt))


def _wanted(labelled: LabelledCandidates) -> Table:
    return np.asarray(labelled.relevance.facts.any(axis=2))


def _judged(labelled: LabelledCandidates, scores: Table, tuned: KnobValues, share: float) -> Table:
    return _with(labelled, scores).scores(Ranker.laid(tuned, {"share": share}), METRIC)


def _with(labelled: LabelledCandidates, scores: Table) -> LabelledCandidates:
    """The same candidates, scored by a ranker as well."""
    found, name = labelled.candidates, Ranker.signal.name
    signals = {**found.signals, name: scores.astype(np.float32)}
    return replace(labelled, candidates=found.declaring(Ranker.signal, signals=signals))


def _from_nothing(
    choosing: LabelledCandidates, judging: LabelledCandidates, tuned: KnobValues
) -> Table:
    """Scores of trees that were grown from nothing, from 0 to 1 in every question."""
    names = tuple(sorted(choosing.candidates.signals))
    seen, other = (RankerInputs.of(one.candidates, names, tuned) for one in (choosing, judging))
    rows = (_wanted(choosing) & seen.there).any(axis=1)
    inside = seen.there[rows]
    trees = grow_boosted_trees(seen.table[rows][inside], _wanted(choosing)[rows][inside],
                    inside.sum(axis=1), seen.rising)  # fmt: skip
    scores = np.full(other.there.shape, np.nan)
    scores[other.there] = trees.scores(other.table[other.there])
    low, high = (pick(scores, axis=1, keepdims=True) for pick in (np.nanmin, np.nanmax))
    return np.asarray((scores - low) / (high - low + 1e-9))


def _learned(halves: Halves, tuned: KnobValues) -> CrossFittedRanker:
    """A ranker of all that chooses, and one without each of five folds of it."""
    labelled, groups = halves.choosing, halves.groups
    names, codes = np.unique(np.array(groups), return_inverse=True)
    folds = Folds(tuple((np.random.default_rng(0).permutation(len(names)) % FOLDS)[codes].tolist()))
    queries = [str(row) for row in range(len(groups))]
    lists = Lists(queries, labelled.candidates, _wanted(labelled), folds)
    return crossfit_ranker(lists, tuned, fewest=FEWEST)


def _gate(halves: Halves, tuned: KnobValues, part: CrossFittedRanker) -> GateRuling:
    """What the gate of a compile says of it."""
    labelled, groups = halves.choosing, halves.groups
    scores = np.full(labelled.candidates.tokens.shape, np.nan)
    for row in range(len(groups)):
        own = part.ranks(str(row), labelled.candidates.take([row]))
        if own is not None:
            scores[row] = own[0]
    names, codes = np.unique(np.array(groups), return_inverse=True)
    folds = (np.random.default_rng(0).permutation(len(names)) % FOLDS)[codes]
    unseen = np.zeros(len(groups), dtype=np.bool_)  # halves and folds are dealt out by document
    judged = GateData(_with(labelled, scores), folds, unseen, groups, METRIC)
    return gate_part(Ranker, tuned, judged)


def _gates(sets: Sequence[Sequence[dict[str, float]]]) -> None:
    """What other gates would have let through, by what held-out questions gain."""
    for name, least in GATES.items():
        splits = [[row["continued"] - row["tuned"] if _passes(row, least) else 0.0 for row in rows]
                  for rows in sets]  # fmt: skip
        kept = sum(_passes(row, least) for rows in sets for row in rows)
        count, worst = sum(map(len, sets)), min(map(min, splits))
        gains = _interval([float(np.mean(rows)) for rows in splits])
        print(f"{name:34} kept {kept} of {count}: {gains}, worst split {worst:+.4f}")


def _passes(row: dict[str, float], least: float | None) -> bool:
    return least is None or row["held out"] > least * row["error"]


def _interval(values: Sequence[float]) -> str:
    drawn = np.random.default_rng(0).choice(values, (9_999, len(values))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    return f"{np.mean(values):+.4f} ({low:+.4f} to {high:+.4f}), worst {min(values):+.4f}"


def main() -> None:
    """Print a line per set, and the mean over sets of every way with its 95 % interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", action="append", type=Path, dest="sets", metavar="FOLDER")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--drawn", action="store_true", help="choose by labels that say nothing")
    parser.add_argument("--keep", type=Path, help="where splits are kept")
    asked = parser.parse_args()
    kept: dict[str, dict[str, float]] = {}
    if asked.keep and asked.keep.exists():
        kept = json.loads(asked.keep.read_text(encoding="utf-8"))
    means: list[dict[str, float]] = []
    sets: list[list[dict[str, float]]] = []
    for folder in asked.sets or [DATA / name for name in SHARED]:
        rows, found = [], None
        for seed in range(asked.splits):
            name = f"{folder.name} {asked.questions} {seed}" + (" drawn" if asked.drawn else "")
            if name not in kept:
                found = found or fetched(folder, asked.questions)
                halves = (drawn if asked.drawn else halves_of)(found, seed)
                kept[name] = compared(halves, seed, asked.trials)
            if asked.keep:
                asked.keep.write_text(json.dumps(kept), encoding="utf-8")
            rows.append(kept[name])
        mean = {way: float(np.mean([row[way] for row in rows])) for way in rows[0]}
        means.append({way: mean[way] - mean["tuned"] for way in WAYS})
        sets.append(rows)
        told = "  ".join(f"{way} {value:+.4f}" for way, value in means[-1].items())
        print(f"{folder.name:24} tuned {mean['tuned']:.3f}  {told}  kept {mean['kept']:.1f}",
              flush=True)  # fmt: skip
    for way in means[0]:
        print(f"{way:14} less tuned, over sets: {_interval([mean[way] for mean in means])}")
    _gates(sets)


if __name__ == "__main__":
    main()
