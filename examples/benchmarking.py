"""Which way of retrieving is best on these questions, and is the difference more than luck?

    python examples/benchmarking.py

Every way is replayed from one pool of candidates, differences are paired by question. On the
command line it is `rag study retrieval recipe.toml`.
"""

from tempfile import TemporaryDirectory

from python_reference.corpus import index_sample

from ragwright.optimize.study.pooling import fetch_study_questions
from ragwright.optimize.study.retrieval import study_retrieval
from ragwright.programs import KnobValues

SETTINGS = {
    "hybrid, ranks": KnobValues(fusion="rrf"),
    "MaxSim of 20": KnobValues(weight_maxsim=1.0, rerank_depth=20),
}
COLUMNS = ("ndcg@10", "recall@5", "mrr@10", "read recall")


def main() -> None:
    with TemporaryDirectory() as folder:
        recipe, questions = index_sample(folder)
        study = study_retrieval(fetch_study_questions(recipe, questions), SETTINGS)
    against = {one.name: one for one in study.comparisons}
    print(f"{study.questions} questions; {study.metric} compared with {study.reference}")
    print(f"{'':16}", "".join(f"{name:>13}" for name in COLUMNS), "  difference (95 %), p")
    for way in study.ways:
        figures = "".join(f"{way.means[name].mean:13.3f}" for name in COLUMNS)
        said = ""
        if found := against.get(way.name):
            gain = found.gain
            said = (
                f"  {gain.gain:+.3f} ({gain.low:+.3f} to {gain.high:+.3f}), {found.p_corrected:.4f}"
            )
        print(f"{way.name:16}", figures, said)


if __name__ == "__main__":
    main()
