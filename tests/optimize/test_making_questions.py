"""Questions made from documents: probes by form, written ones by a model, and their check."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Barrier, Lock
from typing import Any

import dspy
import pytest
from dspy.utils import DummyLM
from dspy.utils.exceptions import AdapterParseError, LMInvalidRequestError, LMTransportError

from ragwright.optimize.questions.attempts import MOST_FAILED, MOST_UNREAD
from ragwright.optimize.questions.checking import check_questions
from ragwright.optimize.questions.data import read_questions
from ragwright.optimize.questions.probes import Probe, find_probes
from ragwright.optimize.questions.terms import ENOUGH, add_rare_word_probes
from ragwright.optimize.questions.writing import (
    QuestionWriter,
    WritingSettings,
    WrittenKind,
    WrittenQuestions,
    _kinds,
    write_questions,
)
from ragwright.optimize.spending.budget import BudgetSpent
from ragwright.retrievers.errors import ModelError
from ragwright.retrievers.index import open_index
from ragwright.retrievers.types import Chunk

FAQ = """# Leave

## How many days of leave do I get?

Everybody has 30 days of paid leave. Ask your manager.

Carry-over is the transfer of unused days to the next year.

It is cold in winter.

| office | opens | closes |
| --- | --- | --- |
| Berlin | 8:00 | 18:00 |

