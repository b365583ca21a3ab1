"""Tuned retrieval against the best fixed way, on questions that neither was chosen on.

    python benchmarks/fixed_ways.py                       every shared set with labels
    python benchmarks/fixed_ways.py --set FOLDER          any BEIR folder, as often as wanted
    python benchmarks/fixed_ways.py --splits 5 --questions 400 --json
    python benchmarks/fixed_ways.py --choosing 40         with few questions to choose by

For every split, half of the questions choose, or at most `--choosing` of that half: the search
chooses knobs, and of the fixed ways (dense, BM25, hybrid, hybrid + MaxSim) the best is taken. Both
are scored on the other half, by document. A split never cuts a group of questions in two.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, WORKSPACE, questions_of  # noqa: E402
from benchmarks.beir import lines as read_lines  # noqa: E402
from benchmarks.chunking import read_corpora, read_questions  # noqa: E402
from ragwright.optimize.questions.data import Question  # noqa: E402
from ragwright.optimize.retrieval.replay import LabelledCandidates, standard_settings  # noqa: E402
from ragwright.optimize.retrieval.search import Search, search_knobs  # noqa: E402
from ragwright.optimize.retrieval.space import SearchSettings  # noqa: E402
from ragwright.optimize.scoring.ranking import RankingMetric  # noqa: E402
from ragwright.optimize.study.pooling import StudyQuestions, fetch_study_questions  # noqa: E402
from ragwright.programs.knobs import KnobValues  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.chunking import ChunkSettings  # noqa: E402
from ragwright.retrievers.index import IndexSettings  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

CHROMA = "chroma-chunking"
SHARED = (
    "anthropic-docs-rag", "hotpotqa-train100", "covid-qa-200423", CHROMA, "2wikimultihopqa-1000",
    "squad", "scifact",
)  # fmt: skip
METRIC = RankingMetric.parse("ndcg@10")
CHUNKING = {"size": 200}
ROOMY = {"context_tokens": 200_000}
"""A ranking is measured here, not what fits into a prompt."""


@dataclass(frozen=True)
class Split:
    """What one split came to: nDCG@10 on the half that chose nothing."""

    tuned: float
    best_fixed: float
    fixed: str
    kept: str
    ways: dict[str, float]

    @property
    def gain(self) -> float:
        return self.tuned - self.best_fixed


def fetched(folder: Path, count: int) -> StudyQuestions:
    """Index a corpus as a user's recipe would, and fetch the candidates of its questions."""
    index, questions = indexed_set(folder)
    chosen = np.random.default_rng(0).permutation(len(questions))[:count]
    recipe = Recipe.checked({"name": "sets", "index": index})
    return fetch_study_questions(recipe, [questions[place] for place in sorted(chosen)])


def indexed_set(folder: Path) -> tuple[dict[str, Any], list[Question]]:
    """Index a set unless that was done; the recipe's table of the index, and its questions."""
    path = WORKSPACE / f"fixed-{folder.name}"
    chunking = ChunkSettings.model_validate(CHUNKING)
    documents, questions = chroma() if folder.name == CHROMA else beir(folder)
    ingest(documents, path, IndexSettings(chunking=chunking))
    return {"path": str(path), "chunking": CHUNKING}, questions


def beir(folder: Path) -> tuple[Iterator[Document], list[Question]]:
    """Read a BEIR folder; documents without a word are left out."""
    documents = (
        Document(row["_id"], row["text"] or row["title"], row["title"])
        for row in read_lines(folder / "corpus.jsonl")
        if row["text"].strip() or row["title"].strip()
    )
    return documents, questions_of(folder)


def chroma() -> tuple[list[Document], list[Question]]:
    """Read the chunking set: five long corpora, in which excerpts are wanted."""
    documents = read_corpora()
    texts = {document.id: document.text for document in documents}
    questions = [
        Question(
            id=str(number), question=one.text, answers=(str(number),), group=str(number),
            evidence=tuple(texts[one.corpus][start:end] for start, end in one.excerpts),
        )
        for number, one in enumerate(read_questions())
    ]  # fmt: skip
    return documents, questions


@dataclass(frozen=True)
class Halves:
    """One split: what chooses, the groups of its questions, and what judges."""

    choosing: LabelledCandidates
    groups: tuple[str, ...]
    judging: LabelledCandidates


def splits(found: StudyQuestions, count: int, trials: int, most: int | None = None) -> list[Split]:
    """Choose on one half, or `most` questions of it, and score on the other, several times."""
    return [_split(halves_of(found, seed, most), seed, trials) for seed in range(count)]


