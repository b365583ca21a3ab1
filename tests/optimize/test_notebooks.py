"""What notebooks show of passages, answers, evaluations, results: escaped, whatever it is."""

from __future__ import annotations

from ragwright.optimize import CompileResult
from ragwright.optimize.scoring.evaluation import Evaluation, EvaluationRow
from ragwright.programs.rag import Answer
from ragwright.retrievers.result import RetrievalResult
from ragwright.retrievers.types import Passage

ATTACK = "<script>alert(1)</script>&\x1b[31m\u202e"


def passage(text: str = ATTACK) -> Passage:
    return Passage(text, id="1", score=0.5, metadata={"document": ATTACK}, signals={"dense": 0.25})


def shown(thing: object) -> str:
    page = str(thing._repr_html_())  # type: ignore[attr-defined]
    assert [part for part in ("<script", "\x1b", "\u202e") if part in page] == []
    return page


def test_passages_show_where_they_are_from_and_how_they_scored() -> None:
    assert "&lt;script&gt;" in shown(passage())
    assert "dense 0.250" in shown(passage())
    assert shown(RetrievalResult.of([passage(), passage("two")])).count("<tr>") == 3
    assert len(shown(passage("x" * 10_000))) < 2_000


def test_an_answer_shows_what_it_cites() -> None:
    answer = Answer(
        answer=ATTACK,
        citations=[2, 7],
        passages=[passage("one"), passage("two")],
        degraded=[ATTACK],
    )
    page = shown(answer)
    assert "two" in page
    assert "one" not in page
    assert shown(Answer(answer="alone")) == "<p><b>alone</b></p>"


def test_an_evaluation_shows_its_mean_and_the_worst_questions() -> None:
    rows = [EvaluationRow(str(number), ATTACK, (ATTACK,), "", number / 20) for number in range(20)]
    assert repr(Evaluation(tuple(rows))) == "Evaluation(0.475 of 20 questions)"
    page = shown(Evaluation(tuple(rows)))
    assert "0.475 (95 % interval " in page
    assert page.count("<tr>") == 11


def test_a_result_shows_the_verdict_and_every_program(result: CompileResult) -> None:
    page = shown(result)
    assert result.verdict in page
    assert all(f">{name}<" in page for name in result.test)
    assert repr(result).startswith(f"CompileResult({result.verdict!r}: answer_f1 ")
    assert len(repr(result)) < 150
