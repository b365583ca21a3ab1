"""Learned sources on SciFact: tuned on train, judged on test, seen and unseen documents apart.

    python benchmarks/learned.py                          SciFact as it is divided: tune on train
    python benchmarks/learned.py --set FOLDER             any BEIR folder with train-queries.jsonl
    python benchmarks/learned.py --trials 150 --json

Knobs are tuned on the train questions; then each source is learned from them and goes through the
gate of a compile, once for a future by question and once for one by document. nDCG@10 of test, by
document. What the gate refuses is measured too, as if it had been kept, to see whether it was
right. A document is seen if a train question names it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, questions_of  # noqa: E402
from benchmarks.fixed_ways import METRIC, ROOMY, indexed_set  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.questions.splitting import SplitBy  # noqa: E402
from ragwright.optimize.retrieval.crossfit import CrossFitted, crossfit_source, make_folds  # noqa: E402
from ragwright.optimize.retrieval.gate import GateData, gate_part  # noqa: E402
from ragwright.optimize.retrieval.labels import Labels, label  # noqa: E402
from ragwright.optimize.retrieval.pool import CandidatePool  # noqa: E402
from ragwright.optimize.retrieval.relevance import Relevance  # noqa: E402
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings  # noqa: E402
from ragwright.optimize.retrieval.search import search_knobs  # noqa: E402
from ragwright.optimize.retrieval.space import SearchSettings  # noqa: E402
from ragwright.optimize.scoring.familiarity import compare_seen_and_unseen  # noqa: E402
from ragwright.optimize.scoring.statistics import paired_gain  # noqa: E402
from ragwright.optimize.study.pooling import label_by_document  # noqa: E402
from ragwright.programs.candidates import Candidates  # noqa: E402
from ragwright.programs.context import NUMBER_TOKENS  # noqa: E402
from ragwright.programs.hybrid import HybridRetriever  # noqa: E402
from ragwright.programs.knobs import POOL_DEPTH, KnobValues  # noqa: E402
from ragwright.programs.learned import SOURCES, ChunkPlace, LabelledQuestion, LearnedSource  # noqa: E402
from ragwright.programs.neighbours import hash_text  # noqa: E402
from ragwright.programs.rerank import MaxSim, RerankRetriever  # noqa: E402
from ragwright.retrievers.index import open_index  # noqa: E402

Scores = NDArray[np.float64]
DENSE_ONLY = KnobValues.dense().replaced(**ROOMY)


class Half:
    """Questions with their labels, and what a stage finds for them."""

    def __init__(self, path: str, questions: Sequence[Question]) -> None:
        self.path, self.questions = path, tuple(questions)
        self.labels: Labels = label(questions, open_index(path).chunks())

    @cached_property
    def plain(self) -> list[Candidates]:
        """What the stage finds without anything that was learned, one table a question."""
        stage, pool = (
            RerankRetriever(HybridRetriever(self.path), MaxSim(self.path)),
            CandidatePool(),
        )
        found = pool.gathered(stage, [one.question for one in self.questions])
        pool.save()
        return [found.take([row]) for row in range(len(self.questions))]

    def labelled(self, source: LearnedSource | None = None) -> LabelledCandidates:
        """Lay the labels over what is found, by this source too, by document."""
        rows = self.plain
        if source is not None:
            asked = (one.question for one in self.questions)
            rows = [self._joined(*pair, source) for pair in zip(rows, asked, strict=True)]
        found = Candidates.stack(rows)
        return LabelledCandidates(found, Relevance.of(label_by_document(self.labels), found))

    def _joined(self, row: Candidates, question: str, source: LearnedSource) -> Candidates:
        """Add what a source finds, as the stage would have found it: reranked like all else."""
        index, own = open_index(self.path), row.ids[0]
        hits = source.hits(self.path, question, POOL_DEPTH)
        tokens = index.tokens([id for id in hits if id not in own])
        new, width = list(tokens), row.tokens.shape[1]
        old = row.tokens[0, : len(own)].tolist()
        counts = np.array([[*old, *(tokens[id] + NUMBER_TOKENS for id in new)]])
        scores = {name: np.full((1, len(own) + len(new)), np.nan, np.float32)
                  for name in (*row.signals, source.signal.name)}  # fmt: skip
        for name, table in row.signals.items():
            scores[name][0, : min(width, len(own))] = table[0, : len(own)]
        if new:
            scores["maxsim"][0, len(own) :] = index.maxsim(question, new)
        ids = (*own, *new)
        scores[source.signal.name][0] = [hits.get(id, np.nan) for id in ids]
        found = Candidates((ids,), scores, counts).declaring(*row.declared, source.signal)
        texts = {one.id: hash_text(one) for one in index.passages(new)}
        known = [] if row.texts is None else row.texts[0].tolist()
        return found.with_texts(dict(zip(own, known, strict=False)) | texts)

    def known(self) -> list[LabelledQuestion]:
        """What answers each question."""
        places = {one.id: ChunkPlace(one.document_id, one.start, one.end)
                  for one in open_index(self.path).chunks()}  # fmt: skip
        return [
            LabelledQuestion(one.question, {id: places[id] for id in facts})
            for one, facts in zip(self.questions, self.labels.facts, strict=True)
        ]


def tuned_on(train: Half, trials: int) -> KnobValues:
    """Tune the knobs alone."""
    labelled = train.labelled()
    signals = sorted(labelled.candidates.by_signal.values(), key=lambda one: not one.source)
    start = KnobValues(weight_dense=0.5, weight_bm25=0.5, weight_maxsim=1.0, **ROOMY)
    with TemporaryDirectory() as folder:
        return search_knobs(
            labelled, start, DENSE_ONLY, SearchSettings(METRIC, trials, 3, tuple(signals)),
            groups=[one.group for one in train.questions], folder=Path(folder),
        ).best  # fmt: skip


def through_gate(train: Half, test: Half, knobs: KnobValues, by: SplitBy) -> list[dict[str, Any]]:
    """Learn every source, ask the gate, and see on test what it would do over these knobs."""
    folds = make_folds(train.questions, by, 0)
    known, rows = train.known(), []
    named = {name for one in train.questions for name in one.documents}
    seen_at_test = np.array([bool(named & set(one.documents)) for one in test.questions])
    for name, kind in SOURCES.items():
        begun = perf_counter()
        source: CrossFitted = crossfit_source(kind, train.path, known, folds)
        seconds = perf_counter() - begun
        documents = [set(one.documents) for one in train.questions]
        of_fold = {fold: set().union(*(documents[row] for row in folds.learned_from(fold)))
                   for fold in set(folds.numbers)}  # fmt: skip
        seen = np.array([bool(own & of_fold[fold])
                         for own, fold in zip(documents, folds.numbers, strict=True)])  # fmt: skip
        judged = GateData(train.labelled(source), np.array(folds.numbers), seen,
                        [one.group for one in train.questions], METRIC)  # fmt: skip
        ruling = gate_part(kind, knobs, judged)
        held = test.labelled(source.whole)
        before = held.scores(knobs, METRIC)
        laid = kind.laid(knobs, ruling.choice or kind.choices[0])
        after = held.scores(laid, METRIC)
        there = ~np.isnan(before)
        groups = [one.group for one, kept in zip(test.questions, there, strict=True) if kept]
        on_test = paired_gain(before[there], after[there], groups=groups)
        rows.append({
            "source": name, "seconds": seconds, "choice": dict(ruling.choice or {}),
            "kept": ruling.kept,
            "held out": [ruling.gain.gain, ruling.gain.low, ruling.gain.high],
            "harms": ruling.harms,
            "apart": {one.name: [one.n, one.gain.gain, one.gain.low, one.gain.high]
                      for one in ruling.familiar if one.gain},
            "test": float(after[there].mean()), "gain": [on_test.gain, on_test.low, on_test.high],
            "test apart": {one.name: [one.n, one.compiled, one.gain.gain, one.gain.low,
                                      one.gain.high]
                           for one in compare_seen_and_unseen(
                               seen_at_test[there], before[there], after[there], groups=groups
                           ) if one.gain},
        })  # fmt: skip
    return rows


def main() -> None:
    """Print what the knobs alone give, then a block for either future."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", type=Path, default=DATA / "scifact", dest="folder")
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    index, questions = indexed_set(asked.folder)
    train = Half(index["path"], questions_of(asked.folder, prefix="train-"))
    test = Half(index["path"], questions)
    plain = test.labelled()
    ways = {name: float(np.nanmean(plain.scores(way.replaced(**ROOMY), METRIC)))
            for name, way in standard_settings(plain.candidates).items()}  # fmt: skip
    knobs = tuned_on(train, asked.trials)
    tables = {"ways": ways, "tuned": float(np.nanmean(plain.scores(knobs, METRIC)))}
    if not asked.json:
        listed = "  ".join(f"{name} {value:.3f}" for name, value in ways.items())
        print(f"{len(test.questions)} test questions, {len(train.questions)} train questions")
        print(f"{listed}  tuned {tables['tuned']:.3f}  ({knobs.weights})", flush=True)
    dense = DENSE_ONLY.replaced(depth_dense=100)
    blocks = {}
    for over, by in (("tuned", "question"), ("tuned", "document"), ("dense", "question")):
        name, start = f"{over} knobs, by {by}", knobs if over == "tuned" else dense
        blocks[name] = through_gate(train, test, start, by)
        if not asked.json:
            print(f"\n{name}", *map(_told, blocks[name]), sep="\n", flush=True)
    if asked.json:
        print(json.dumps({**tables, "blocks": blocks}, indent=1))


def _told(row: dict[str, Any]) -> str:
    said = "kept" if row["kept"] else "does harm" if row["harms"] else "did not help"
    held = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*row["held out"])
    gain = "{:+.3f} [{:+.3f}, {:+.3f}]".format(*row["gain"])
    parts = "; ".join("{} {}: {:.3f}, {:+.3f} [{:+.3f}, {:+.3f}]".format(name, *values)
                      for name, values in row["test apart"].items())  # fmt: skip
    own = "; ".join("{} {}: {:+.3f} [{:+.3f}, {:+.3f}]".format(name, *values)
                    for name, values in row["apart"].items())  # fmt: skip
    return (
        f"  {row['source']}: {said} ({row['choice']}, {row['seconds']:.0f} s); on train, held out "
        f"{held} ({own}); on test {row['test']:.3f}, {gain} ({parts})"
    )


if __name__ == "__main__":
    main()