def halves_of(found: StudyQuestions, seed: int, most: int | None = None) -> Halves:
    """Deal whole groups out to two halves; of the one that chooses at most so many questions."""
    # Where excerpts are wanted, what is found is a chunk.
    labelled = found.labelled("chunk" if "evidence" in found.labels.kinds else "document")
    groups = [question.group for question in found.questions]
    names, codes = np.unique(np.array(groups), return_inverse=True)
    half = (np.random.default_rng(seed).permutation(len(names)) % 2 == 0)[codes]
    drawn = np.random.default_rng(1000 + seed).permutation(np.flatnonzero(half))[:most]
    chooses = np.isin(np.arange(len(half)), drawn)
    kept = tuple(group for group, inside in zip(groups, chooses, strict=True) if inside)
    return Halves(_part(labelled, chooses), kept, _part(labelled, ~half))


def tuned_on(halves: Halves, seed: int, trials: int) -> Search:
    """Tune knobs on the half that chooses, as a compile does."""
    signals = tuple(halves.choosing.candidates.by_signal.values())
    ordered = tuple(sorted(signals, key=lambda signal: not signal.source))
    settings = SearchSettings(METRIC, trials, 3, ordered, seed=seed)
    start = KnobValues(weight_dense=0.5, weight_bm25=0.5, weight_maxsim=1.0, **ROOMY)
    with TemporaryDirectory() as folder:
        return search_knobs(
            halves.choosing, start, KnobValues.dense().replaced(**ROOMY), settings,
            groups=halves.groups, folder=Path(folder),
        )  # fmt: skip


def _split(halves: Halves, seed: int, trials: int) -> Split:
    tuned = tuned_on(halves, seed, trials)
    ways = standard_settings(halves.choosing.candidates)
    before = {name: _mean(halves.choosing, knobs) for name, knobs in ways.items()}
    after = {name: _mean(halves.judging, knobs) for name, knobs in ways.items()}
    fixed = max(before, key=before.__getitem__)
    kept = tuned.fixed or ("start" if tuned.kept_start else "tuned")
    return Split(_mean(halves.judging, tuned.best), after[fixed], fixed, kept, after)


def _part(labelled: LabelledCandidates, rows: NDArray[np.bool_]) -> LabelledCandidates:
    places = np.flatnonzero(rows).tolist()
    relevance = labelled.relevance
    taken = type(relevance)(
        relevance.facts[places], relevance.units[places], relevance.ideal[places],
        tuple(relevance.held[place] for place in places), relevance.answers[places],
    )  # fmt: skip
    return LabelledCandidates(labelled.candidates.take(places), taken)


def _mean(labelled: LabelledCandidates, knobs: KnobValues) -> float:
    scores = labelled.scores(knobs.replaced(**ROOMY), METRIC)
    return float(np.nanmean(scores))


def main() -> None:
    """Print a line per set, and the mean over sets with its 95 % interval."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--set", action="append", type=Path, dest="sets", metavar="FOLDER")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--questions", type=int, default=400)
    parser.add_argument("--trials", type=int, default=150)
    parser.add_argument("--choosing", type=int, help="questions that choose, of each half")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = {}
    for folder in asked.sets or [DATA / name for name in SHARED]:
        done = splits(fetched(folder, asked.questions), asked.splits, asked.trials, asked.choosing)
        found[folder.name] = done
        ways = {name: np.mean([split.ways[name] for split in done]) for name in done[0].ways}
        if not asked.json:
            listed = "  ".join(f"{name} {value:.3f}" for name, value in ways.items())
            gain = np.mean([split.gain for split in done])
            tuned, best = (np.mean([getattr(s, k) for s in done]) for k in ("tuned", "best_fixed"))
            said = f"tuned {tuned:.3f}  best fixed {best:.3f}  {gain:+.4f}"
            print(f"{folder.name:24} {said}   {listed}", flush=True)
    gains = np.array([np.mean([split.gain for split in done]) for done in found.values()])
    drawn = np.random.default_rng(0).choice(gains, (9_999, len(gains))).mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    if asked.json:
        sets = {name: [asdict(split) for split in done] for name, done in found.items()}
        print(json.dumps({"sets": sets, "gain": gains.mean(), "low": low, "high": high}, indent=1))
        return
    print(f"over {len(gains)} sets: {gains.mean():+.4f} (95 % interval {low:+.4f} to {high:+.4f}), "
          f"worst {gains.min():+.4f}")  # fmt: skip


if __name__ == "__main__":
    main()
