"""Keyword search in the scripts of the world, and for what is no plain word."""

from __future__ import annotations

import json
import unicodedata
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.index import Index, IndexSettings
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.keyword import KeywordIndex
from ragwright.retrievers.text import (
    Analysis,
    Language,
    detect_languages,
    language_of,
    normalize_text,
    normalized_words,
)
from ragwright.retrievers.text.analysis import _runs
from ragwright.retrievers.types import Document

SENTENCES = {
    "chinese": ("员工每年有三十天带薪年假。", "带薪年假", "出差请乘坐火车。"),
    "japanese": ("従業員は有給休暇を取得できます。", "有給休暇", "出張には電車を使う。"),
    "thai": ("พนักงานมีวันลาพักร้อนสามสิบวันต่อปี", "วันลาพักร้อน", "โปรดเดินทางโดยรถไฟ"),
    "korean": ("직원은 연간 30일의 유급휴가를 받습니다.", "유급휴가", "출장은 기차를 이용하세요."),
    "hindi": ("कर्मचारियों को तीस दिन की छुट्टी मिलती है।", "छुट्टी", "कृपया रेल से यात्रा करें।"),
    "arabic": ("الكِتَابُ عَلَى الطَّاوِلَةِ", "الكتاب", "السيارة في المرآب"),
    "greek": ("Οι υπάλληλοι έχουν άδεια τριάντα ημερών.", "ΑΔΕΙΑ", "Το τρένο φεύγει νωρίς."),
    "russian": ("Сотрудники получают тридцать дней отпуска.", "отпуск", "Поезд отходит утром."),
    "turkish": ("Çalışanlar yılda otuz gün izin alır.", "CALISANLAR", "Lütfen trene binin."),
    "vietnamese": ("Nhân viên được nghỉ phép ba mươi ngày.", "nghi phep", "Hãy đi bằng tàu."),
    "german": ("Die Häuser der Stadt sind alt.", "Haus", "Der Zug fährt früh ab."),
    "french": ("Les employés ont droit à des congés payés.", "conge", "Le train part tôt."),
    "khmer": ("បុគ្គលិកមានថ្ងៃឈប់សម្រាកសាមសិបថ្ងៃ", "ឈប់សម្រាក", "សូមជិះរថភ្លើង"),
}  # fmt: skip


def index_of(folder: Path, *texts: str, language: str = "auto") -> KeywordIndex:
    index = KeywordIndex(folder / "keyword", create=True, language=language)
    index.write((f"d{n}", text, {}) for n, text in enumerate(texts))
    return index


@pytest.mark.parametrize("language", SENTENCES)
@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKC"])
def test_a_word_of_any_script_is_found(tmp_path: Path, language: str, form: str) -> None:
    text, query, other = SENTENCES[language]
    index = index_of(tmp_path, unicodedata.normalize(form, text), other)  # type: ignore[arg-type]
    assert list(index.query(query, 5)) == ["d0"]


@pytest.mark.parametrize("form", ["NFC", "NFD", "NFKD"])
def test_the_unicode_form_does_not_matter(tmp_path: Path, form: str) -> None:
    text = "Genève, Přerov, Åland, Ελλάδα, Đà Nẵng, 한국어, Zürich, Straße, ＦＵＬＬ, ﬁsh"
    index = index_of(tmp_path, unicodedata.normalize(form, text), "thé vert")  # type: ignore[arg-type]
    asked = "Genève Geneve Přerov Åland Ελλάδα Nẵng 한국어 Zürich STRASSE full fish"
    for word in asked.split():
        assert list(index.query(word, 5)) == ["d0"], word


