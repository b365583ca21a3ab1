"""Reads manual pages (man and mdoc, as troff does) as Markdown.

Keeps words, headings and examples; leaves out fonts, spacing and everything that asks troff to do
something. A page by the rules of man(7), mdoc(7) and groff_char(7), not a whole troff.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

MANUAL = re.compile(r"\.[1-9n]\w{0,4}\Z")
"""How names of manual pages end: `.1`, `.3pm`."""

_BEGIN = re.compile(r"^[.'][ \t]*(TH|Dd|Dt)\b", re.MULTILINE)
_POINTER = re.compile(r"\A\s*[.']so +(\S+)\s*\Z")
_ARGUMENT = re.compile(r'"((?:[^"]|"")*)"?|(\S+)')
_LONG = 500
"""Words of a line that no page has; such a line is not looked into."""
_SIGNS = {
    "aq": "'", "dq": '"', "lq": "\u201c", "rq": "\u201d", "oq": "\u2018", "cq": "\u2019",
    "em": "\u2014", "en": "\u2013", "hy": "-", "mi": "-", "bu": "\u2022", "co": "\u00a9",
    "rg": "\u00ae", "rs": "\\", "ti": "~", "ha": "^", "ga": "`", "at": "@", "sh": "#", "Do": "$",
    "ba": "|", "or": "|", "lB": "[", "rB": "]", "lC": "{", "rC": "}", "sl": "/", "->": "\u2192",
    "<-": "\u2190", ">=": "\u2265", "<=": "\u2264", "!=": "\u2260", "mu": "\u00d7", "+-": "\u00b1",
    "de": "\u00b0", "ss": "\u00df", "Eu": "\u20ac", "pl": "+", "eq": "=", "ul": "_", "fo": "\u2039",
    "fc": "\u203a", "Fo": "\u00ab", "Fc": "\u00bb", "tm": "\u2122", "Tm": "\u2122", "R": "\u00ae",
    "L\"": "\u201c", "R\"": "\u201d", "a:": "\u00e4", "o:": "\u00f6", "u:": "\u00fc",
    ":a": "\u00e4", ":o": "\u00f6", ":u": "\u00fc", ":A": "\u00c4", ":O": "\u00d6", ":U": "\u00dc",
    "'e": "\u00e9", "`e": "\u00e8", "'a": "\u00e1", "`a": "\u00e0", ",c": "\u00e7", "~n": "\u00f1",
    "Tq": "", "lt": "<", "gt": ">", "Lt": "<", "Gt": ">", "Le": "\u2264", "Ge": "\u2265",
    "Pm": "\u00b1", "Am": "&", "Ba": "|", "Rq": "\u201d", "Lq": "\u201c", "q": '"', "xx": "",
}  # fmt: skip
"""What `\\(xx`, `\\[xx]` and `\\*(xx` stand for."""
_ESCAPE = re.compile(
    r"""\\(?:
        [fFgkMmnOVY](?:\[[^\]\n]{0,80}\]|\(..|[+-]?.)
      | s(?:\[[^\]\n]{0,80}\]|\(..|[+-]?\d\d?|'[^'\n]{0,200}')
      | [hvwxlLDbBoRXZAHSC]'([^'\n]{0,200})'
      | \*?\[(?P<long>[^\]\n]{0,80})\] | \*?\((?P<two>..) | \*(?P<one>.)
      | (?P<char>.) | \Z
    )""",
    re.VERBOSE | re.DOTALL,
)
_CHARS = {"-": "-", "e": "\\", "\\": "\\", " ": " ", "~": " ", "0": " ", "t": "\t", "'": "'",
          "`": "`", "_": "_", ".": ".", "E": "\\", "(": "(", "\n": ""}  # fmt: skip
_HEADS = {"SH": "##", "Sh": "##", "SS": "###", "Ss": "###"}
_BREAKS = frozenset("PP P LP Pp HP IP TP TQ RS RE br sp Bl El It Bd Ed SY YS".split())
_BESIDE = frozenset("BR RB IR RI BI IB".split())
"""Macros that set their arguments beside each other, in fonts by turns."""
_VERBATIM = {"nf": True, "EX": True, "fi": False, "EE": False, "Bd": True, "Ed": False}
_SAID = frozenset("B I SM SB IP TP UR MT Nd It Pq OP SY".split())
"""Macros whose arguments are words."""
_CALLED = frozenset(
    "Ad An Ao Ap Aq Ar At Bo Bq Brq Bsx Bx Cd Cm Do Dq Dv Dx Ec Em En Eo Er Ev Fa Fd Fl Fn Fo Ft "
    "Fx Ic In Li Lk Lb Ms Mt Nm No Ns Nx Op Os Ot Ox Pa Pf Po Pq Px Qo Qq Ql Rs Sc So Sq St Sx Sy "
    "Tn Ux Va Vt Xr Xo Xc Oo Oc Dc Qc Pc Ac Bc Brc Bro Cm Tg Ta".split()
)
"""Macros of mdoc, which may stand within a line."""
_AROUND = {"Op": "[]", "Pq": "()", "Aq": "<>", "Bq": "[]", "Brq": "{}", "Dq": '""', "Qq": '""',
           "Sq": "''", "Ql": "''"}  # fmt: skip
_LONE = {"Oo": "[", "Oc": "]", "Po": "(", "Pc": ")", "Ao": "<", "Ac": ">", "Bo": "[", "Bc": "]",
         "Bro": "{", "Brc": "}", "Do": '"', "Dc": '"', "Qo": '"', "Qc": '"', "So": "'", "Sc": "'",
         "Ux": "UNIX", "Bx": "BSD", "Fx": "FreeBSD", "Nx": "NetBSD", "Ox": "OpenBSD",
         "Dx": "DragonFly", "Bsx": "BSD/OS", "Ap": "'", "Ta": "|"}  # fmt: skip


def is_manual(text: str) -> bool:
    """Whether a text is a manual page: it says so in one of its first requests."""
    return _BEGIN.search(text[:50_000]) is not None or _POINTER.match(text[:500]) is not None


def manual_text(text: str) -> tuple[str, str]:
    """Return the title of a manual page, as `ls(1)`, and its text; that of a pointer is empty."""
    begun = _BEGIN.search(text)
    if begun is None:
        return "", ""
    page = _Page()
    for line in _lines(text[begun.start() :]):
        page.add(line)
    return page.title, page.text()


def _lines(text: str) -> Iterator[str]:
    """Yield lines, with those that define or decide something left out."""
    until, depth = "", 0
    for whole in text.splitlines():
        if until:
            until = "" if whole.startswith(until) else until
            continue
        line = whole.split('\\"')[0]
        if depth:
            depth += line.count("\\{") - line.count("\\}")
            continue
        request = re.match(r"[.'][ \t]*(de1?|am|ig|if|ie|el|while)\b[ \t]*(.*)", line)
        if request is None:
            yield line.rstrip()
        elif request[1] in {"if", "ie", "el", "while"}:
            depth = max(0, line.count("\\{") - line.count("\\}"))
        else:
            named = request[2].split()
            place = 0 if request[1] == "ig" else 1
            until = f".{named[place]}" if len(named) > place else ".."


class _Page:
    """What has been read of a page."""

    def __init__(self) -> None:
        self.title = ""
        self._name = ""
        self._out: list[str] = []
        self._verbatim = False
        self._table = False

    def text(self) -> str:
        return re.sub(r"\n{3,}", "\n\n", "\n".join(self._out)).strip()

    def add(self, line: str) -> None:
        if line[:1] not in {".", "'"}:
            self._say(_plain(line))
            return
        name, _, rest = line[1:].strip().partition(" ")
        self._request(name.strip(), rest.strip())

    def _request(self, name: str, rest: str) -> None:
        words = [_plain(one.replace('""', '"') or other) for one, other in _ARGUMENT.findall(rest)]
        if name in {"TH", "Dt"}:
            self.title = f"{words[0].lower()}({words[1]})" if len(words) > 1 else "".join(words[:1])
        elif name in _HEADS and words:
            self._fence(False)
            self._out += ["", f"{_HEADS[name]} {_called(words, self._name)}", ""]
        elif name in {"TS", "TE"}:
            self._table = name == "TS"
            self._out.append("")
        else:
            self._ordinary(name, words)

    def _ordinary(self, name: str, words: list[str]) -> None:
        if name in _VERBATIM:
            self._fence(_VERBATIM[name])
        if name in _BREAKS and not self._verbatim:
            self._out.append("")
        if name == "Nm" and words and not self._name:
            self._name = words[0]
        self._words(name, words)

    def _words(self, name: str, words: list[str]) -> None:
        if name in _BESIDE or len(words) > _LONG:
            self._say(("" if name in _BESIDE else " ").join(words))
        elif name in _CALLED or name == "It":
            inner = [] if name == "It" else [name]
            self._say(_called([*inner, *words], self._name))
        elif name == "IP":
            self._say(" ".join(words[:1]))
        elif name in _SAID and name != "TP":
            self._say(("\u2014 " if name == "Nd" else "") + " ".join(words))

    def _say(self, text: str) -> None:
        if self._table:
            if re.fullmatch(r"[lrcnasLRCNASbBiIwxe|\d(). ,;^-]*[.;]|T\{|T\}.*|allbox.*", text):
                return
            text = " | ".join(cell.strip() for cell in text.split("\t"))
        self._out.append(text if self._verbatim else text.strip())

    def _fence(self, begin: bool) -> None:
        if begin != self._verbatim:
            self._out += ["", "```"] if begin else ["```", ""]
        self._verbatim = begin


def _called(words: list[str], name: str) -> str:
    """Read a line of mdoc: macros within it say how what follows is written."""
    said: list[str] = []
    closing, glued, rest = "", False, list(words)
    while rest:
        word = rest.pop(0)
        shown, used = _shown(word, rest, name)
        del rest[:used]
        closing = _AROUND.get(word, "  ")[1].strip() + closing
        glued = glued or (word in {"Ns", "Pf"})
        if shown and said and (glued or shown in set(")]>},.;:") or said[-1][-1:] in set("[(<{")):
            said[-1] += shown
        elif shown:
            said.append(shown)
        glued = glued and not shown
    return " ".join(said) + closing


def _shown(word: str, rest: list[str], name: str) -> tuple[str, int]:
    """Return what a word of a line of mdoc says, and how many of those behind it that takes."""
    after = rest[0] if rest else ""
    if word in _AROUND:
        return _AROUND[word][0], 0
    if word == "Fl":
        return ("-", 0) if after in _CALLED else (f"-{after}", 1)
    if word == "Nm":
        return (name if not after[:1].isalnum() or after in _CALLED else ""), 0
    if word == "Xr" and len(rest) > 1:
        return f"{after}({rest[1]})", 2
    return (_LONE.get(word, "") if word in _CALLED else word), 0


def _plain(text: str) -> str:
    """Return words without escapes."""
    return _ESCAPE.sub(_meant, text) if "\\" in text else text


def _meant(found: re.Match[str]) -> str:
    sign = found["long"] or found["two"] or found["one"]
    if sign is not None:
        code = re.fullmatch(r"u([0-9A-F]{4,5})", sign)
        return chr(int(code[1], 16)) if code else _SIGNS.get(sign, "")
    return _CHARS.get(found["char"] or "", "")
