"""What is written in two ways is one; what only looks alike is two: answers and keywords."""

from __future__ import annotations

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from ragwright.optimize.scoring.metrics import exact_match, token_f1
from ragwright.retrievers.text import Analysis, answer_words, detect_languages, normalize_quotation

ONE = [
    ("1,000", "1000"), ("1,299.50", "1299.50"), ("1.234.567", "1234567"), ("3,5", "3.5"),
    ("1\u202f000\u202f000", "1000000"), ("1'000", "1000"), ("$5", "5"), ("50%", "50"), ("+7", "7"),
    ("\u22125", "-5"), ("(-5)", "-5"), ("١٢٣", "123"), ("١٬٠٠٠", "1000"), ("३.५", "3.5"),
    ("๑๒", "12"), ("１２.５", "12.5"), ("1990–95", "1990-95"), ("1990 - 95", "1990-95"),
    ("U.S.", "US"), ("don't", "dont"), ("e-mail", "email"), ("covid-19", "COVID19"), ("5.", "5"),
    ("1 250 000", "1250000"), ("12,50,000", "1250000"), ("10⁶", "10^6"), ("1½", "1 1/2"),
    ("It is 5, ok", "it is 5 ok"), ("F#", "f#"), ("हिन्दी", "हिंदी"), ("महँगी", "महंगी"),
]  # fmt: skip
TWO = [
    ("3.14", "314"), ("1.0", "10"), ("-5", "5"), ("1.5 million", "15 million"), ("10:30", "1030"),
    ("1/2", "12"), ("1.2.3", "123"), ("192.168.0.1", "19216801"), ("C++", "C"), ("C#", "C"),
    ("C#", "C++"), ("0.5", "05"), ("1,5", "15"), ("2020-05-05", "20200505"), ("١٢", "21"),
]  # fmt: skip


@pytest.mark.parametrize(("one", "other"), ONE)
def test_one_answer_in_two_spellings(one: str, other: str) -> None:
    for said, gold in ((one, other), (other, one)):
        assert exact_match(said, [gold]) == 1.0
        assert token_f1(f"about {said} then", [f"about {gold} then"]) == 1.0


@pytest.mark.parametrize(("one", "other"), TWO)
def test_two_answers_that_look_alike(one: str, other: str) -> None:
    for said, gold in ((one, other), (other, one)):
        assert exact_match(said, [gold]) == 0.0


@given(st.integers(-(10**12), 10**12), st.integers(0, 999), st.sampled_from(["", "0٠०๐０"]))
def test_numbers_of_any_size_and_script(whole: int, part: int, digits: str) -> None:
    plain = f"{whole}.{part:03d}"
    grouped = f"{whole:,}.{part:03d}"
    assert answer_words(grouped) == answer_words(plain) == [plain]
    for zero in digits:
        other = "".join(chr(ord(zero) + int(c)) if c.isdigit() else c for c in plain)
        assert answer_words(other) == [plain]


@given(st.text("ab1.,-:/+#'% \ue000\u202f٣", max_size=24))
def test_any_answer_equals_itself(text: str) -> None:
    assert exact_match(text, [text]) == 1.0


KEYWORDS = [
    ("price 1,299.00 only", "1299"), ("price 1299 only", "1,299"), ("ราคา ๑๒๓ บาท", "123"),
    ("الصفحة ١٢٣", "123"), ("page 123", "١٢٣"), ("می\u200cشود رفت", "می شود"),
    ("می شود رفت", "می\u200cشود"), ("کتاب\u200cها روی میز", "کتابها"),
    ('צה"ל הוא הצבא', "צהל"), ("צה״ל הוא הצבא", 'צה"ל'), ("हिन्दी भाषा", "हिंदी"),
    ("महँगी ज़मीन", "महंगी"), ("সম্পর্ক ভাল", "সম্পর্ক"),
    ("U.S. law", "US"), ("the US law", "U.S."), ("a Ph.D. thesis", "PhD"), ("aka Bob", "a.k.a."),
    ("Node.js runs", "nodejs"), ("nodejs runs", "Node.js"), ("Umsatz: 10.000,50", "10000"),
    ("sold 10000.50", "10.000,50"), ("1234567 people", "1.234.567"), ("Müller & Co", "Mueller"),
    ("Mueller & Co", "Müller"), ("good 👍 work", "👍"), ("the sum ∑ of it", "∑"), ("a ≤ b", "≤"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "asked"), KEYWORDS)
def test_keywords_are_found_in_another_spelling(text: str, asked: str) -> None:
    analysis = Analysis(detect_languages([text]))
    assert set(analysis.asked(asked)) & set(analysis.terms(text)), (asked, text)


WHOLES = [
    ("12,50,000 rupees", "1250000"), ("12 500 personnes", "12500"), ("12\u202f500 F", "12500"),
    ("LIMIT = 1_000_000", "1000000"), ("١٬٠٠٠ ريال", "1000"),
    ("ISBN 978-3-16-148410-0", "9783161484100"), ("4111 1111 1111 1111", "4111111111111111"),
    ("DE89 3704 0044 0532 0130 00", "de89370400440532013000"), ("$5", "$"),
    ("the docu-\n  mentation of", "document"), ("at \u22125 °C", "-5"), ("only €5", "€"),
    ("an 🇩🇪 team", "🇩🇪"), ("10⁶ cells", "10"), ("80 m²", "m2"), ("1½ cups", "1/2"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "term"), WHOLES)
def test_what_is_written_apart_or_with_a_sign_is_a_term(text: str, term: str) -> None:
    analysis = Analysis(["english"])
    assert term in analysis.terms(text)
    assert term in analysis.asked(text)


@pytest.mark.parametrize(
    ("text", "term"),
    [("10⁶ cells", "106"), ("1½ cups", "11/2"), ("by 5-7", "-7"), ("030 123 456", "030123456")],
)
def test_what_only_looks_like_a_term_is_none(text: str, term: str) -> None:
    assert term not in Analysis(["english"]).terms(text)


def test_digits_that_python_does_not_know_yet_are_letters_like_others() -> None:
    """`regex` knows a later Unicode than Python: digits of Kawi, say, in Python 3.11."""
    digits = regex.findall(r"\p{Nd}", "".join(map(chr, range(0x110000))))
    assert len(digits) > 600
    assert len(normalize_quotation(" ".join(digits)).split()) == len(digits)
    assert token_f1("page \U00011f50", ["Page \U00011f50."]) == 1.0