@pytest.mark.parametrize(
    ("texts", "query"),
    [
        (("To be or not to be, that is the question.", "Cats sleep."), "to be or not to be"),
        (("Python's is operator compares identity.", "Cats sleep."), "is"),
        (("Ask IT for a laptop.", "It rains, and it is cold."), "IT"),
        (("Ask IT for a laptop.", "It rains, and it is cold."), "How do I reach IT?"),
        (("C++ has templates.", "C is an old language.", "C# has LINQ."), "C++"),
        (("C# has LINQ.", "C is an old language.", "C++ has templates."), "C#"),
        ((".NET runs everywhere.", "The net was torn."), ".NET"),
        (("Use node.js here.", "A node is here."), "node.js"),
        (("Call updateInvoiceTotal() after every change.", "Cats sleep."), "invoice total"),
        (("HTTPServerError is raised.", "Cats sleep."), "server error"),
        (("Set max_retry_count.", "Cats sleep."), "retry count"),
        (("Set max_retry_count.", "Count the max of a retry."), "max_retry_count"),
        (("The iPhone15 is here.", "Cats sleep."), "iphone 15"),
        (("See /etc/nginx/nginx.conf first.", "Cats sleep."), "nginx.conf"),
        (("Write to ann.lee@example.org now.", "ann wrote an example."), "ann.lee@example.org"),
        (("Send an e-mail.", "Cats sleep."), "email"),
        (("COVID19 spread.", "Cats sleep."), "covid-19"),
        (("It cost 1,000 dollars.", "Cats sleep."), "1000"),
    ],
)
def test_what_was_asked_comes_first(tmp_path: Path, texts: tuple[str, ...], query: str) -> None:
    hits = index_of(tmp_path, *texts, language="english").query(query, 5)
    scores = list(hits.values())
    assert next(iter(hits)) == "d0"
    assert len(scores) == 1 or scores[0] > scores[1]


@pytest.mark.parametrize(
    ("texts", "query"),
    [
        (("A型インフルエンザが流行した。", "B型のAさんは元気だ。"), "A型"),
        (("Ａ型インフルエンザが流行した。", "B型のAさんは元気だ。"), "a型"),
        (("第3章は検索を扱う。", "3人が第1章を読む。"), "第3章"),
        (("서울 역에서 만나요.", "역에서 서울까지 가요."), "서울역"),
        (("使用 Python 编程。", "编程使人快乐，Python 也使用。"), "使用Python编程"),
    ],
)
def test_what_stands_beside_another_script_or_a_space_is_found_with_it(
    tmp_path: Path, texts: tuple[str, ...], query: str
) -> None:
    scores = index_of(tmp_path, *texts, language="none").query(query, 5)
    assert scores["d0"] > scores.get("d1", 0)


def test_tones_tell_words_apart_where_they_are_written(tmp_path: Path) -> None:
    texts = ("Con mà ấy ở đây.", "Con mả ấy ở đây.", "Con má ấy ở đây.")
    index = index_of(tmp_path, *texts, language="none")
    assert next(iter(index.query("mả", 5))) == "d1"
    assert len(index.query("ma", 5)) == 3
    weights = Analysis().asked("mả")
    assert weights["ma"] < weights["mả"] == Analysis().asked("ma")["ma"]


def test_a_word_that_a_query_repeats_counts_more_but_not_without_end() -> None:
    weights = [Analysis(("english",)).asked("mouse " * n + "cat")["mous"] for n in (1, 2, 3, 1000)]
    assert weights[0] == 1
    assert weights == sorted(weights)
    assert weights[-1] < 9


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Die Würde des Menschen ist unantastbar, und sie ist zu achten.", ("german",)),
        ("W Polsce jest wiele miast i każde z nich ma swoją historię, ale nie jest to duże.", ()),
        ("Việt Nam là một quốc gia nằm ở phía đông của bán đảo và có biển.", ()),
        (
            "Türkiye'nin başkenti Ankara, en kalabalık kenti İstanbul'dur. Ülke topraklarının çoğu "
            "Anadolu yarımadasında, kalanı Trakya'da yer alır. Osmanlı döneminde imparatorluğun "
            "merkezi olan İstanbul, boğazın iki yakasında kurulmuştur ve nüfusu hızla artmıştır.",
            ("turkish",),
        ),
        ("Cats chase mice.", ("english",)),
        ("员工每年有三十天带薪年假。", ()),
        ("Η Ελλάδα είναι χώρα", ("greek",)),
    ],
)
def test_the_language_is_told_by_script_and_function_words(
    text: str, language: tuple[str, ...]
) -> None:
    assert detect_languages([text]) == language


