from __future__ import annotations

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import dspy
import numpy as np
import pytest

from ragwright.optimize import CompileResult, compile_program
from ragwright.optimize.report.plots import knob_panels, round_ticks
from ragwright.optimize.report.view import Demonstration, build_report_view
from ragwright.optimize.report.writing import write_report
from ragwright.optimize.retrieval.search import Search, Trial
from ragwright.optimize.scoring.attribution import FAILURES
from ragwright.optimize.scoring.statistics import holm_correction, paired_gain
from ragwright.programs.knobs import KnobValues

from .conftest import recipe
from .scripted import small


class Loads(HTMLParser):
    """Collects what a page would fetch or run, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [str(value) for key, value in attrs if key in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_says_the_verdict_first_and_loads_nothing(
    result: CompileResult, tmp_path: Path
) -> None:
    page = (write_report(result, tmp_path) / "report.html").read_text(encoding="utf-8")
    seen = Loads(page)
    assert all(f'id="{target[1:]}"' in page for target in seen.fetched)  # the contents
    assert "script" not in seen.tags
    assert not re.search(r"https?://|@import|url\(", page)
    body = seen.text[seen.text.index("towns, compiled with") :]
    assert body.index("Ship the compiled program") < body.index("Answers to 38 test questions")
    assert f"{result.compiled.mean:.3f}" in body
    for heading in ("Retrieval on test", "Where wrong answers fail", "Knobs and prompts", "Spend"):
        assert heading in body


def test_the_json_holds_every_question_and_number(result: CompileResult, tmp_path: Path) -> None:
    facts = json.loads((write_report(result, tmp_path) / "report.json").read_text())
    assert facts["verdict"] == "ship"
    assert facts["gain"]["n"] == len(facts["questions"]) == 38
    assert [line["name"] for line in facts["programs"]] == list(result.test)
    assert len(facts["search"]["trials"]) == 18
    assert facts["failures"]["baseline"].keys() == facts["failures"]["compiled"].keys()
    scores = [question["compiled"]["score"] for question in facts["questions"]]
    assert scores == [row.score for row in result.compiled.rows]


def test_failed_questions_stand_in_the_json(result: CompileResult, tmp_path: Path) -> None:
    first, *rest = result.compiled.rows
    failed = replace(result.compiled, rows=(replace(first, error="TimeoutError: late"), *rest))
    told = replace(result, test={**result.test, result.chosen: failed})
    facts = json.loads((write_report(told, tmp_path) / "report.json").read_text())
    counted = {line["name"]: line["errors"] for line in facts["programs"]}
    assert counted[result.chosen] == {"TimeoutError": 1}


def test_the_markdown_has_whole_tables(result: CompileResult, tmp_path: Path) -> None:
    text = (write_report(result, tmp_path) / "report.md").read_text(encoding="utf-8")
    assert text.startswith("# towns: ship\n")
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("|")]
    assert len(tables) == 7
    for table in tables:
        assert {line.count("|") for line in table} == {table[0].count("|")}


def test_text_of_documents_and_answers_is_never_markup(
    result: CompileResult, tmp_path: Path
) -> None:
    row = replace(result.compiled.rows[0], answer="<script>alert(1)</script>", score=0.0)
    evaluation = replace(result.compiled, rows=(row, *result.compiled.rows[1:]))
    spoiled = replace(result, test={**result.test, result.chosen: evaluation})
    page = (write_report(spoiled, tmp_path) / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page


def test_a_long_expected_answer_is_whole_only_where_it_is_opened(
    result: CompileResult, tmp_path: Path
) -> None:
    long = "a long answer " * 100
    tests = {
        name: replace(done, rows=tuple(
            replace(row, expected=(long,), score=float(name == result.chosen)) for row in done.rows
        ))
        for name, done in result.test.items()
    }  # fmt: skip
    page = (write_report(replace(result, test=tests), tmp_path) / "report.html").read_text()
    heads = re.findall(r"<summary>.*?</summary>", page, re.DOTALL)
    assert any("a long answer" in head for head in heads)
    assert not any(long in head for head in heads)
    assert f"Expected: {long}" in page


def test_a_result_that_is_not_better_says_keep_the_baseline(
    result: CompileResult, tmp_path: Path
) -> None:
    same = replace(
        result,
        chosen="baseline",
        decided="keep the baseline",
        gain=result.ablation["baseline"],
        retrieval=(),
        notes=("A note.",),
    )
    page = (write_report(same, tmp_path) / "report.html").read_text(encoding="utf-8")
    assert "Keep the baseline" in page
    assert "A note." in page
    assert "Ship the compiled" not in page


def test_a_metric_of_a_script_is_called_by_its_name(result: CompileResult, tmp_path: Path) -> None:
    section = result.recipe.compile.model_copy(update={"metric": "__main__:holds"})
    named = replace(result, recipe=result.recipe.model_copy(update={"compile": section}))
    folder = write_report(named, tmp_path)
    for said in ((folder / "report.html").read_text(), named._repr_html_()):
        assert "holds" in said
        assert "__main__" not in said


def test_it_says_what_to_do_now(result: CompileResult, tmp_path: Path) -> None:
    assert "rag artifacts promote" in build_report_view(result).next_step
    assert "got worse" not in build_report_view(result).next_step  # none did
    lost = replace(result, gain=replace(result.gain, losses=2))
    assert "read the questions that got worse" in build_report_view(lost).next_step
    unsure = replace(result.gain, n=38, gain=0.05, low=-0.01, detectable=0.1)
    kept = replace(result, decided="keep the baseline", gain=unsure)
    assert "some 160 test questions" in build_report_view(kept).next_step
    few = paired_gain(np.zeros(4), np.full(4, 0.5))
    assert "too few of them differ" in build_report_view(replace(kept, gain=few)).next_step
    worse = replace(kept, gain=replace(unsure, gain=-0.05))
    assert "questions would show" not in build_report_view(worse).next_step
    counts = dict.fromkeys(FAILURES, 0) | {"cut by the budget": 3, "not in pool": 1}
    failing = replace(build_report_view(kept), failures={"compiled": counts})
    assert failing.remedy.startswith("Most often cut by the budget (3 of 4). ")
    assert not replace(failing, failures={"compiled": dict.fromkeys(FAILURES, 0)}).remedy
    page = (write_report(kept, tmp_path) / "report.html").read_text(encoding="utf-8")
    assert build_report_view(kept).next_step in page


def test_where_several_metrics_are_claimed_their_p_are_corrected(
    world: Path, tmp_path: Path
) -> None:
    name = "0.5*answer_f1 + 0.5*citation_f1"
    section = {"metric": name, "optimizer": "labeled", "retrieval_trials": 0, "shortlist": 1}
    result = compile_program(recipe(world, compile=section), small(world), run_dir=tmp_path / "run")
    assert [part.name for part in result.parts] == ["answer_f1", "citation_f1"]
    for part in result.parts:
        rows = result.baseline.rows, result.compiled.rows
        before, after = (sum(row.parts[part.name] for row in side) / 20 for side in rows)
        assert (part.baseline, part.compiled) == pytest.approx((before, after))
    both = sum(part.gain.gain for part in result.parts) / 2
    assert result.gain.gain == pytest.approx(both)
    plain = {part.name: part.gain.p for part in result.parts} | {name: result.gain.p}
    assert result.corrected_parts == holm_correction(plain)
    folder = write_report(result, tmp_path)
    facts = json.loads((folder / "report.json").read_text())
    assert [part["p_corrected"] for part in facts["parts"]] == [
        result.corrected_parts[part.name] for part in result.parts
    ]
    said = "corrected for the 3 metrics claimed here"
    for file in ("report.md", "report.html"):
        text = (folder / file).read_text(encoding="utf-8")
        assert said in text
        assert f"{result.corrected_parts['answer_f1']:.3f}" in text


@pytest.mark.parametrize(("searched", "marked"), [(False, [True, True, False]),
                                                  (True, [False, True, False])])  # fmt: skip
def test_the_trial_of_the_chosen_setting_is_marked(searched: bool, marked: list[bool]) -> None:
    chosen = KnobValues(weight_bm25=0.5, k=3, order="edges", neighbours=1)
    as_ranked = chosen.replaced(k=5, order="rank")
    tried = [as_ranked.replaced(neighbours=0), as_ranked, as_ranked.replaced(weight_bm25=0.2)]
    importance = {"bm25_share": 0.5} | ({"neighbours": 0.5} if searched else {})
    trials = tuple(Trial(knobs, 0.1 * number) for number, knobs in enumerate(tried))
    shown = {
        panel.name: panel
        for panel in knob_panels(Search(chosen, (), trials, importance=importance), chosen)
    }
    assert [dot.marked for dot in shown["bm25_share"].dots] == marked


def test_one_metric_has_no_parts(result: CompileResult, tmp_path: Path) -> None:
    assert result.parts == ()
    assert "metrics claimed" not in (write_report(result, tmp_path) / "report.md").read_text()


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (0.0, 1.0, ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]),
        (0.0, 132.7, ["0", "50", "100"]),
        (0.6123, 0.6391, ["0.62", "0.63"]),
        (0.5, 0.5, []),
    ],
)
def test_axes_have_round_numbers(low: float, high: float, labels: list[str]) -> None:
    found = round_ticks(low, high)
    assert [label for _, label in found] == labels
    for place, label in found:
        assert low + place * (high - low) == pytest.approx(float(label))


@pytest.mark.parametrize(
    ("demo", "asked", "said"),
    [
        ({"question": "Where?", "trajectory": "", "thought": "I look."}, "Where?", "I look."),
        ({"trajectory": "t", "tool": "search"}, "t", "search"),
        ({"thought": "I look.", "tool": "search"}, "", "search"),
        ({}, "", ""),
    ],
)
def test_a_demonstration_of_any_predictor_is_shown(
    demo: dict[str, str], asked: str, said: str
) -> None:
    signature = dspy.Signature("question, trajectory -> thought, tool")
    shown = Demonstration.of(signature, demo)
    assert (shown.asked, shown.said, shown.context) == (asked, said, ())
