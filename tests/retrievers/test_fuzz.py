"""Generated files, rows, metadata and questions in 12 scripts: read, or refused by name.

Nothing raises but an InputError, nothing takes longer than 10 seconds of the processor's time, and
the stores agree. `make fuzz` runs it with 20,000 examples, `make fuzz FUZZ=2000` with fewer; each
run draws others, so that ten of these are one of those.
"""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ragwright.optimize.scoring.metrics import exact_match, token_f1
from ragwright.retrievers.chunking import ChunkSettings, chunk
from ragwright.retrievers.documents import Problem, ReadOptions, files, read_documents
from ragwright.retrievers.documents.conversions import KeepingConverter
from ragwright.retrievers.errors import InputError
from ragwright.retrievers.filters import parse_filter
from ragwright.retrievers.index import Index, close_index, open_index
from ragwright.retrievers.ingest import ingest
from ragwright.retrievers.metadata import add_date_seconds, normalize_metadata
from ragwright.retrievers.stamp import IndexSettings
from ragwright.retrievers.text import (
    Analysis,
    cut_at_sentence,
    detect_languages,
    normalize_quotation,
)
from ragwright.retrievers.types import Document
from tests.reference import passes

EXAMPLES = int(os.environ.get("RAGWRIGHT_FUZZ", "50"))
SECONDS = 10.0
fuzzed = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
few = settings(fuzzed, max_examples=max(3, EXAMPLES // 100))

SCRIPTS = [
    "The museum opened in 1889, didn't it?", "Größe, Straße — „schön“.",
    "員工每年有三十天帶薪年假。", "従業員は有給休暇を取得できます。", "พนักงานมีวันลาพักร้อน",
    "직원은 연간 30일의 휴가를 받습니다.", "कर्मचारियों को छुट्टी मिलती है।",
    "الكِتَابُ عَلَى الطَّاوِلَةِ، نعم؟", "Οι υπάλληλοι έχουν άδεια.",
    "Сотрудники получают отпуск.", "Çalışanlar yılda otuz gün İZİN alır.",
    "Nhân viên được nghỉ phép.", "בְּרֵאשִׁית ברא", "បុគ្គលិកមានថ្ងៃឈប់", "Աշխատողները",
    "👩‍👩‍👧 ☃️ ½ ﬁ ㍿ Ⅻ", "C++ .NET a_b/c.d@e.fg x=1",
]  # fmt: skip
ODD = [
    "\0", "\r", "\r\n", "\x85", "\u2028", "\ufeff", "\ufffe", "\u202e", "\u0301" * 40,
    "\u200d" * 9, " " * 5000, "\n" * 3000, "a" * 3000, "中" * 2000, "\ud800", "\t|\t", "---\n",
    "```\n", "# ", "\x1b[31m", "[" * 2000, "{" * 50, "(" * 900, "*_~`" * 300,
    "| a | b |\n|---|---|\n| 1 | 2 |\n", "![x](data:image/png;base64,AA)",
]  # fmt: skip
MARKUP = [
    "<p>", "</p>", "<div>" * 300, "<!--", "-->", "<![CDATA[", "]]>",
    "<?xml version='1.0' encoding='", "'?>", "<table><tr><td>", "<script>", "</script>",
    "<meta charset=", "koi8-r", "utf-7", "base64", ">", "&#99999999999;", "&#xD800;",
    "&amp;&lt", "<a href='data:", "<img src=x alt=", "<svg>", "<br/>", "<a ",
    "<!DOCTYPE x [<!ENTITY a 'b'>]>", "<title>", "<li><ul>" * 100,
    "<td rowspan=99999999 colspan=9999999>", "<pre>", "<ol start=99999999999999999999><li>",
    "<b><i>" * 50, "<h7>", "<math>", "<textarea>", "</html>",
]  # fmt: skip
ENCODINGS = [
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp1252",
    "cp1251", "koi8-r", "shift_jis", "euc-jp", "gb18030", "big5", "euc-kr", "iso-8859-7",
    "cp1256", "tis-620", "utf-7",
]  # fmt: skip
SUFFIXES = [
    ".txt", ".md", ".mdx", ".html", ".htm", ".xhtml", ".xml", ".json", ".py", ".rst", ".adoc",
    ".org", ".wiki", ".tex", ".pdf", ".docx", ".xlsx", ".pptx", ".epub", ".csv", "",
    ".PO", ".jsonl", ".mbox", ".eml",
]  # fmt: skip
WORDS = st.sampled_from(SCRIPTS) | st.text(max_size=40)
TEXTS = st.lists(WORDS | st.sampled_from([*SCRIPTS, *ODD, " ", "\n\n"]), max_size=8).map("".join)
PAGES = st.lists(WORDS | st.sampled_from([*MARKUP, *ODD]), max_size=14).map("".join)


def encoded(pair: tuple[str, str]) -> bytes:
    text, encoding = pair
    return text.encode(encoding, "surrogatepass" if encoding.startswith("utf-8") else "ignore")


def mutated(drawn: tuple[bytes, int, bytes]) -> bytes:
    data, place, other = drawn
    at = place % (len(data) + 1)
    return data[:at] + other + data[at + len(other) :]


def office(parts: list[tuple[str, str]]) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in dict(parts).items():
            archive.writestr(name, text.encode("utf-8", "ignore"))
    return made.getvalue()


PARTS = st.sampled_from(
    [
        "word/document.xml", "[Content_Types].xml", "_rels/.rels", "xl/workbook.xml", "../../x",
        "mimetype", "xl/worksheets/sheet1.xml", "ppt/presentation.xml",
        "META-INF/container.xml", "OEBPS/content.opf",
    ]
)  # fmt: skip
WRITTEN = st.tuples(TEXTS | PAGES, st.sampled_from(ENCODINGS)).map(encoded)
BYTES = st.one_of(
    WRITTEN,
    st.tuples(WRITTEN, st.integers(0, 5000), st.binary(max_size=12)).map(mutated),
    st.binary(max_size=300),
    st.lists(st.tuples(PARTS, PAGES), max_size=5).map(office),
    PAGES.map(lambda text: b"%PDF-1.7\n" + text.encode("utf-8", "ignore")),
)


@pytest.fixture(scope="module")
def converter() -> Iterator[KeepingConverter]:
    with KeepingConverter(ReadOptions(max_seconds=4.0, max_unpacked_bytes=10_000_000)) as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("fuzz")


@fuzzed
@given(
    BYTES, st.sampled_from(SUFFIXES), st.sampled_from(["recursive", "markdown", "code", "token"])
)
def test_any_file(
    folder: Path, converter: KeepingConverter, data: bytes, suffix: str, kind: Any
) -> None:
    started, problems = time.process_time(), list[Problem]()
    path = folder / f"file{suffix}"
    path.write_bytes(data)
    options = ReadOptions(on_error="skip", on_problem=problems.append)
    documents = list(files._Reader(options, converter, set()).read(path, path.name))
    assert documents or problems
    assert all(problem.reason for problem in problems)
    for document in documents:
        document.text.encode()
        pieces = chunk(document, ChunkSettings(kind=kind, size=50))
        texts = [piece.text for piece in pieces]
        Analysis(detect_languages(texts)).joined(texts)
        assert pieces
        assert all(piece.text in document.text for piece in pieces)
    assert time.process_time() - started < SECONDS


KEYS = st.sampled_from(
    [
        "k", "a.b", "", "$eq", "#document", "chroma:document", "start", "ключ", "\ud800",
        "x:time", "date", "text ",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    WORDS,
    st.sampled_from([2**63, 2**64, -(2**63)]),
    st.sampled_from(
        ["2024-01-01", "2024-13-01", "2024-06-01T12:00:00+02:00", "NaN", "true", "007"]
    ),
)
ANYTHING = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
FACTS = st.dictionaries(KEYS, ANYTHING, max_size=4)
ROWS = st.one_of(
    st.fixed_dictionaries(
        {"text": TEXTS},
        optional={"_id": SCALARS, "title": ANYTHING, "metadata": ANYTHING, "k": ANYTHING},
    ),
    FACTS,
    ANYTHING,
)
LINES = st.one_of(
    ROWS.map(json.dumps),
    st.sampled_from(
        ["", " ", "{", "[" * 5000, '{"text": ' + "9" * 6000 + "}", '{"text": "x"} {}', "null"]
    ),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=20),
)


@fuzzed
@given(
    st.lists(LINES, max_size=6),
    st.sampled_from(["\n", "\r\n", "\r"]),
    st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-32"]),
    st.sampled_from(["refuse", "flatten", "drop"]),
)
def test_any_rows(folder: Path, lines: list[str], end: str, encoding: str, nested: Any) -> None:
    path, problems = folder / "rows.jsonl", list[Problem]()
    # Those bytes are UTF-32 as well.
    assume(encoding != "utf-16" or not end.join(lines).startswith("\0"))
    path.write_bytes(end.join(lines).encode(encoding))
    options = ReadOptions(on_error="skip", on_problem=problems.append, nested=nested)
    try:
        documents = list(read_documents(path, options))
    except InputError:
        assert not any(line.strip() for line in lines)
        return
    assert len(documents) + len(problems) == sum(bool(line.strip()) for line in lines)
    for document in documents:
        assert normalize_metadata(document.metadata, "again") == dict(document.metadata)
        json.dumps(dict(document.metadata), allow_nan=False).encode()


CELLS = st.one_of(
    WORDS, st.sampled_from(['"', "a,b", "1", "007", "1e400", "true", "\n", " ", "NaN"])
)


@fuzzed
@given(st.lists(st.lists(CELLS, max_size=4), max_size=5), st.sampled_from(",;\t|"), st.booleans())
def test_any_table(folder: Path, rows: list[list[str]], separator: str, quoted: bool) -> None:
    mark = '"' if quoted else ""
    lines = [separator.join(f"{mark}{cell}{mark}" for cell in row) for row in rows]
    path = folder / "rows.csv"
    path.write_bytes(
        "\n".join([separator.join(["id", "text", "k"]), *lines]).encode("utf-8", "ignore")
    )
    with suppress(InputError):
        for document in read_documents(path, ReadOptions(on_error="skip")):
            assert normalize_metadata(document.metadata, "again") == dict(document.metadata)


OPERATORS = [
    "$eq",
    "$ne",
    "$gt",
    "$gte",
    "$lt",
    "$lte",
    "$in",
    "$nin",
    "$contains",
    "$not_contains",
    "$x",
    "$and",
]
WHERE = st.recursive(
    st.dictionaries(
        KEYS,
        ANYTHING | st.dictionaries(st.sampled_from(OPERATORS), ANYTHING, max_size=2),
        max_size=2,
    ),
    lambda inner: st.dictionaries(
        st.sampled_from(["$and", "$or", "$not"]), st.lists(inner, max_size=3), max_size=2
    ),
    max_leaves=4,
)
KEPT = st.dictionaries(
    st.sampled_from(["k", "a.b", "ключ"]),
    st.one_of(
        st.booleans(),
        WORDS,
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False, allow_infinity=False),
        st.lists(st.integers(-9, 9), max_size=3),
        st.lists(WORDS, max_size=3),
        st.dates(),
        st.datetimes(),
    ),
    max_size=3,
)


@fuzzed
@given(WHERE)
def test_any_filter_is_read_or_refused(where: Any) -> None:
    with suppress(InputError):
        parse_filter(where)


NUMBERS = count()


@few
@given(
    st.lists(st.tuples(TEXTS, KEPT), min_size=1, max_size=12),
    st.lists(WHERE, min_size=3, max_size=12),
    st.lists(TEXTS, min_size=3, max_size=12),
)
def test_stores_agree_on_any_documents(
    folder: Path, rows: list[tuple[str, Any]], filters: list[Any], questions: list[str]
) -> None:
    pytest.importorskip("qdrant_client")
    root = folder / f"agree-{next(NUMBERS)}"
    documents = [
        Document(str(n), f"word {text}", metadata=normalize_metadata(facts, str(n)))
        for n, (text, facts) in enumerate(rows)
    ]
    opened: list[Index] = []
    for name, store in (("chroma", ""), ("qdrant", f"qdrant:{root / 'vectors'}")):
        for again in (False, True):
            done = ingest(documents, root / name, IndexSettings(embedder="hash", store=store))
            assert (done.chunks_written == 0) == again
        opened.append(open_index(root / name))
    try:
        for where in filters:
            _check_filter(opened, documents, where)
        for question in questions:
            found = [index.keyword(question, 500) for index in opened]
            assert found[0] == found[1]
            near = [index.dense(question, 500) for index in opened]
            assert near[0].keys() == near[1].keys()
            assert near[0] == pytest.approx(near[1], abs=1e-4)
    finally:
        for name in ("chroma", "qdrant"):
            close_index(root / name)


def _check_filter(indexes: list[Index], documents: list[Document], where: Any) -> None:
    try:
        asked = parse_filter(where)
    except InputError:
        return
    if asked is None:
        return
    wanted = {one.id for one in documents if passes(add_date_seconds(one.metadata), asked)}
    for index in indexes:
        for found in (index.dense("word", 500, where), index.keyword("word", 500, where)):
            assert {passage.document for passage in index.passages(list(found))} == wanted


ANALYSIS = Analysis(("english", "russian", "greek", "turkish"))


@fuzzed
@given(TEXTS, TEXTS, st.integers(0, 400))
def test_any_question_and_answer(question: str, answer: str, place: int) -> None:
    ANALYSIS.asked(question)
    normalize_quotation(answer)
    assert cut_at_sentence(answer, place) in answer
    assert 0.0 <= token_f1(answer, [question, answer]) <= 1.0
    assert exact_match(answer, [answer]) or not answer.strip()
