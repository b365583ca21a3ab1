"""Text in the encodings that people's files have, most of which say nothing about it."""

from __future__ import annotations

import bz2
import gzip
import lzma
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.documents.decoding import UndecodableText, decode_text
from ragwright.retrievers.errors import InputError

RUSSIAN = "Сотрудники имеют право на тридцать дней оплачиваемого отпуска в год."
UKRAINIAN = "Працівники мають право на тридцять днів оплачуваної відпустки на рік."
GREEK = "Οι εργαζόμενοι δικαιούνται τριάντα ημέρες άδειας με αποδοχές τον χρόνο."
HEBREW = "עובדים זכאים לשלושים ימי חופשה בתשלום בשנה. יש להגיש בקשה למנהל."
ARABIC = "يحق للموظفين ثلاثون يوما من الإجازة المدفوعة في السنة. يقدم الطلب إلى المدير."
TURKISH = "Çalışanların yılda otuz gün ücretli izin hakkı vardır. Başvuru yöneticiye yapılır."
POLISH = "Pracownikom przysługuje trzydzieści dni płatnego urlopu rocznie. Żółć, gęś, jaźń."
CZECH = "Zaměstnanci mají nárok na třicet dní placené dovolené ročně. Žádost se podává včas."
HUNGARIAN = "Az alkalmazottaknak évente harminc nap fizetett szabadság jár. Őrült tűz."
GERMAN = "Jeder Beschäftigte hat dreißig Tage bezahlten Urlaub im Jahr, früher weniger."
FRENCH = "Chaque employé a droit à trente jours de congés payés par an, déposés à l'avance."
THAI = "พนักงานมีสิทธิลาพักร้อนโดยได้รับค่าจ้างสามสิบวันต่อปี"
HINDI = "कर्मचारियों को प्रति वर्ष तीस दिन का सवेतन अवकाश मिलता है।"
CHINESE = "员工每年享有三十天带薪休假。申请须提前两周提交给主管。"
TRADITIONAL = "員工每年享有三十天帶薪休假。申請須提前兩週提交給主管。"
JAPANESE = "従業員には年間三十日の有給休暇があります。申請は二週間前までに上司に提出してください。"
KOREAN = "직원은 매년 삼십 일의 유급 휴가를 받습니다. 신청서는 상사에게 제출해야 합니다."
ENGLISH = "Every employee has thirty days of paid leave.\nIt’s “fine”."

ENCODINGS = {
    RUSSIAN: ("koi8-r", "cp1251", "iso8859-5", "cp866", "mac-cyrillic"),
    UKRAINIAN: ("koi8-u", "cp1251"),
    GREEK: ("iso8859-7", "cp1253"),
    HEBREW: ("cp1255", "iso8859-8"),
    ARABIC: ("cp1256", "iso8859-6"),
    TURKISH: ("cp1254", "iso8859-9"),
    POLISH: ("cp1250", "iso8859-2"),
    CZECH: ("cp1250", "iso8859-2"),
    HUNGARIAN: ("cp1250", "iso8859-2"),
    GERMAN: ("cp1252", "cp850", "mac-roman"),
    FRENCH: ("cp1252", "latin-1"),
    THAI: ("cp874", "tis-620"),
    CHINESE: ("gb18030", "gbk"),
    TRADITIONAL: ("big5",),
    JAPANESE: ("shift_jis", "euc-jp", "iso2022_jp"),
    KOREAN: ("euc-kr", "cp949", "johab"),
    HINDI: (),
    ENGLISH: ("cp1252",),
}
WIDE = ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
SPOKEN = [(text, name) for text, names in ENCODINGS.items() for name in (*names, *WIDE)]


@pytest.mark.parametrize(("text", "encoding"), SPOKEN)
@pytest.mark.parametrize("times", [1, 30])
def test_what_an_encoding_wrote_is_read(text: str, encoding: str, times: int) -> None:
    written = f"{text}\n" * times
    found = decode_text(written.encode(encoding))
    assert found.text == written
    assert found.guess  # whoever ingests is told


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from([*ENCODINGS, "30 %", "(a) b@c.de", "x = 1;"]), min_size=1),
    st.sampled_from(WIDE),
)
def test_lines_of_many_scripts_are_told_without_a_mark(lines: list[str], encoding: str) -> None:
    written = "\n".join([*lines[:3], GERMAN]) + "\n"
    assert decode_text(written.encode(encoding)).text == written


