"""XML that holds prose is its text; other XML stays as it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ragwright.retrievers.documents import read_documents
from ragwright.retrievers.documents.convert import convert_file, suffix_by_content
from ragwright.retrievers.documents.kinds import PROSE

CELLS = "<row><entry>{}</entry><entry>{}</entry></row>"
ROWS = CELLS.format("Port", "Use") + CELLS.format("80", "HTTP")
FILES = {
    "a.xml": (
        "<book xmlns='http://docbook.org/ns/docbook'><title>Guide</title><para>Press <guibutton>"
        f"Start</guibutton> &amp; wait, see <link url='https://x.org'>there</link>.</para><table>"
        f"<tbody>{ROWS}</tbody></table></book>",
        "Guide",
        "## Guide\n\nPress Start & wait, see [there](https://x.org).\n\nPort | Use\n"
        "Port: 80; Use: HTTP",
    ),
    "b.tei": (
        "<TEI xmlns='http://www.tei-c.org/ns/1.0'><text><head>Letter</head><p>Dear <persName>Ann"
        "</persName>,<note>see 2</note> hello.</p></text></TEI>",
        "b",
        "## Letter\n\nDear Ann, [see 2] hello.",
    ),
    "c.rss": (
        "<rss><channel><title>News</title><item><title>Found</title><description><![CDATA[<p>A <b>"
        "rare</b> one]]></description><enclosure url='https://x.org/a.mp3'/></item></channel></rss>",
        "News",
        "## News\n\n## Found\n\nA **rare** one\n\n<https://x.org/a.mp3>",
    ),
    "e.enex": (
        "<!DOCTYPE en-export SYSTEM 'x.dtd'><en-export><note><title>Shop</title><content><![CDATA["
        "<en-note><div>Milk &amp; eggs</div></en-note>]]></content><resource><data>AAAA</data>"
        "</resource></note></en-export>",
        "Shop",
        "## Shop\n\nMilk & eggs",
    ),
    "d.fb2": (
        "<!-- x --><FictionBook><body><title><p>One</p></title><p>Once.</p></body><binary id='c'>"
        "AAAA</binary></FictionBook>",
        "One",
        "## One\n\nOnce.",
    ),
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1251"])
def test_prose_in_xml_is_its_text(tmp_path: Path, name: str, encoding: str) -> None:
    data, title, text = FILES[name]
    head = f"<?xml version='1.0' encoding='{encoding.removesuffix('-sig')}'?>\n"
    (tmp_path / name).write_bytes((head + data).encode(encoding))
    (document,) = read_documents(tmp_path / name)
    assert (document.title, document.text) == (title, text)
    assert document.metadata["suffix"] == Path(name).suffix


@pytest.mark.parametrize(
    "data",
    [
        "<project><name>x</name></project>",
        "<!DOCTYPE book [<!ENTITY a 'b'>]><book><para>&a;</para></book>",
        "<book><para>not closed</book>",
        "<book><para>a &nbsp; b</para></book>",
        "<bookstore><book>x</book></bookstore>",
    ],
)
def test_other_xml_stays_as_it_is(tmp_path: Path, data: str) -> None:
    (tmp_path / "a.xml").write_text(data)
    (document,) = read_documents(tmp_path / "a.xml")
    assert document.text.replace("\u00a0", "&nbsp;") == data


@pytest.mark.timeout(20)
def test_what_stands_before_the_root_is_passed_over_in_time() -> None:
    for before in (b"  <?a?>  ", b" \n ", b"<!-- a -->  ", b"<!DOCTYPE a>\n\n"):
        assert suffix_by_content(before * 9 + b"<article>", ".xml") == PROSE
        assert suffix_by_content(before * 100_000, ".xml") == ".xml"


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text("abcé日", min_size=1, max_size=9), min_size=1, max_size=6))
def test_no_paragraph_of_prose_is_lost(texts: list[str]) -> None:
    inner = "".join(f"<section><para>{text}</para></section>" for text in texts)
    data = f"<article>{inner}</article>".encode()
    assert suffix_by_content(data, ".xml") == PROSE
    assert convert_file(data, PROSE, 1 << 20).text.split("\n\n") == texts
