"""Reads days as people write them: "May 1st, 2024", "1 May 2024", "2024/05/01", "1.5.2024".

What may be two days ("01/05/2024") stays as it is.
"""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Any

_DAYS = ("%B %d %Y", "%b %d %Y", "%d %B %Y", "%d %b %Y", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y")
_TIMES = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I %p")
_ORDINAL = re.compile(r"(?<=\d)(?:st|nd|rd|th)\b", re.IGNORECASE)
_BESIDE = re.compile(r"[,]|\b(?:mon|tues|wednes|thurs|fri|satur|sun)day\b|\b(?:the|of|at)\b", re.I)
_LONGEST = 60


def spell_date(text: str, annotation: Any) -> str:
    """Return a written day as ISO has it, where a date is wanted; any other text as it is."""
    if annotation not in (date, datetime) or len(text) > _LONGEST:
        return text
    plain = " ".join(_BESIDE.sub(" ", _ORDINAL.sub("", text)).rstrip(".").split())
    for time in _TIMES if annotation is datetime else ("",):
        for day in _DAYS:
            try:
                found = datetime.strptime(plain, day + time)  # noqa: DTZ007 (as it is written)
            except ValueError:
                continue
            return (found if annotation is datetime else found.date()).isoformat()
    return text
