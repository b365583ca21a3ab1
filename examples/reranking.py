"""Three rerankers on the same candidates: what each adds, with intervals, and what it takes.

    python examples/reranking.py
    python examples/reranking.py cross-encoder/ms-marco-MiniLM-L6-v2    one more, by its name

MaxSim reads token vectors that the index keeps anyway; the others are written here. On the command
line it is `rag study rerankers recipe.toml --reranker maxsim --reranker module:Class`.
"""

import sys
from collections.abc import Sequence
from itertools import pairwise
from tempfile import TemporaryDirectory

from python_reference.corpus import index_sample

from ragwright.optimize.study.pooling import fetch_study_questions
from ragwright.optimize.study.rerankers import study_rerankers
from ragwright.programs import MaxSim
from ragwright.programs.rerank import CROSS, Reranker, reranker_named


class SharedWords(Reranker):
    """How many words of the question a passage holds."""

    signal = CROSS

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        asked = set(query.casefold().split())
        return [len(asked & set(text.casefold().split())) for text in self.texts(ids)]


class SharedPairs(Reranker):
    """The same for pairs of words that follow each other: their order counts."""

    signal = CROSS

    def forward(self, query: str, ids: Sequence[str]) -> list[float]:
        asked = pairs(query)
        return [len(asked & pairs(text)) for text in self.texts(ids)]


def pairs(text: str) -> set[tuple[str, str]]:
    return set(pairwise(text.casefold().split()))


def main() -> None:
    with TemporaryDirectory() as folder:
        recipe, questions = index_sample(folder)
        path = recipe.index.path
        rivals = {"MaxSim": MaxSim(path), "words": SharedWords(path), "pairs": SharedPairs(path)}
        rivals |= {name: reranker_named(path, name) for name in sys.argv[1:]}
        found = fetch_study_questions(recipe, questions)
        study = study_rerankers(found, rivals, depths=(10, 50), margin=0.02)
    print(f"{study.metric} of the fused order: {study.base:.3f} ({study.questions} questions)")
    for row in study.rows:
        gain = f"{row.gain.gain:+.3f} ({row.gain.low:+.3f} to {row.gain.high:+.3f})"
        time = f"{row.p50:7.1f} ms, 95 % in {row.p95:7.1f} ms"
        print(f"  {row.name:13} best {row.depth:3}   {row.mean:.3f}   {gain}   {time}")
    for duel in study.rivalries:
        worse = "worse" if duel.gain.high < 0 else "not shown to be as good"
        said = "not worse" if duel.not_worse else worse
        print(f"{duel.name} against {duel.against}: {said}, {duel.gain.gain:+.3f}")
        print(f"  {duel.questions_to_decide} questions would show a difference of {study.margin}")


if __name__ == "__main__":
    main()
