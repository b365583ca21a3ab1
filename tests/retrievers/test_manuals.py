"""Manual pages are read as people read them: no macros, no fonts, no escapes."""

from __future__ import annotations

import gzip
import re
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import Problem, ReadOptions, read_documents
from ragwright.retrievers.documents.roff import is_manual, manual_text

MAN = r""".\" a comment
.de XX
.B never seen
..
.ie n .ds x hidden
.TH LS 1 "June 2024" "GNU"
.SH "NAME"
ls \- list directory contents
.SH SYNOPSIS
.B ls
[\fIOPTION\fR]... [\fI\,FILE\/\fP]...
.TP
\fB\-a\fR, \fB\-\-all\fR
do not ignore entries that begin with \(lq.\(rq
.if t \{\
.B never seen
.\}
.BR cat (1)
costs \[Eu]5, a path C:\eTemp
.PP
.nf
  for x in *; do
.fi
.TS
l l.
signal	value
HUP	1
.TE
"""
MDOC = r"""
.Dd May 1, 2024
.Dt GREET 1
.Sh NAME
.Nm greet
.Nd say hello
.Sh SYNOPSIS
.Nm
.Op Fl a Ar name
.Sh DESCRIPTION
See
.Xr cat 1 ,
.Xr ls 1 .
.Bl -tag
.It Fl v
Say more with
.Nm .
.El
"""
MARKS = re.compile(r"^[.'][A-Za-z]{2}\b|\\[fs(*&-]", re.MULTILINE)


def read(folder: Path) -> tuple[dict[str, tuple[str, str]], list[Problem]]:
    problems = list[Problem]()
    options = ReadOptions(on_error="skip", on_problem=problems.append)
    found = read_documents(folder, options)
    return {one.id: (one.title, one.text) for one in found}, problems


def test_both_languages_of_manual_pages_packed_or_not(tmp_path: Path) -> None:
    (tmp_path / "ls.1.gz").write_bytes(gzip.compress(MAN.encode()))
    (tmp_path / "greet.1").write_text(MDOC)
    (tmp_path / "dir.1").write_text(".so man1/ls.1\n")
    (tmp_path / "notes.1").write_text(".x this is version 1 of some notes\n")
    found, problems = read(tmp_path)
    title, text = found["ls.1.gz"]
    assert title == "ls(1)"
    assert not MARKS.search(text)
    assert "never seen" not in text
    assert text.startswith("## NAME\n\nls - list directory contents\n\n## SYNOPSIS\n\nls\n[OPTION]")
    for said in ("-a, --all", "with \u201c.\u201d", "cat(1)", "\u20ac5, a path C:\\Temp",
                 "```\n  for x in *; do\n```", "signal | value\nHUP | 1"):  # fmt: skip
        assert said in text
    title, text = found["greet.1"]
    assert title == "greet(1)"
    assert "greet\n\u2014 say hello" in text
    assert "[-a name]" in text
    assert "cat(1),\nls(1)." in text
    assert "-v\nSay more with\ngreet." in text
    assert found["notes.1"][1].startswith(".x this is")
    assert [(one.place, one.reason) for one in problems] == [
        ("dir.1", "it only refers to another manual page")
    ]


PIECES = st.sampled_from(
    ['.TH A 1', ".Sh", ".Op Fl", ".It Xo", ".Nm", ".Xr a", ".de X", "..", ".if n \\{", ".\\}", "\\",
     "\\f", "\\(", "\\[", "\\*", "\\h'", ".TS", "T{", '."', ".B \"", "'", ".nf", "a", "\0", "\t"]
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(st.lists(PIECES | st.text(max_size=5), max_size=30), st.sampled_from(["\n", " ", ""]))
def test_any_page_is_read(pieces: list[str], between: str) -> None:
    manual_text(".TH A 1\n" + between.join(pieces))
    is_manual(between.join(pieces))


@pytest.mark.parametrize("piece", [".Op ", "\\*[", ") Ns ", '"" ', ".if \\{", "\\h'", "[[", ".so "])
def test_large_pages_take_no_longer_than_their_size(piece: str) -> None:
    started = time.process_time()
    manual_text(".Dd A\n.Op " + piece * 20_000)
    is_manual(piece * 100_000)
    assert time.process_time() - started < 5
