from __future__ import annotations

from pathlib import Path

import pytest

from ragwright.optimize.questions.data import Question
from ragwright.optimize.questions.test_looks import FILE, record_test_look

TEST = [Question("1", "Who?", ("me",)), Question("2", "When?", ("now",))]


def test_every_run_that_looks_counts_once(tmp_path: Path) -> None:
    assert record_test_look(tmp_path, TEST, "first") == 1
    assert record_test_look(tmp_path, TEST, "first") == 1
    assert record_test_look(tmp_path, TEST[::-1], "second") == 2


def test_other_questions_or_answers_are_another_test_set(tmp_path: Path) -> None:
    record_test_look(tmp_path, TEST, "first")
    assert record_test_look(tmp_path, TEST[:1], "second") == 1
    assert record_test_look(tmp_path, [TEST[0], Question("2", "When?", ("then",))], "third") == 1


@pytest.mark.parametrize(
    "line", [b'{"test": "abc', b'{"test": "abc\n', b"\x93\xff\x00", b"[]\n", b"{}", b"[" * 100_000]
)
def test_a_line_that_is_damaged_is_no_look(tmp_path: Path, line: bytes) -> None:
    record_test_look(tmp_path, TEST, "first")
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes() + line)
    assert record_test_look(tmp_path, TEST, "second") == 2
    assert record_test_look(tmp_path, TEST, "third") == 3
