"""How well, and how fast, the offline reader reads: on SQuAD articles it never saw, and the sample.

    python benchmarks/reader.py [--questions 600] [--sets gold retrieved sample]

gold: the question's own paragraph is given. retrieved: the five passages that untuned retrieval
finds among all 1,619 paragraphs, without demonstrations and with eight labelled ones from other
articles. sample: the untuned program on the test questions of examples/python_reference. Articles
are those that benchmarks/train_reader.py holds out; neither training nor any choice saw them or the
sample. Intervals resample articles (or topics). precision (only if it is named): the same
paragraphs, each with four others, read in bfloat16 and in float32. Data: `squad` in the folder
RAG_DATA.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from tokenizers import Tokenizer

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import DATA, indexed, questions_of  # noqa: E402
from benchmarks.train_reader import HELD_OUT, SELECTION, Asked, read_squad  # noqa: E402
from ragwright.optimize.questions.data import Question, read_questions  # noqa: E402
from ragwright.optimize.questions.splitting import split  # noqa: E402
from ragwright.optimize.scoring.metrics import exact_match, token_f1  # noqa: E402
from ragwright.optimize.scoring.statistics import mean_interval  # noqa: E402
from ragwright.programs.build import build_program, index_settings  # noqa: E402
from ragwright.programs.extractive.answering import find_answer  # noqa: E402
from ragwright.programs.extractive.network import OpenVinoNetwork  # noqa: E402
from ragwright.programs.extractive.prompt import Demo, ParsedPrompt, RequestedField  # noqa: E402
from ragwright.programs.extractive.reader import Reader, TextSpan, load_reader  # noqa: E402
from ragwright.programs.extractive.weights import load_weights  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.documents import read_documents  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402

SAMPLE = ROOT / "examples" / "python_reference"
PASSAGES = 5
DEMONSTRATIONS = 8

Passages = Callable[[str], Sequence[str]]


def answer(question: str, passages: Sequence[str], demos: Sequence[Demo] = ()) -> str:
    """Answer as the language model does when a program asks it."""
    numbered = tuple(f"[{number}] {text}" for number, text in enumerate(passages, 1))
    wanted = (RequestedField("answer", "str"),)
    prompt = ParsedPrompt(question, numbered, wanted, tuple(demos), False, {}, "")
    return find_answer(prompt).answer


def row(
    name: str, asked: Sequence[Question], passages: Passages, pool: Sequence[Demo] = ()
) -> None:
    """Print one row of the table."""
    answers, seconds, busy = [], 0.0, 0.0
    for place, one in enumerate(asked):
        given = passages(one.question)
        demos = random.Random(place).sample(pool, DEMONSTRATIONS) if pool else ()
        began, used = time.perf_counter(), time.process_time()
        answers.append(answer(one.question, given, demos))
        seconds += time.perf_counter() - began
        busy += time.process_time() - used
    told = list(zip(answers, asked, strict=True))
    f1 = [token_f1(text, one.answers) for text, one in told]
    exact = sum(exact_match(text, one.answers) for text, one in told) / len(told)
    mean = mean_interval(f1, groups=[one.group for one in asked])
    print(
        f"| {name} | {len(asked)} | {exact:.3f} | {mean.mean:.3f} | {mean.low:.3f} to "
        f"{mean.high:.3f} | {1000 * seconds / len(asked):.0f} "
        f"| {1000 * busy / len(asked):.0f} |",
        flush=True,
    )


def gold(count: int) -> None:
    held = [one for one in read_squad() if one.title in HELD_OUT]
    drawn = random.Random(0).sample(held, min(count, len(held)))
    context = {one.question: one.context for one in drawn}
    row("gold paragraph", [_as_question(one) for one in drawn], lambda asked: [context[asked]])


def _as_question(one: Asked) -> Question:
    return Question(
        id=one.question, question=one.question, answers=one.answers, documents=(), group=one.title
    )


def retrieved(count: int) -> None:
    path, settings = indexed("squad")
    index = {"path": str(path), "chunking": settings.chunking.model_dump()}
    program = build_program(Recipe.checked({"name": "squad", "index": index}))
    found: dict[str, Sequence[str]] = {}

    def passages(question: str) -> Sequence[str]:
        if question not in found:
            found[question] = program.retriever(question, k=PASSAGES).passages
        return found[question]

    asked = questions_of(DATA / "squad")
    held = [one for one in asked if one.group in HELD_OUT]
    drawn = random.Random(0).sample(held, min(count, len(held)))
    row("five retrieved passages", drawn, passages)
    others = [one for one in asked if one.group not in (*HELD_OUT, *SELECTION)]
    pool = [Demo(one.question, {"answer": one.answers[0]}) for one in others]
    row("the same, eight demonstrations", drawn, passages, pool)


def sample() -> None:
    subprocess.run([sys.executable, str(SAMPLE / "corpus.py"), str(SAMPLE / ".rag")], check=True)
    recipe = Recipe.from_toml(SAMPLE / "recipe.toml")
    ingest(read_documents(str(recipe.index.documents)), recipe.index.path, index_settings(recipe))
    program = build_program(recipe)
    data = recipe.data
    questions = read_questions(str(data.trainset)).questions
    test = split(questions, train=data.train, dev=data.dev, seed=data.seed).test
    row(
        "the sample's test questions",
        test,
        lambda question: program.retriever(question, k=PASSAGES).passages,
    )


def precision(count: int) -> None:
    """Print what multiplying in float32 costs, and what it changes."""
    held = [one for one in read_squad() if one.title in HELD_OUT]
    drawn = random.Random(0).sample(held, min(count, len(held)))
    texts = list(dict.fromkeys(one.context for one in held))
    given = [[one.context, *random.Random(one.question).sample(texts, 4)] for one in drawn]
    weights = load_weights()
    read: list[list[TextSpan]] = []
    for bfloat16 in (True, False):
        network = OpenVinoNetwork(weights, bfloat16=bfloat16)
        reader = Reader(network, Tokenizer.from_file(str(weights.tokenizer)))
        reader.read("Which?", texts[:5])
        used = time.process_time()
        found = [reader.read(one.question, five) for one, five in zip(drawn, given, strict=True)]
        busy = time.process_time() - used
        read.append([max(chain(*spans), key=lambda span: span.score) for spans in found])
        name = "bfloat16" if bfloat16 else "float32"
        print(f"{name}: {1000 * busy / len(drawn):.0f} ms of processor time a question")
    pairs = list(zip(*read, strict=True))
    other = sum(one.text != two.text for one, two in pairs)
    apart = max(abs(one.score - two.score) for one, two in pairs)
    print(f"another span is best for {other} of {len(pairs)}; scores differ by up to {apart:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--questions", type=int, default=600)
    parser.add_argument("--sets", nargs="+", default=["gold", "retrieved", "sample"])
    given = parser.parse_args()
    if "precision" in given.sets:
        precision(given.questions)
        return
    load_reader()
    print("| given | n | EM | F1 | 95 % interval | ms an answer | of all cores |")
    print("|---|---|---|---|---|---|---|")
    if "gold" in given.sets:
        gold(given.questions)
    if "retrieved" in given.sets:
        retrieved(given.questions)
    if "sample" in given.sets:
        sample()


if __name__ == "__main__":
    main()
