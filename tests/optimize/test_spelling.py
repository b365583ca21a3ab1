"""One comparison of texts: labels, metrics and evidence, in another spelling and any script."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ragwright.optimize.questions.data import Question
from ragwright.optimize.retrieval.labels import label, supports
from ragwright.optimize.scoring.metrics import exact_match, token_f1
from ragwright.retrievers.text import normalized_words
from ragwright.retrievers.types import Chunk, Passage

QUOTED = [
    ("Call my\\_var\\_name first.", "Call my_var_name first."),
    (unicodedata.normalize("NFD", "café à Genève"), "café à Genève"),
    ("He said \u201cleave\u201d \u2013 don\u2019t", 'He said "leave" - don\'t'),
    ("You get **30 days** of leave", "You get 30 days of leave"),
    ("Urlaubs\u00adanspruch 30\u00a0Tage", "Urlaubsanspruch 30 Tage"),
    ("See [the handbook](https://x.org/a_(b)) first", "See the handbook first"),
    ("- first\n- second `code`", "first second code"),
    ("the ﬁrst ｗｏｒｄ", "the first word"),
    ("员工每年有三十天\n带薪年假。", "三十天带薪年假"),
    ("| name | days |\n|------|------|\n| Ann  | 30   |", "name days Ann 30"),
]


@pytest.mark.parametrize(("text", "snippet"), QUOTED)
def test_evidence_is_found_in_another_spelling(text: str, snippet: str) -> None:
    assert supports(Passage(text), [snippet], []) == {0}
    (held,) = label(
        [Question("1", "q", ("a",), evidence=(snippet,))], [Chunk("d", 0, len(text), text)]
    ).facts
    assert held


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("\u201cParis\u201d", "Paris"),
        ("don\u2019t", "don't"),
        (unicodedata.normalize("NFD", "café"), "café"),
        ("１２３", "123"),
        ("Paris\u2026", "Paris"),
        ("三十天。", "三十天"),
        ("**my\\_var**", "my_var"),
        ("1990\u20131995", "1990-1995"),
        ("+", "+"),
        ("The U.S.", "us"),
    ],
)
def test_an_answer_equals_its_gold_in_another_spelling(answer: str, gold: str) -> None:
    assert (exact_match(answer, [gold]), token_f1(answer, [gold])) == (1, 1)


def test_an_answer_of_signs_alone_is_compared_as_it_stands() -> None:
    assert exact_match("-", ["+"]) == token_f1("-", ["+"]) == 0
    assert exact_match("", ["+"]) == exact_match("the", ["+"]) == 0
    (held,) = label([Question("1", "q", ("+",))], [Chunk("d", 0, 9, "Press + now")]).facts
    assert held


@pytest.mark.parametrize(
    ("answer", "gold"),
    [
        ("三十天带薪年假", "三十天"),
        ("30일의 휴가", "30일"),
        ("สามสิบวัน", "สามสิบ"),
        ("有給休暇", "休暇"),
    ],
)
def test_a_partly_right_answer_gets_part_of_the_credit(answer: str, gold: str) -> None:
    assert 0 < token_f1(answer, [gold]) < 1
    assert exact_match(answer, [gold]) == 0


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("员工每年享有三十天带薪年假。", "三十天"),
        ("有給休暇は三十日です。", "三十日"),
        ("พนักงานมีวันลาสามสิบวันต่อปี", "สามสิบวัน"),
        ("직원은 연간 30일의 휴가를 받습니다.", "30일"),
        ("कर्मचारियों को तीस दिन मिलते हैं।", "तीस दिन"),
    ],
)
def test_an_answer_is_found_in_its_text(text: str, answer: str) -> None:
    assert label([Question("1", "q", (answer,))], [Chunk("d", 0, len(text), text)]).facts[0]


TEXT = st.text(max_size=40) | st.sampled_from([text for text, _ in QUOTED])


@given(TEXT, st.sampled_from(["NFC", "NFD"]), TEXT)
def test_scores_are_shares_and_forms_do_not_matter(one: str, form: str, other: str) -> None:
    again = unicodedata.normalize(form, one)  # type: ignore[arg-type]
    assert exact_match(again, [one]) == token_f1(again, [one]) == 1
    assert 0 <= token_f1(one, [other]) <= 1
    assert abs(token_f1(one, [other]) - token_f1(other, [one])) < 1e-9
    if normalized_words(one):
        assert supports(Passage(f"{other} {again} {other}"), [one], []) == {0}
