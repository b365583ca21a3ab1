"""What a file gave: its title, its text, and which metadata holds from where on."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(slots=True)
class FileText:
    """What a file gave.

    Attributes:
        title: Its own; may be empty.
        text: All of it.
        places: From which character on which metadata holds: pages, sheets, slides.
        notes: What is not in the text.
        attached: Files that a mail holds: each its name, and its bytes in base64.
    """

    title: str
    text: str
    places: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    attached: list[tuple[str, str]] = field(default_factory=list)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, told: dict[str, Any]) -> FileText:
        """Build it of what `as_dict` gave, gone through JSON."""
        places = [(int(start), dict(facts)) for start, facts in told["places"]]
        attached = [(str(name), str(data)) for name, data in told["attached"]]
        notes = [*map(str, told["notes"])]
        return cls(str(told["title"]), str(told["text"]), places, notes, attached)
