"""What a small model on a server of one's own really writes, kept as data for the tests.

    python benchmarks/record_replies.py FILE.json [--api-base http://127.0.0.1:8199/v1] [--each 6]

Asks in the forms in which our programs, DSPy's writers and our own parts ask: answers in chat form,
JSON and plain, with demonstrations and without; searches and rewritten questions; instructions that
COPRO and GEPA want written. Adds the replies to FILE. The server is `rag lm serve --port 8199`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dspy
from dspy.utils.exceptions import AdapterParseError

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.train_reader import HELD_OUT, Asked, read_squad  # noqa: E402
from ragwright.programs.lm import build_lm  # noqa: E402
from ragwright.programs.replies.adapter import ReplyAdapter  # noqa: E402
from ragwright.programs.replies.learned import ReplyForm  # noqa: E402
from ragwright.programs.signatures import AnswerWithCitations  # noqa: E402

QUERIES = dspy.Signature(
    "question -> queries: list[str]", "Write search queries that together answer the question."
)
HOP = dspy.Signature(
    "question, notes: list[str] -> query: str, enough: bool",
    "Say what to search for next, and whether the notes are enough.",
)
WRITE = dspy.Signature(
    "basic_instruction -> proposed_instruction: str, proposed_prefix_for_output_field: str",
    "You are an instruction optimizer for large language models. Improve the instruction.",
)
REFLECT = dspy.Signature(
    "current_instruction, examples_with_feedback -> improved_instruction: str",
    "Write an improved instruction from the feedback.",
)


def asked(each: int, seed: int) -> Iterator[tuple[ReplyForm, str, Any, list[Any], dict[str, Any]]]:
    """Every kind of question: form, kind, signature, demonstrations, inputs."""
    held = [one for one in read_squad() if one.title in HELD_OUT]
    for number, one in enumerate(random.Random(seed).sample(held, each)):
        context = {"context": [f"[1] {one.context[:500]}"], "question": one.question}
        other = held[number]
        shown = [{"context": [f"[1] {other.context[:300]}"], "question": other.question,
                  "answer": other.answers[0], "citations": [1]}]  # fmt: skip
        yield "chat", "answer", AnswerWithCitations, [], context
        yield "chat", "answer", AnswerWithCitations, shown, context
        yield "json", "answer", AnswerWithCitations, shown, context
        yield "plain", "answer", AnswerWithCitations, [], context
        yield "chat", "queries", QUERIES, [], {"question": one.question}
        yield "chat", "hop", HOP, [], {"question": one.question, "notes": [one.context[:200]]}
        yield from _written(one)


def _written(one: Asked) -> Iterator[tuple[ReplyForm, str, Any, list[Any], dict[str, Any]]]:
    told = AnswerWithCitations.instructions
    yield "chat", "copro", WRITE, [], {"basic_instruction": told}
    wrong = f"Question: {one.question}\nAnswer: none\nFeedback: it was {one.answers[0]}"
    inputs = {"current_instruction": told, "examples_with_feedback": wrong}
    yield "chat", "gepa", REFLECT, [], inputs
    yield "plain", "gepa", REFLECT, [], inputs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--api-base", default="http://127.0.0.1:8199/v1")
    parser.add_argument("--each", type=int, default=6)
    parser.add_argument("--seed", type=int, default=1, help="draws the questions")
    given = parser.parse_args()
    rows = json.loads(given.file.read_text(encoding="utf-8")) if given.file.exists() else []
    lm = build_lm("openai/smollm2", api_base=given.api_base, max_tokens=80, temperature=0.0,
                  cache=False)  # fmt: skip
    for form, kind, signature, demos, inputs in asked(given.each, given.seed):
        with dspy.context(lm=lm), contextlib.suppress(AdapterParseError):
            ReplyAdapter().form(form)(lm, {}, signature, demos, inputs)
        said = lm.history[-1]["outputs"][0]
        text = said.get("text") if isinstance(said, dict) else said
        rows.append({"asked_as": form, "kind": kind, "reply": text})
        given.file.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