def test_a_text_is_named_by_its_language() -> None:
    assert language_of("従業員は年間三十日の有給休暇を取得できます。従業員は") == "japanese"
    assert language_of("员工每年有三十天带薪年假。员工每年有三十天带薪年假。") == "chinese"
    assert language_of("Die Würde des Menschen ist unantastbar, und sie ist zu achten.") == "german"
    assert language_of("x = 1") == ""


def test_an_older_analysis_is_built_anew_without_embedding(tmp_path: Path) -> None:
    documents = [Document("a", "Die Häuser der Stadt sind alt."), Document("b", "Cats sleep.")]
    settings = IndexSettings(embedder="hash", language="english")
    ingest(documents, tmp_path / "index", settings)
    note = tmp_path / "index" / "keyword" / "analysis.json"
    note.write_text(json.dumps({"version": 1, "language": "english", "languages": []}))
    index = Index(tmp_path / "index")
    assert len(index.keyword("Stadt", 5)) == 1
    index.close()
    assert json.loads(note.read_text())["languages"] == ["english"]
    note.unlink()
    done = ingest(documents, tmp_path / "index", settings.model_copy(update={"language": "german"}))
    assert (done.chunks_written, done.embedded) == (0, 0)
    assert json.loads(note.read_text())["languages"] == ["german"]


HARD = [
    "Istanbul ISIL İzmir", "voltage-gated COX-2 M-gene", "multi- a--b", "IT it It", "C++ .NET x_y",
    "1,000.5 51% 0.133; (162)", "Bowman's U.S.A. e-mail", "zero\u200bwidth so\u00adft", "´ ¨x",
    "iPhone15 HTTPServer", "x" * 60, "a-b-c-d-e", "C\n文\n字", "don’t l’été", "\u0301x", "Ⅻ ﬁn ㍿",
]  # fmt: skip
STEMMED: list[list[Language]] = [[], ["english"], ["turkish"], ["german", "russian", "greek"]]
ANY = st.text(max_size=60) | st.sampled_from([text for row in SENTENCES.values() for text in row])


@given(ANY, ANY)
def test_a_text_finds_itself(text: str, around: str) -> None:
    analysis = Analysis(("english", "russian", "greek"))
    asked = set(analysis.asked(text))
    assert asked <= set(analysis.terms(text)) or text.isupper()
    assert all(term and not term.isspace() and len(term) <= 84 for term in asked)
    assert analysis.terms(f"{text} {around}"[: len(text)]) == analysis.terms(text)


@given(st.lists(ANY | st.sampled_from(HARD), max_size=5).map(" ".join), st.sampled_from(STEMMED))
def test_texts_in_one_go_have_the_terms_of_their_words(
    text: str, languages: list[Language]
) -> None:
    analysis = Analysis(languages)
    found = analysis.terms(text)
    wanted = [term for run in _runs(text) for term, _ in Analysis(languages)._run_terms(run)]
    assert found == wanted
    assert [joined.split() for joined in analysis.joined([text, "", text])] == [found, [], found]


@given(ANY)
def test_the_normal_form_is_final_and_one_for_all_forms(text: str) -> None:
    once = normalize_text(text)
    assert normalize_text(once) == once
    assert normalized_words(unicodedata.normalize("NFD", text)) == normalized_words(text)


