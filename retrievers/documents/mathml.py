"""Writes a formula of a page (MathML) on one line: as TeX where it says that itself."""

from __future__ import annotations

from typing import Any

_JOINTS = {"mfrac": "/", "msup": "^", "msub": "_", "mover": "^", "munder": "_"}


def formula(tag: Any) -> str:
    """Return what a `math` element says: `$x^{2}$`, or `(1)/(2)+x^2` of one without TeX."""
    for said in tag("annotation"):
        if "tex" in str(said.get("encoding", "")):
            return f"${said.get_text().strip()}$"
    for said in tag(["annotation", "annotation-xml"]):
        said.decompose()
    return " ".join(_line(tag).split())


def _line(tag: Any) -> str:
    parts = [_line(child) for child in tag.find_all(True, recursive=False)]
    if not parts:
        return str(tag.get_text())
    if tag.name in _JOINTS and len(parts) == 2:
        return _JOINTS[tag.name].join(map(_bound, parts))
    if tag.name in {"msubsup", "munderover"} and len(parts) == 3:
        return f"{_bound(parts[0])}_{_bound(parts[1])}^{_bound(parts[2])}"
    if tag.name == "mroot" and len(parts) == 2:
        return f"({parts[0]})^(1/{_bound(parts[1])})"
    line = (" " if tag.name in {"mtr", "mtable"} else "").join(parts)
    return f"\u221a({line})" if tag.name == "msqrt" else line


def _bound(part: str) -> str:
    return part if part.strip().isalnum() else f"({part})"
