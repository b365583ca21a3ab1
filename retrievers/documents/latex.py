r"""LaTeX in, Markdown with rows of tables as lines out: as a reader of its pages has it.

Formulas stay as they are written, and so does a command that is not known: it may be a word that
the document defines. What sets the looks is left out. By the commands of articles and books, in
linear time; not a whole TeX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from unicodedata import normalize

from ragwright.retrievers.documents.file_text import FileText
from ragwright.retrievers.documents.latex_lists import LatexLists
from ragwright.retrievers.documents.line_blocks import fenced, join_lines, rows_as_lines

_BODY, _END = r"\begin{document}", r"\end{document}"
_COMMENT = re.compile(r"(?<!\\)((?:\\\\){0,9})%[^\n]*\n?[ \t]*")
_VERBATIM = re.compile(
    r"\\begin\{(verbatim|Verbatim|lstlisting|minted|alltt)\*?\}(?:\[[^\]\n]{0,300}\]|\{[^}\n]{0,60}\})*"
)
_TABULAR = re.compile(r"\\begin\{(tabular[x*y]?|longtable|supertabular)\}")
_DEFINED = re.compile(
    r"\\(?:newcommand|renewcommand|providecommand|def)\*?\s*\{?(\\[A-Za-z]{1,40})\}?\s*\{"
)
_AROUND = {
    **{name: (f"\n\n{mark} ", "\n\n") for mark, names in (
        ("#", "part chapter title"), ("##", "section frametitle"), ("###", "subsection"),
        ("####", "subsubsection"), ("#####", "paragraph"), ("######", "subparagraph"),
    ) for name in names.split()},
    **dict.fromkeys(("footnote", "footnotetext", "thanks"), (" [", "]")),
    **dict.fromkeys(
        ("emph textbf textit texttt textsc textrm textsf textsl textup textmd underline uline text "
         "mbox hbox caption author date subtitle institute centerline enquote hl uppercase "
         "lowercase textnormal subcaption keywords abstract gls acrshort acrlong").split(),
        ("", "")),
}  # fmt: skip
"""What stands before and behind what a command shows of the braces behind it."""
_NAMED = {
    **dict.fromkeys(
        ("cite citep citet parencite textcite autocite ref eqref autoref cref pageref Cref "
         "nameref").split(), "[{}]"),
    "url": "<{}>", "bibitem": "\n\n[{}]",
}  # fmt: skip
"""Commands that name another place, and how that is shown."""
_DEFINING = frozenset({"newcommand", "renewcommand", "providecommand", "def"})
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_ARGUMENTS = re.compile(r"\s{0,9}(?:\\[A-Za-z]{1,40}|\[[^\]\n]{0,60}\]|#\d){0,12}\s{0,9}")
_UNSHOWN = frozenset(
    "label vspace hspace includegraphics bibliography bibliographystyle usepackage index setlength "
    "pagestyle thispagestyle addbibresource documentclass setcounter input include "
    "pagenumbering phantomsection addcontentsline addtolength addtocounter".split()
)
"""Commands that show nothing of what is in braces behind them."""
_SEVERAL = {"setlength": 2, "setcounter": 2, "addtolength": 2, "addtocounter": 2,
            "addcontentsline": 3}  # fmt: skip
"""How many braces, where it is not one."""
_LISTS = frozenset({"enumerate", "itemize", "description"})
_LOOKS = frozenset(
    "maketitle tableofcontents newpage clearpage pagebreak noindent centering small large Large "
    "footnotesize normalsize bf it tt em sc rm hline toprule midrule bottomrule bigskip medskip "
    "smallskip hfill vfill par appendix raggedright scriptsize tiny huge Huge LARGE itshape "
    "bfseries ttfamily protect nopagebreak linebreak newline frontmatter mainmatter backmatter "
    "listoffigures listoftables printbibliography quad qquad displaystyle".split()
)
_SIGNS = {
    "LaTeX": "LaTeX", "TeX": "TeX", "ldots": "…", "dots": "…", "textendash": "\u2013", "ss": "ß",
    "textemdash": "—", "textbackslash": "\\", "textasciitilde": "~", "copyright": "©", "S": "§",
    "ae": "æ", "oe": "œ", "AE": "Æ", "OE": "Œ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å",
    "l": "ł", "L": "Ł", "i": "\u0131", "euro": "€", "pounds": "£", "P": "¶", "dag": "†",
    "ddag": "‡",
    "textregistered": "®", "texttrademark": "™", "degree": "°", "textdegree": "°",
    "textquotesingle": "'", "textasciicircum": "^", "textbar": "|", "today": "",
}  # fmt: skip
_ACCENTS = {"'": "\u0301", "`": "\u0300", '"': "\u0308", "^": "\u0302", "~": "\u0303",
            "=": "\u0304", ".": "\u0307", "c": "\u0327", "v": "\u030c", "u": "\u0306",
            "H": "\u030b", "k": "\u0328", "r": "\u030a", "b": "\u0331", "d": "\u0323"}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<math>\$\$?|\\\(|\\\[)"
    r"|\\(?P<accent>['`\"^~=.]|[cvuHkrbd](?![A-Za-z]))\s{0,3}(?:\{\\?(?P<bare>\w?)\}|\\?(?P<letter>\w))"
    r"|\\(?P<env>begin|end)\s{0,3}\{(?P<kind>[A-Za-z]{1,40}\*?)\}"
    r"(?:\[(?P<asked>[^\]\n]{0,200})\]|(?<=multicols\})\{\d\}|(?<=thebibliography\})\{[^{}\n]{0,60}\})?"
    r"|\\verb\*?(?P<bar>[^\w\s*])(?P<verb>[^\n]{0,500}?)(?P=bar)"
    r"|\\(?P<name>[A-Za-z@]{1,60})\*?"
    r"|\\\\(?:\[[^\]\n]{0,30}\])?|\\(?P<sign>[^A-Za-z])|(?P<open>\{)|(?P<close>\})"
    r"|(?P<dash>-{2,3})|(?P<quotes>``|'')|(?P<tie>~)"
)
_LETTERS = re.compile(
    r"\\(?P<accent>['`\"^~=.]|[cvuHkrbd](?![A-Za-z]))\s{0,3}"
    r"(?:\{\\?(?P<bare>\w?)\}|\\?(?P<letter>\w))"
    r"|\\(?P<name>ss|ae|oe|AE|OE|o|O|aa|AA|l|L|i)(?![A-Za-z])\s{0,3}(?:\{\})?"
    r"|\\(?P<sign>[&%$#_])"
)
_KEPT_CAPITALS = re.compile(r"(=\s{0,9})?\{([\w'-]{1,60})\}")
_OPTION = re.compile(r"\s{0,9}\[([^\]\n]{0,300})\]")
_MATHS = frozenset(
    "equation align gather multline eqnarray displaymath math alignat flalign IEEEeqnarray".split()
)
_LONGEST_FORMULA = 4000
_TYPED = {"---": "—", "--": "\u2013", "``": "“", "''": "”", "~": " "}
_TITLED = {"abstract": "## Abstract", "thebibliography": "## References"}


def latex_text(text: str) -> FileText:
    """Return the text of a LaTeX file: of a whole document its title and its body."""
    code, text = _without_code(text)
    text = _COMMENT.sub(r"\1", text)
    head, begun, body = text.partition(_BODY)
    names = dict(_definitions(head if begun else text))
    body = body.partition(_END)[0] if begun else text
    title = _first_group(head + body, r"\title")
    shown = _LatexText(names, code).read(body)
    if begun and title and r"\title" not in body:
        author = _LatexText(names, code).read(_first_group(head, r"\author")).strip()
        title = " ".join(_LatexText(names, code).read(title).split())
        shown = f"# {title}\n\n{author}\n\n{shown}"
    return join_lines([part.strip() for part in _parts(shown)])


def bibliography_text(text: str) -> FileText:
    """Return entries of BibTeX with letters in the place of their accents, and whole words.

    >>> bibliography_text('title = {{DNA} of {P}umps}, by = {M{\\\\"u}ller}, year = {2020}').text
    'title = {DNA of Pumps}, by = {Müller}, year = {2020}'
    """
    text = _LETTERS.sub(_letter, text)
    return FileText("", _KEPT_CAPITALS.sub(lambda word: word[0] if word[1] else word[2], text))


def _letter(found: re.Match[str]) -> str:
    if found["accent"]:
        letter = found["bare"] or found["letter"] or ""
        return normalize("NFC", letter + _ACCENTS[found["accent"]]) if letter else ""
    return found["sign"] or _SIGNS[found["name"]]


def _parts(text: str) -> Iterator[str]:
    """Yield the lines of a text, code between fences as one."""
    for number, part in enumerate(text.split("\0")):
        if number % 2:
            yield from ("", part, "")
        else:
            yield from part.splitlines()


def _without_code(text: str) -> tuple[list[str], str]:
    """Take out code, in which nothing is a command, and put its number in its place."""
    code, kept, at = list[str](), list[str](), 0
    while found := _VERBATIM.search(text, at):
        mark = f"\\end{{{found[1]}"
        end = text.find(mark, found.end())
        if end < 0:
            break
        kept += [text[at : found.start()], f"\0{len(code)}\0"]
        code += fenced(text[found.end() : end].splitlines())[1:2] or [""]
        close = text.find("}", end + len(mark))
        at = close + 1 if close >= 0 else len(text)
    return code, "".join([*kept, text[at:].replace("\0", "")])


def _definitions(text: str) -> Iterator[tuple[str, str]]:
    """Yield words that a document defines: `\\newcommand{\\ours}{SuperNet}`."""
    ends = _braces(text)
    for found in _DEFINED.finditer(text):
        said = text[found.end() : ends.get(found.end() - 1, 0)]
        if "#" not in said and len(said) < 200 and found[1] not in said:
            yield found[1][1:], said


def _braces(text: str) -> dict[int, int]:
    """Return where each brace that is opened is closed."""
    ends: dict[int, int] = {}
    opened: list[int] = []
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            opened.append(brace.start())
        elif brace[0] == "}" and opened:
            ends[opened.pop()] = brace.start()
    return ends


def _first_group(text: str, name: str) -> str:
    """Return what is in braces behind the first command of a name that has such."""
    found = re.search(re.escape(name) + r"\s{0,9}(?:\[[^\]\n]{0,200}\])?\s{0,9}\{", text)
    return text[found.end() : _braces(text).get(found.end() - 1, 0)] if found else ""


class _LatexText:
    """Reads text token by token; knows the words a document defines, and its code by number."""

    def __init__(self, names: dict[str, str], code: Sequence[str]) -> None:
        self._names = names
        self._code = code
        self._lists = LatexLists()

    def read(self, text: str) -> str:
        made, at, open_kinds = list[str](), 0, set[str]()
        for found in _TABULAR.finditer(text):
            if found.start() < at or found[1] in open_kinds:
                continue
            end = text.find(f"\\end{{{found[1]}", found.end())
            if end < 0:
                open_kinds.add(found[1])
                continue
            made += [self._shown(text[at : found.start()]), *self._table(text[found.end() : end])]
            at = text.find("}", end) + 1 or len(text)
        made.append(self._shown(text[at:]))
        return re.sub(r"\0(\d{1,9})\0", self._coded, "".join(made))

    def _coded(self, mark: re.Match[str]) -> str:
        number = int(mark[1])
        return f"\0{self._code[number]}\0" if number < len(self._code) else ""

    def _table(self, body: str) -> Iterator[str]:
        body = re.sub(r"\A\s*(?:\[[^\]\n]{0,20}\]|\{[^{}\n]{0,60}\}(?=\s*\{))*\s*", "", body)
        body = body[_braces(body[:2000]).get(0, -1) + 1 :] if body[:1] == "{" else body
        lines = re.split(r"\\\\(?:\[[^\]\n]{0,30}\])?|\\tabularnewline\b", body)
        ruled = [bool(re.search(r"\\(?:hline|midrule)\b", line)) for line in lines]
        cells = [re.split(r"(?<!\\)&", line) for line in lines]
        rows = [[" ".join(self._shown(_cell(one)).split()) for one in row] for row in cells]
        kept = [(row, rule) for row, rule in zip(rows, ruled, strict=True) if any(row)]
        headed = next((n for n, (_, rule) in enumerate(kept) if n and rule), 0)
        said = rows_as_lines([row for row, _ in kept], headed if headed < len(kept) else 0)
        yield "\n" + "\n".join(said) + "\n"

    def _shown(self, text: str) -> str:
        """Return what tokens show; of braces what is in them."""
        made = list[str]()
        closing = list[str]()
        ends = _braces(text)
        at = 0
        while found := _TOKEN.search(text, at):
            made.append(text[at : found.start()])
            at = found.end()
            if found["math"]:
                at = _formula_end(text, at, found["math"])
                made.append(text[found.start() : at])
            elif found["open"]:
                closing.append("")
            elif found["close"]:
                made.append(closing.pop() if closing else "")
            elif found["name"]:
                at, said, end = self._command(text, at, found["name"], ends)
                made.append(said)
                closing += [end] if end is not None else []
            else:
                self._note_list(found)
                made.append(_plain(found))
        return "".join([*made, text[at:], *reversed(closing)])

    def _note_list(self, token: re.Match[str]) -> None:
        if token["env"] == "begin" and token["kind"].rstrip("*") in _LISTS:
            self._lists.begin(token["kind"].rstrip("*"), token["asked"] or "")
        elif token["env"] == "end" and token["kind"].rstrip("*") in _LISTS:
            self._lists.end()

    def _command(
        self, text: str, at: int, name: str, ends: Mapping[int, int]
    ) -> tuple[int, str, str | None]:
        """Return where a command ends, what it shows before braces, and what behind them."""
        option = _OPTION.match(text, at)
        behind = option.end() if option else at
        end = ends.get(behind, behind - 1) + 1
        said = text[behind + 1 : end - 1]
        if name in _DEFINING or name in _UNSHOWN:
            if name in _DEFINING:
                end = self._defined(text, at, ends)
            else:
                end = self._unshown(text, end, name, said, ends)
            return end, "", None
        if name == "item":  # what it is called by itself takes the place of its number
            mark = f"- {self._shown(option[1])}" if option else self._lists.mark()
            return behind, f"\n{mark}", None
        if end == behind or name in self._names or name in _SIGNS or name in _LOOKS:
            return at if said or end == behind else end, self._word(name), None
        if name in _NAMED:
            return end, _NAMED[name].format(said), None
        if name == "href" and text[end : end + 1] == "{":
            return end + 1, "[", f"]({said})"
        before, after = _AROUND.get(name, (self._word(name) + "{", "}"))
        return behind + 1, before, after

    def _unshown(self, text: str, end: int, name: str, said: str, ends: Mapping[int, int]) -> int:
        """Return where the last braces end of a command that shows nothing."""
        for _ in range(_SEVERAL.get(name, 1) - 1):
            if name == "setcounter":
                self._lists.set(said, text[end + 1 : ends.get(end, end)])
            end = ends.get(end, end - 1) + 1
        return end

    def _defined(self, text: str, at: int, ends: Mapping[int, int]) -> int:
        """Return where the definition of a command ends."""
        for _ in range(2):
            found = _ARGUMENTS.match(text, at)
            at = ends.get(found.end(), found.end() - 1) + 1 if found else at
        return at

    def _word(self, name: str) -> str:
        if name in self._names:
            return self._names[name]
        return _SIGNS.get(name, "" if name in _LOOKS else f"\\{name}")


def _cell(cell: str) -> str:
    """Return a cell without what spans its columns or rows."""
    return re.sub(r"\\(?:multicolumn|multirow)\s?\{[^{}\n]{0,20}\}\s?\{[^{}\n]{0,40}\}|"
                  r"\\c(?:line|midrule)(?:\([lr]{1,2}\))?\{[^{}\n]{0,20}\}", "", cell)  # fmt: skip


def _plain(found: re.Match[str]) -> str:
    """Return the text that a token is which no command begins."""
    if found["accent"]:
        return _letter(found)
    if found["env"]:
        return _environment(found["kind"].rstrip("*"), found["env"] == "begin")
    if found["sign"]:
        return " " if found["sign"] in ", ;:!/" else found["sign"]
    if found["bar"]:
        return f"`{found['verb']}`"
    said = found["dash"] or found["quotes"] or found["tie"] or "\n"
    return _TYPED.get(said, said)


def _formula_end(text: str, start: int, mark: str) -> int:
    """Return where a formula ends that begins before `start`; there if it is never closed."""
    close = {"\\(": "\\)", "\\[": "\\]"}.get(mark, mark)
    at, last = start, start + _LONGEST_FORMULA
    while (end := text.find(close, at, last)) >= 0:
        if mark[0] == "\\" or text[end - 1] != "\\":
            return end + len(close)
        at = end + 1
    return start


def _environment(kind: str, begins: bool) -> str:
    if kind in _MATHS:
        return "\n$$\n"
    return f"\n\n{_TITLED[kind]}\n\n" if begins and kind in _TITLED else "\n"


__all__ = ["bibliography_text", "latex_text"]