@settings(max_examples=200, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(20, 400))
def test_noise_with_a_nul_is_no_text(random: Random, size: int) -> None:
    with pytest.raises(UndecodableText):
        decode_text(b"\x7fELF\0\0" + random.randbytes(size) + b"\x01\x02\x00\x03")


def test_an_encoding_that_is_named_is_taken(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Ёлка".encode("koi8-r"))
    (tmp_path / "b.txt").write_text("Ёлка", encoding="utf-8")
    (tmp_path / "c.html").write_bytes("<p>Ёлка</p>".encode("koi8-r"))
    (tmp_path / "d.txt").write_text("Ёлка", encoding="utf-16")
    notes: list[Problem] = []
    options = ReadOptions(encoding="koi8-r", on_note=notes.append)
    assert [one.text for one in read_documents(tmp_path, options)] == ["Ёлка"] * 4
    assert not notes
    for name, rows in {"r.csv": "id,text\n1,Ёж", "r.jsonl": '{"id": 1, "text": "Ёж"}'}.items():
        (tmp_path / name).write_bytes(rows.encode("koi8-r"))
        (document,) = read_documents(tmp_path / name, options)
        assert document.text == "Ёж"


@pytest.mark.parametrize("name", ["klingon", "rot13", "base64", "utf-8\0"])
def test_an_encoding_that_does_not_exist_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="no encoding"):
        ReadOptions(encoding=name)


def _zst(data: bytes) -> bytes:
    import pyarrow

    packed: Any = pyarrow.compress(data, "zstd", asbytes=True)
    return bytes(packed)


def test_packed_files_of_a_folder_are_read(tmp_path: Path) -> None:
    packers: dict[str, Callable[[bytes], bytes]] = {
        "gz": gzip.compress,
        "bz2": bz2.compress,
        "xz": lzma.compress,
        "zst": _zst,
    }
    for ending, pack in packers.items():
        (tmp_path / f"changelog.{ending}").write_bytes(pack(f"Version 1.2, {ending}".encode()))
        (tmp_path / f"page.html.{ending}").write_bytes(pack(b"<p>Leave: <b>30</b> days</p>"))
    (tmp_path / "all.tar.gz").write_bytes(gzip.compress(b"a\0\0\0\1\2\3" * 100))
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(b"a" * 1_000_000))
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"abc" * 100)[:-9])
    problems: list[Problem] = []
    options = ReadOptions(on_error="skip", on_problem=problems.append, max_bytes=900_000)
    found = {one.id: one.text for one in read_documents(tmp_path, options)}
    assert found == {f"changelog.{ending}": f"Version 1.2, {ending}" for ending in packers} | {
        f"page.html.{ending}": "Leave: **30** days" for ending in packers
    }
    assert [problem.place for problem in problems] == ["all.tar.gz", "bomb.gz", "cut.gz"]
    assert "more than 900,000" in problems[1].reason
    assert "damaged" in problems[2].reason


def test_a_table_whose_first_megabyte_is_ascii_is_read(tmp_path: Path) -> None:
    rows = "id,text\n" + "".join(f"{n},plain words to fill the file\n" for n in range(40_000))
    (tmp_path / "a.csv").write_bytes((rows + f'x,"{RUSSIAN}"').encode("cp1251"))
    *_, last = read_documents(tmp_path / "a.csv", ReadOptions())
    assert last.text == RUSSIAN


@settings(max_examples=60, deadline=None)
@given(st.sampled_from([RUSSIAN, CHINESE, THAI, GERMAN, KOREAN]), st.data())
def test_utf8_with_a_damaged_byte_loses_that_alone(text: str, data: st.DataObject) -> None:
    raw = f"{text}\n".encode() * 9
    at = data.draw(st.integers(0, len(raw)))
    found = decode_text(raw[:at] + b"\xff" + raw[at:])
    assert text in found.text
    assert "damaged" in found.guess
    cut = decode_text(raw[:-3])
    assert text in cut.text
