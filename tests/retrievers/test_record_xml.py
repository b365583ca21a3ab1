"""XML of records that are mostly text is read as text; settings and data as they stand."""

from __future__ import annotations

import pytest

from ragwright.retrievers.documents.convert import convert_file, suffix_by_content
from ragwright.retrievers.documents.kinds import PROSE

LONG = "The tower was built in 1889 by an engineer, and it has been painted nineteen times since."
POSTS = (
    f'<posts><row Id="1" PostTypeId="1" Score="16" Body="&lt;p&gt;{LONG}&lt;/p&gt;" '
    'Title="How old is the tower then?" Tags="&lt;tower&gt;&lt;iron&gt;" /></posts>'
)
WIKI = (
    '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><page><title>Tower</title>'
    "<id>1</id><revision><timestamp>2020-01-01T00:00:00Z</timestamp>"
    f"<text xml:space=\"preserve\">'''It''' is of [[iron]].\n\n== History ==\n{LONG}</text>"
    "</revision></page></mediawiki>"
)
PUBMED = (
    "<PubmedArticleSet><PubmedArticle><PMID>1</PMID><ArticleTitle>On towers</ArticleTitle>"
    f'<AbstractText Label="RESULTS">{LONG}</AbstractText></PubmedArticle></PubmedArticleSet>'
)
OUTLINE = (
    '<opml version="2.0"><body><outline text="One"><outline text="Two"/></outline></body></opml>'
)
MESSAGES = (
    f'<resources><string name="about">{LONG}</string><key name="k"><d>{LONG}</d></key></resources>'
)
MIXED = f"<corpus><doc><p>{LONG} <b>Bold</b> and <!-- no --><i>more</i>.</p></doc></corpus>"


@pytest.mark.parametrize(("data", "texts"), [
    (POSTS, ["## How old is the tower then?", LONG, "Tags: tower iron"]),
    (WIKI, ["## Tower", "**It** is of iron.", "## History", LONG]),
    (PUBMED, ["PMID: 1", "## On towers", f"RESULTS: {LONG}"]),
    (OUTLINE, ["One", "Two"]),
    (MESSAGES, [f"about: {LONG}", "key: k", LONG]),
    (MIXED, [f"{LONG} Bold and more."]),
])  # fmt: skip
def test_records_are_read_as_text(data: str, texts: list[str]) -> None:
    for before in ("", '<?xml version="1.0" encoding="utf-8"?>\n'):
        whole = (before + data).encode()
        assert suffix_by_content(whole, ".xml") == PROSE
        assert convert_file(whole, PROSE, 1 << 20).text.split("\n\n") == texts


@pytest.mark.parametrize("data", [
    "<project><groupId>a.b</groupId><version>1</version></project>",
    '<resources><string name="app">My app</string></resources>',
    "<a>" + "QUJD" * 400 + "</a>",
    "<a><b>" + "\n".join(["QUJD" * 16] * 20) + "</b></a>",
    f'<!DOCTYPE a [<!ENTITY x "y">]><a>{LONG}&x;</a>',
])  # fmt: skip
def test_settings_data_and_entities_stay_as_they_stand(data: str) -> None:
    assert suffix_by_content(data.encode(), ".xml") == ".xml"


def test_damaged_records_lose_nothing() -> None:
    damaged = POSTS.removesuffix("</posts>").encode()
    assert LONG in convert_file(damaged, PROSE, 1 << 20).text
