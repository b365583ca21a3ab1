"""Days, and texts that are absent, are read as people write them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import pytest

from ragwright.programs.replies.broken_json import parse_json_objects
from ragwright.programs.replies.values import read_value

DAY = date(2024, 5, 1)


@pytest.mark.parametrize(
    ("said", "kind", "meant"),
    [
        ("May 1st, 2024", date, DAY),
        ("Wednesday, 1 May 2024", date, DAY),
        ("2024/05/01", date | None, DAY),
        ("1.5.2024", date, DAY),
        ("May 1, 2024 at 10:30 AM", datetime, datetime.fromisoformat("2024-05-01T10:30")),
        ("null", str | None, None),
        ("None", str | None, None),
        ("None of them", str | None, "None of them"),
        ("none", Literal["none", "some"] | None, "none"),
    ],
)
def test_days_and_absent_texts_are_read_as_they_are_meant(said: str, kind: Any, meant: Any) -> None:
    assert read_value(said, kind)[0] == meant


def test_what_may_be_two_days_is_no_day() -> None:
    with pytest.raises(ValueError, match="valid date"):
        read_value("01/05/2024", date)


def test_a_string_that_ends_in_a_backslash_is_closed() -> None:
    said = '{"folder": "C:\\\\"} or {"folder": "D:"}'
    assert parse_json_objects(said) == [{"folder": "C:\\"}, {"folder": "D:"}]