The archive was founded in 1987.
"""
CODE = '''def land(plane: str) -> None:
    """Bring a plane down on the first free runway."""
'''


def chunk(text: str, document: str = "faq.md") -> Chunk:
    return Chunk(document, 0, len(text), text, {"title": "Handbook"})


def asked(found: Sequence[Probe]) -> dict[str, str]:
    return {probe.question: probe.answer for probe in found}


def test_what_documents_answer_by_their_form_is_found() -> None:
    found = asked(find_probes([chunk(FAQ), chunk(CODE, "land.py")], 50).kept)
    assert found["How many days of leave do I get?"] == "Everybody has 30 days of paid leave."
    assert found["What is Carry-over?"] == "the transfer of unused days to the next year"
    assert found["What is the opens of Berlin?"] == "8:00"
    assert found["When was the archive founded?"] == "in 1987"
    assert found["What does land do?"].startswith("Bring a plane down")
    assert not [question for question in found if "It" in question.split()]


def test_evidence_is_verbatim_and_rows_are_a_training_set(tmp_path: Path) -> None:
    found = find_probes([chunk(FAQ)], 50).kept
    assert all(probe.evidence in FAQ for probe in found)
    lines = "".join(json.dumps(probe.row()) + "\n" for probe in found)
    (tmp_path / "q.jsonl").write_text(lines)
    read = read_questions(tmp_path / "q.jsonl").questions
    assert [question.question for question in read] == [probe.question for probe in found]
    assert all(question.synthetic for question in read)


@pytest.mark.parametrize(
    ("sentence", "asked"),
    [
        ("Two articles chose what there was to choose, five are for tests alone.", None),
        ("Nothing learned is kept by default, whatever the questions are about.", None),
        ("The window is not shown where the model does not tell how much it reads.", None),
        ("Answers are read: the first sentence is what counts in the end.", None),
        ("Keys are read from the environment and never stored anywhere.", "How are Keys read?"),
        ("GEPA's `log_dir` is a folder that holds what it was doing.", "What is GEPA's log_dir?"),
        ("The\npairs are separated by a space.", "How are the pairs separated?"),
    ],
)
def test_a_definition_says_what_something_is(sentence: str, asked: str | None) -> None:
    found = [one.question for one in find_probes([chunk(sentence)], 10).kept]
    assert found == ([asked] if asked else [])


def test_a_question_of_several_places_is_dropped() -> None:
    text = "Widget is a small part of the machine."
    other = "Widget is a window on a screen."
    found = find_probes([chunk(text, "a"), chunk(other, "b")], 10)
    assert (found.kept, found.dropped) == ((), {"asked of several places": 2})


def test_probes_are_spread_over_documents() -> None:
    many = "\n\n".join(
        f"Part{number} is the piece with the number {number}." for number in range(9)
    )
    found = find_probes([chunk(many, "a"), chunk("Lathe is a machine that turns.", "b")], 4).kept
    assert {probe.document for probe in found} == {"a", "b"}
    assert len(found) == 4


GERMAN = (
    "Die Drehmaschine {0} fertigt in der Halle Nord jeden Tag Bolzen der Sorte Keil{0} aus Messing."
)
CHINESE = (
    "\u7b2c{0}\u53f7\u8f66\u5e8a\u6bcf\u5929\u5728\u5317\u65b9\u5927\u697c\u91cc\u52a0"
    "\u5de5\u7b2c{0}\u79cd\u9ec4\u94dc\u87ba\u6813\uff0c"
    "\u4f9b\u7ed9\u5357\u65b9\u7684\u8bb8\u591a\u5de5\u5382\u4f7f\u7528\uff0c\u5468\u672b\u4f11\u606f\u3002"
)


@pytest.mark.parametrize("sentence", [GERMAN, CHINESE])
def test_documents_of_any_language_give_enough_probes(sentence: str) -> None:
    chunks = [chunk(sentence.format(f"{n:03}x"), f"{n}.txt") for n in range(110)]
    found = add_rare_word_probes(find_probes(chunks, 200), chunks, 200).kept
    assert len(found) == ENOUGH
    assert len({probe.document for probe in found}) == ENOUGH
    by_name = {one.document_id: one.text for one in chunks}
    for probe in found:
        assert probe.evidence in by_name[probe.document]
        assert len(probe.question) < len(probe.evidence)
    assert len(add_rare_word_probes(find_probes(chunks, 5), chunks, 5).kept) == 5


def test_a_sentence_that_stands_twice_is_no_probe_and_enough_is_left_alone() -> None:
    twice = [chunk(GERMAN.format("eins"), "a"), chunk(GERMAN.format("eins"), "b")]
    assert add_rare_word_probes(find_probes(twice, 9), twice, 9).kept == ()
    form = find_probes([chunk(FAQ)], 1)
    assert add_rare_word_probes(form, [chunk(FAQ)], 1) is form


GOOD = {"question": "Who may park in the yard?", "answer": "visitors",
        "evidence": '["Only visitors may park in the yard."]'}  # fmt: skip
TEXT = "Only visitors may park in the yard. " + "The gate is closed at night by the porter. " * 3


@pytest.mark.parametrize(
    ("replies", "reason"),
    [
        ([GOOD, {"answer": "visitors"}, {"answer": "unknown"}], ""),
        ([GOOD | {"question": ""}], "no question"),
        ([GOOD | {"answer": ""}], "no answer"),
        ([GOOD | {"evidence": '["Anyone may park."]'}], "the evidence is not verbatim"),
        (
            [GOOD | {"question": "Only visitors may park in the yard?"}],
            "the question turns a sentence round",
        ),
        ([GOOD, {"answer": "nobody"}], "the evidence does not give the answer"),
        (
            [GOOD, {"answer": "visitors"}, {"answer": "visitors"}],
            "it can be answered without documents",
        ),
    ],
)
def test_a_written_question_is_checked(replies: list[dict[str, str]], reason: str) -> None:
    with dspy.context(lm=DummyLM(replies)):
        found = QuestionWriter()(passages=[TEXT], kind="fact")
    assert found.rejected == reason


def test_what_passes_is_kept_and_what_does_not_is_counted() -> None:
    replies = [
        GOOD, {"answer": "visitors"}, {"answer": "unknown"},
        GOOD | {"answer": ""},
    ]  # fmt: skip
    chunks = [chunk(TEXT, "a"), chunk(TEXT + "!", "b")]
    settings = WritingSettings(count=2, kinds={"fact": 1.0})
    with dspy.context(lm=DummyLM(replies)):
        done = write_questions(chunks, settings, found=lambda *_: True)
    assert [one.question for one in done.kept] == ["Who may park in the yard?"]
    assert done.dropped == {"no answer": 1}


LOCK = Lock()


class _Scripted(QuestionWriter):
    """Answers by what it is asked about, the slower the earlier; rejects every third.

    Args:
        cap: How many calls are paid for.
        together: How many of the first attempts wait until they are under way together.
    """

    def __init__(self, cap: int | None = None, together: int = 1) -> None:
        super().__init__()
        self.cap = cap
        self.asked: list[str] = []
        self.together = together
        self.first = Barrier(together)

    def forward(
        self, passages: list[str], kind: WrittenKind, examples: list[str] | None = None
    ) -> dspy.Prediction:
        with LOCK:
            self.asked.append(passages[0])
            place = len(self.asked)
        if self.cap is not None and place > self.cap:
            raise BudgetSpent("enough")
        if place <= self.together:
            self.first.wait(timeout=60)
        number = int(passages[0].split()[0])
        time.sleep(0.002 * (number % 5))
        if number % 7 == 0:
            raise AdapterParseError("chat", self.write.signature, "garbage")
        return dspy.Prediction(
            question=f"w{number} w{number + 1}?",
            answer="a",
            evidence=["a"],
            rejected="third" if number % 3 == 0 else "",
        )


def _numbered(count: int) -> list[Chunk]:
    return [chunk(f"{number} " + "x" * 200, f"{number}.md") for number in range(count)]


def test_threads_change_neither_what_is_kept_nor_what_is_asked() -> None:
    done = {}
    for threads in (1, 8):
        writer = _Scripted(together=threads)
        settings = WritingSettings(count=20, kinds={"fact": 1.0}, threads=threads)
        found = write_questions(_numbered(60), settings, found=lambda *_: True, writer=writer)
        done[threads] = (found, sorted(writer.asked))
    assert done[1] == done[8]
    assert len(done[1][0].kept) == 20


def test_a_cap_ends_writing_and_keeps_what_is_paid_for() -> None:
    for threads in (1, 8):
        writer = _Scripted(cap=10)
        settings = WritingSettings(count=20, kinds={"fact": 1.0}, threads=threads)
        found = write_questions(_numbered(60), settings, found=lambda *_: True, writer=writer)
        assert found.stopped == "enough"
        assert len(found.kept) + sum(found.dropped.values()) == 10


class Odd(dspy.Module):
    """Writes what it is told to, or fails so, turn by turn."""

    def __init__(self, *turns: Exception | str) -> None:
        super().__init__()
        self.turns = list(turns)

    def forward(self, **_: object) -> dspy.Prediction:
        turn = self.turns.pop(0)
        if isinstance(turn, Exception):
            raise turn
        return dspy.Prediction(question=turn, answer="visitors", evidence=[TEXT], rejected="")


def written_by(*turns: Exception | str) -> WrittenQuestions:
    chunks = [chunk(TEXT + "!" * place, str(place)) for place in range(len(turns))]
    settings = WritingSettings(count=len(turns), kinds={"fact": 1.0}, attempts=1)
    odd: Any = Odd(*turns)
    return write_questions(chunks, settings, found=lambda *_: True, writer=odd)


DOWN = LMTransportError("connection refused")
FILTERED = LMInvalidRequestError("content_filter")


def test_a_model_that_fails_now_and_then_costs_an_attempt_each_time() -> None:
    done = written_by("Who may park?", DOWN, RecursionError(), DOWN, "What is parked where, when?")
    assert [one.question for one in done.kept] == ["Who may park?", "What is parked where, when?"]
    assert done.dropped == {
        "the language model failed (unreachable)": 2, "a reply could not be read": 1,
    }  # fmt: skip
    refused = written_by(*[FILTERED] * 5, "Who may park?")
    assert len(refused.kept) == 1, "another passage may pass a provider's rules"


def test_a_model_that_is_down_ends_it_with_what_there_is() -> None:
    done = written_by("Who may park?", *[DOWN] * 5)
    assert len(done.kept) == 1
    assert "cannot be reached" in done.stopped
    assert done.dropped == {"the language model failed (unreachable)": MOST_FAILED}
    with pytest.raises(ModelError, match="cannot be reached"):
        written_by(*[DOWN] * 5)


GARBAGE = AdapterParseError("chat", QuestionWriter().write.signature, "garbage")


def test_a_model_of_which_nothing_can_be_read_is_not_asked_to_the_end() -> None:
    done = written_by(*[GARBAGE] * (MOST_UNREAD + 20))
    assert done.dropped == {"a reply could not be read": MOST_UNREAD}
    assert "nothing could be read" in done.stopped
    late = written_by(*[GARBAGE] * (MOST_UNREAD - 1), "Who may park?", *[GARBAGE] * 20)
    assert len(late.kept) == 1
    assert late.dropped == {"a reply could not be read": MOST_UNREAD + 19}


def test_attempts_that_come_to_nothing_are_told_of() -> None:
    told: list[tuple[str, int, int]] = []
    odd: Any = Odd(GARBAGE, GARBAGE, "Who may park?")
    settings = WritingSettings(count=1, kinds={"fact": 1.0})
    write_questions(
        [chunk(TEXT + "!" * place, str(place)) for place in range(3)],
        settings, found=lambda *_: True, writer=odd, progress=lambda *one: told.append(one),
    )  # fmt: skip
    assert told == [("attempts", n, 3) for n in (1, 2, 3)] + [("questions", 1, 1)]


@pytest.mark.parametrize(
    "odd",
    [
        {"question": "Who\x1b[2J may park?"}, {"question": "Who \ud800?"}, {"answer": "a\0b"},
        {"answer": "\x9b31m"}, {"question": "why " * 5000}, {"answer": "long " * 5000},
    ],
)  # fmt: skip
def test_what_is_no_plain_text_is_asked_about_no_further(odd: dict[str, str]) -> None:
    with dspy.context(lm=DummyLM([GOOD | odd])):
        found = QuestionWriter()(passages=[TEXT], kind="fact")
    assert found.rejected in {"it has no end", "it holds control characters"}


def test_what_retrieval_never_finds_is_dropped() -> None:
    replies = [GOOD, {"answer": "visitors"}, {"answer": "unknown"}]
    settings = WritingSettings(count=1, kinds={"fact": 1.0})
    with dspy.context(lm=DummyLM(replies)):
        done = write_questions([chunk(TEXT)], settings, found=lambda *_: False)
    assert done.dropped == {"retrieval does not find its document": 1}


def test_kinds_come_in_their_shares() -> None:
    dealt = _kinds(WritingSettings(kinds={"fact": 0.75, "summary": 0.25}), 8)
    assert (dealt.count("fact"), dealt.count("summary")) == (6, 2)


def test_a_training_set_is_looked_over(world: Path, tmp_path: Path) -> None:
    rows = [
        {"id": "a", "question": "One?", "answer": "x", "documents": ["town-1"]},
        {"id": "b", "question": "Two?", "answer": "x", "evidence": ["Nowhere in the index."]},
        {"id": "c", "question": "Three?", "answer": "1207", "documents": ["town1"]},
        {
            "id": "d",
            "question": "Four?",
            "answer": "Yes.",
            "documents": ["town1"],
            "evidence": ["1207"],
        },
    ]
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    trainset = read_questions(tmp_path / "q.jsonl")
    found = check_questions(trainset, open_index(world / "index"), test_share=0.4)
    assert found.unknown_documents[0][:2] == ("a", "town-1")
    assert "town1" in found.unknown_documents[0][2]
    assert found.missing_evidence == ("b",)
    assert found.unsupported == ("b",)
    assert len(found.problems) == 2
    assert "1 group:" in found.notes[0]
