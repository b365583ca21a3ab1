"""Light markup (reStructuredText, AsciiDoc, Org, wikis, LaTeX) is read as a page made of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.chunking.markdown import markdown_sections
from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.documents.plain import LIGHT

CELLS = st.text("abcxyzäß中é0123456789", min_size=1, max_size=9)
TABLES = st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12)
NAMES = ["NameA", "NameB", "NameC"]


def _rst_simple(rows: Sequence[Sequence[str]]) -> str:
    border = " ".join(["=" * 12] * 3)
    lines = [" ".join(f"{cell:<12}" for cell in row) for row in (NAMES, *rows)]
    return "\n".join([border, lines[0], border, *lines[1:], border])


def _rst_grid(rows: Sequence[Sequence[str]]) -> str:
    rule = "+" + "+".join(["-" * 14] * 3) + "+"
    lines = ["|" + "|".join(f" {cell:<13}" for cell in row) + "|" for row in (NAMES, *rows)]
    drawn = [part for line in lines for part in (line, rule)]
    return "\n".join([rule, drawn[0], rule.replace("-", "="), *drawn[2:]])


def _rst_list(rows: Sequence[Sequence[str]]) -> str:
    items = [f"   * - {row[0]}\n     - {row[1]}\n     - {row[2]}" for row in (NAMES, *rows)]
    return ".. list-table:: Caption\n   :header-rows: 1\n\n" + "\n".join(items)


def _rst_csv(rows: Sequence[Sequence[str]]) -> str:
    lines = ["   " + ", ".join(f'"{cell}"' for cell in row) for row in rows]
    return '.. csv-table::\n   :header: "NameA", "NameB", "NameC"\n\n' + "\n".join(lines)


def _asciidoc(rows: Sequence[Sequence[str]]) -> str:
    lines = [" ".join(f"|{cell}" for cell in row) for row in rows]
    return "[%header]\n|===\n|NameA |NameB |NameC\n\n" + "\n".join(lines) + "\n|==="


def _asciidoc_cells(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"|{cell}" for row in (NAMES, *rows) for cell in row]
    return '[cols="3*",options="header"]\n|===\n' + "\n".join(lines) + "\n|==="


def _org(rows: Sequence[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in (NAMES, *rows)]
    return "\n".join([lines[0], "|---+---+---|", *lines[1:]])


def _wiki(rows: Sequence[Sequence[str]]) -> str:
    lines = [f'|-\n| style="x" | {row[0]} || {row[1]}\n| {row[2]}' for row in rows]
    head = '{| class="wikitable"\n! NameA !! NameB\n! scope="col" | NameC\n'
    return head + "\n".join(lines) + "\n|}"


def _latex(rows: Sequence[Sequence[str]]) -> str:
    lines = [" & ".join(row) + r" \\" for row in (NAMES, *rows)]
    return "\n".join([r"\begin{tabular}{l|rr}", r"\hline", lines[0], r"\hline", *lines[1:],
                      r"\hline", r"\end{tabular}"])  # fmt: skip


WAYS: list[tuple[str, Callable[[Sequence[Sequence[str]]], str]]] = [
    (".rst", _rst_simple), (".rst", _rst_grid), (".rst", _rst_list), (".rst", _rst_csv),
    (".adoc", _asciidoc), (".adoc", _asciidoc_cells), (".org", _org), (".wiki", _wiki),
    (".tex", _latex),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "write"), WAYS)
@settings(max_examples=15, deadline=None)
@given(TABLES)
def test_rows_say_their_columns(
    suffix: str, write: Callable[[Sequence[Sequence[str]]], str], rows: list[list[str]]
) -> None:
    text = LIGHT[suffix](f"Before.\n\n{write(rows)}\n\nAfter.\n").text
    wanted = [
        "; ".join(f"{name}: {cell}" for name, cell in zip(NAMES, row, strict=True)) for row in rows
    ]
    lines = text.splitlines()
    assert lines[lines.index("NameA | NameB | NameC") + 1 :][: len(rows)] == wanted
    assert (lines[0], lines[-1]) == ("Before.", "After.")


HEADED = {
    "a.rst": "Title\n=====\n\nIntro.\n\nPart\n----\n\nText.\n\nDeep\n~~~~\n\nMore.\n\n"
             "Last\n----\n\nE.",
    "b.rst": "=====\nTitle\n=====\n\nIntro.\n\nPart\n====\n\nText.\n\nDeep\n....\n\nMore.\n\n"
             "Last\n====\n\nE.",
    "a.adoc": "= Title\n\nIntro.\n\n== Part\n\nText.\n\n=== Deep\n\nMore.\n\n== Last\n\nE.",
    "b.adoc": "Title\n=====\n\nIntro.\n\nPart\n----\n\nText.\n\nDeep\n~~~~\n\nMore.\n\n"
             "Last\n----\n\nE.",
    "a.org": "#+TITLE: Title\nIntro.\n* Part :tag:\nText.\n** Deep\nMore.\n* Last\nE.",
    "a.wiki": "= Title =\nIntro.\n== Part ==\nText.\n=== Deep ===\nMore.\n== Last ==\nE.",
    "b.wiki": "h1. Title\nIntro.\nh2. Part\nText.\nh3. Deep\nMore.\nh2. Last\nE.",
    "a.tex": "\\documentclass{article}\\title{Title}\\begin{document}\\maketitle Intro.\n"
             "\\section{Part}\\label{p} Text.\n\\subsection*{Deep} More.\n\\section{Last} E.\n"
             "\\end{document} lost",
}  # fmt: skip


@pytest.mark.parametrize("name", HEADED)
def test_headings_are_known(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(HEADED[name])
    (document,) = read_documents(tmp_path / name)
    assert document.title == "Title"
    found = [
        (one.headings[-1], document.text[slice(*one.span)].split("\n", 1)[1].strip())
        for one in markdown_sections(document.text)
    ]
    assert found == [("Title", "Intro."), ("Part", "Text."), ("Deep", "More."), ("Last", "E.")]


CODE = "# no heading\nif x:\n    y = 1"
CODED = {
    ".rst": ".. code-block:: python\n   :linenos:\n\n   # no heading\n   if x:\n       y = 1\n",
    ".adoc": f"[source,python]\n----\n{CODE}\n----\n",
    ".org": f"#+BEGIN_SRC python\n{CODE}\n#+END_SRC\n",
    ".tex": f"\\begin{{lstlisting}}[language=Python]\n{CODE}\n\\end{{lstlisting}}\n",
}


@pytest.mark.parametrize("suffix", CODED)
def test_code_stays_as_it_is_and_holds_no_headings(suffix: str) -> None:
    text = LIGHT[suffix](f"Before\n\n{CODED[suffix]}\nAfter\n").text
    assert f"\n{CODE}\n```" in text
    assert [one.headings for one in markdown_sections(text)] == [()]


SHOWN = [
    (".rst", "See :ref:`the guide <g>`, :class:`~a.B`, ``x``, `site <https://x.org>`_ [#f]_.",
     "See the guide, `a.B`, `x`, [site](https://x.org) [f]."),
    (".rst", "A\\ B |v| c\n\n.. |v| replace:: 3.1\n\n.. a comment\n   goes on\n", "AB 3.1 c"),
    (".rst", ".. note:: Mind\n   the gap.\n\n   - one", "Note: Mind\nthe gap.\n\n- one"),
    (".rst", ".. versionadded:: 3.2\n", "Added in 3.2"),
    (".rst", ".. function:: f(a)\n\n   Does it.\n", "f(a)\n\nDoes it."),
    (".rst", "Use::\n\n    # x\n\nEnd", "Use:\n\n```\n# x\n```\n\nEnd"),
    (".rst", "a ---- b\n\n----\n\nc", "a ---- b\n\n----\n\nc"),
    (".adoc", ":v: 3.1\nIn {v}: link:a.html[here], <<x,there>>, https://x.org[X^] {unknown}.",
     "In 3.1: [here](a.html), there, [X](https://x.org) {unknown}."),
    (".adoc", "[NOTE]\n====\nMind.\n====\n// no\n////\nno\n////\n* a\n** b\n. c",
     "Note:\nMind.\n\n* a\n  * b\n1. c"),
    (".org", "# no\n:PROPERTIES:\n:ID: 1\n:END:\nSee [[https://x.org][X]] and [[y]].",
     "See [X](https://x.org) and y."),
    (".wiki", "'''B''' [[A|b]] [[C]] [//x.org X]<!-- no -->\n# one\n## two\nx<ref>n</ref>",
     "**B** b C [X](//x.org)\n1. one\n  1. two\nx [n]"),
    (".wiki", "# a\n## b\n## c\n# d\nt\n# e\n\n# f", "1. a\n  1. b\n  2. c\n2. d\nt\n1. e\n\n1. f"),
    (".adoc", ". a\ntoo\n.. b\n+\nmore\n. c\n\n. d\n\nP.\n\n. e\n----\n1. x\n1. y\n----",
     "1. a\ntoo\n  1. b\nmore\n2. c\n\n3. d\n\nP.\n\n1. e\n\n```\n1. x\n1. y\n```"),
    (".rst", "#. a\n#. b\n\n   more\n\n#. c\n\nP.\n\n4. d\n#. e",
     "1. a\n2. b\n\n   more\n\n3. c\n\nP.\n\n4. d\n5. e"),
    (".tex", "A~\\emph{b \\textbf{c}}, \\\"u \\c{c} 5\\% % no\n``q'' --- \\own{d} $x_{1}$",
     "A b c, ü ç 5% “q” — \\own{d} $x_{1}$"),
    (".tex", "\\newcommand{\\ours}{Net}\\ours{} is\\footnote{n} \\verb|a_b| \\cite[p.~3]{k}.",
     "Net is [n] `a_b` [k]."),
    (".tex", "\\begin{enumerate}\\item a\\item b\\begin{enumerate}\\item c\\end{enumerate}"
     "\\item[x] d\\item e\\end{enumerate}\\begin{enumerate}[label=\\textbf{Q\\Roman*}:, start=3]"
     "\\item f\\end{enumerate}\\begin{enumerate}[resume]\\item g\\setcounter{enumi}{7}\\item h"
     "\\end{enumerate}\\begin{itemize}\\item i\\end{itemize}\\begin{enumerate}[(a)]\\item j",
     "1. a\n2. b\n\n(a) c\n\n- x d\n3. e\n\nQIII: f\n\n4. g\n8. h\n\n- i\n\n(a) j"),
    (".tex", "\\setlength{\\parskip}{0pt}a\\addcontentsline{toc}{section}{b}", "a"),
]  # fmt: skip


@pytest.mark.parametrize(("suffix", "written", "shown"), SHOWN)
def test_text_is_what_a_reader_sees(suffix: str, written: str, shown: str) -> None:
    assert LIGHT[suffix](written).text == shown + "\n"


MARKS = ["= ", "==\n", "+--+\n", "| ", "|===\n", "{|\n", "|}\n", ".. a::\n", "   * - ", "`", "\\",
         "{", "}", "\\item[", "$", "\\[", "\\begin{tabular}", "\\end{tabular}", "#+begin_src\n",
         ":A:\n", "[[", "]]", "<!--", "::\n\n  ", "word ", "\n", "\t", "\0", "日本"]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(LIGHT)), st.lists(st.sampled_from(MARKS), max_size=60))
def test_any_marks_are_read(suffix: str, parts: list[str]) -> None:
    LIGHT[suffix]("".join(parts))