FORMS = {
    "russian": ("настройки серверов", "настройка сервера", "настройкой сервером"),
    "german": ("Häuser der Städte", "Haus der Stadt", "Häusern der Stadt"),
    "french": ("les congés payés", "le congé payé", "congé payée"),
    "korean": ("휴가를 신청", "휴가 신청", "휴가는 신청"),
    "greek": ("άδειες εργαζομένων", "άδεια εργαζομένου", "άδειας εργαζόμενος"),
}


@pytest.mark.parametrize("language", FORMS)
def test_the_form_that_was_asked_comes_first_and_the_others_are_found(
    tmp_path: Path, language: str
) -> None:
    texts = FORMS[language]
    kind = "none" if language == "korean" else language
    index = index_of(tmp_path, *texts, language=kind)
    for number, text in enumerate(texts):
        found = index.query(text, 5)
        assert next(iter(found)) == f"d{number}"
        assert len(found) == 3


INFLECTED = {
    "polish": ("konfiguracja serwera", "konfiguracji serwerów", "konfiguracją serwerem"),
    "ukrainian": ("налаштування мережі", "налаштуванням мережею", "налаштуваннями мережами"),
    "czech": ("nastavení obrazovky", "nastavením obrazovek", "nastaveních obrazovkami"),
    "persian": ("کتابخانه دانشگاه", "کتابخانه‌های دانشگاه‌ها", "کتابخانه‌ای دانشگاهی"),
    "hindi": ("विद्यालय", "विद्यालयों", "विद्यालयी"),
    "georgian": ("ბიბლიოთეკა", "ბიბლიოთეკის", "ბიბლიოთეკაში"),
}
"""Of languages without a stemmer."""


@pytest.mark.parametrize("language", INFLECTED)
def test_a_word_of_a_language_without_a_stemmer_is_found_by_its_other_forms(
    tmp_path: Path, language: str
) -> None:
    texts = INFLECTED[language]
    index = index_of(tmp_path / "any", *texts, language="auto")
    for number, text in enumerate(texts):
        found = index.query(text, 5)
        assert next(iter(found)) == f"d{number}"
        assert len(found) == 3


def test_words_are_not_known_by_their_parts_in_english_or_where_none_is_asked_for(
    tmp_path: Path,
) -> None:
    index = index_of(tmp_path, *INFLECTED["polish"], language="none")
    assert list(index.query("serwera", 5)) == ["d0"]
    assert Analysis(["english"]).terms("scholarship") == ["scholarship"]
    assert Analysis(["german"]).terms("Internat") == [
        "internat",
        "^_int",
        "^inte",
        "^nter",
        "^tern",
        "^erna",
        "^rnat",
    ]


def test_stop_words_count_less_than_other_words_but_count() -> None:
    asked = Analysis(["english"]).asked("to the station")
    assert 0 < asked["the"] == asked["to"] < asked["station"]


HAN = "猫狗水火山川石林鸟鱼"


@settings(max_examples=40, deadline=None)
@given(st.permutations(HAN), st.integers(2, len(HAN)))
def test_a_chinese_character_within_a_run_is_asked_for_a_little(drawn: list[str], n: int) -> None:
    run = "".join(drawn[:n])
    weights = Analysis().asked(run)
    pairs = {run[at : at + 2] for at in range(n - 1)}
    assert {term for term, weight in weights.items() if weight == 1} == pairs
    assert {term for term, weight in weights.items() if weight < 1} == {*run}
    assert Analysis().asked(run[0]) == {run[0]: 1}


def test_a_word_of_one_character_is_found_within_a_longer_question(tmp_path: Path) -> None:
    texts = {"a": "猫的粮食很便宜", "b": "狗喜欢散步", "c": "水果很好"}
    with closing(KeywordIndex(tmp_path, create=True)) as index:
        index.write([(f"{ord(id):032x}", text, {}) for id, text in texts.items()])
        for asked, id in (("买猫粮", "a"), ("遛狗", "b"), ("喝水", "c")):
            assert [*index.query(asked, 3)] == [f"{ord(id):032x}"]
