"""What a browser or an office program shows of a file is read, and what it does not show is not."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openpyxl.chart import BarChart, Reference

from ragwright.retrievers.documents.convert import convert_file
from ragwright.retrievers.documents.html import html_text
from ragwright.retrievers.documents.markdown_html import shown_markdown
from ragwright.retrievers.documents.plain import READERS
from ragwright.retrievers.documents.tables import table_as_lines

HEADINGS = [
    '<h2>Install<a class="headerlink" href="#install" title="Permalink">¶</a></h2>',
    '<h2><a class="header-anchor" href="#install">#</a>Install</h2>',
    '<h2>Install <a class="anchor" href="page.html#install"><svg><path/></svg></a></h2>',
    '<h2 id="install">Install<a class="anchor-link" href="#install">¶</a></h2>',
]


@pytest.mark.parametrize("heading", HEADINGS)
def test_a_heading_is_without_the_sign_that_links_to_it(heading: str) -> None:
    assert html_text(heading.encode())[1] == "## Install"


def test_links_that_say_something_stay() -> None:
    page = '<h2><a href="#a">All</a> of it</h2><p>Note <a href="#n">1</a>, <a href="#c">C</a>.</p>'
    assert html_text(page.encode())[1] == "## [All](#a) of it\n\nNote [1](#n), [C](#c)."


def test_what_fields_hold_is_read() -> None:
    page = """<form><label>Name <input value="Ann"></label><input type="hidden" value="no">
      <input type="checkbox" value="no"> Agree <textarea>Area</textarea><meter>60%</meter>
      <input type="submit" value="Send"><input placeholder="no"></form>"""
    said = html_text(page.encode())[1].split()
    assert said == ["Name", "Ann", "Agree", "Area", "60%", "Send"]


def test_a_shadow_root_is_shown_and_another_template_is_not() -> None:
    page = (
        '<x-a><template shadowrootmode="open"><p>Seen</p></template></x-a><template>No</template>'
    )
    assert html_text(page.encode())[1] == "Seen"


MENU = "<nav><a href=/>Home</a></nav>"
ASKED = "<p class=q>{0}?</p><div class=a style='display:none'>{0}.</div>"
COOKIES = "<div id=cookie-banner class=cookie-notice>We use cookies <button>OK</button></div>"


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<p>Seen all of it</p><p hidden>No", "Seen all of it"),
        ("<p>Seen all of it</p><p style='color:red; DISPLAY : none'>No", "Seen all of it"),
        ("<p>Seen</p><p hidden=until-found>Found", "Seen\n\nFound"),
        ("<a href=#t1>One</a><p id=t1 hidden>First tab", "[One](#t1)\n\nFirst tab"),
        ("<p>Tab</p><div role=tabpanel hidden>Its text</div>", "Tab\n\nIts text"),
        (f"<p>FAQ</p>{''.join(map(ASKED.format, 'AB'))}", "FAQ\n\nA?\n\nA.\n\nB?\n\nB."),
        (f"<p>All of this page</p>{ASKED.format('A')}", "All of this page\n\nA?"),
        ("<p>All of it</p><h3>A?</h3><div hidden>A.</div>", "All of it\n\n### A?\n\nA."),
        ("<p>A</p><div style='display:none'><p>All it says</p></div>", "A\n\nAll it says"),
        (f"{MENU}{COOKIES}<p>Pumps move much water by day.", "Pumps move much water by day."),
        (f"{MENU}<div>Text</div>", "[Home](/)\n\nText"),
        ("<h2>Types<span class=mw-editsection>[edit]</span></h2>", "## Types"),
        ("<p>A <img src=pixel.gif alt=''>b", "A b"),
        ("<p>Go <i class=material-icons>home</i>now", "Go now"),
    ],
)  # fmt: skip
def test_what_is_hidden_for_good_is_no_text_of_a_page(page: str, said: str) -> None:
    assert html_text(page.encode())[1] == said


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("<ol type=a start=5><li>five<li>six</ol>", "e. five\nf. six"),
        ("<ol><li value=7>x<li>y</ol>", "7. x\n8. y"),
        ("<ol reversed type=I><li>x<li>y</ol>", "II. x\nI. y"),
        ("<ol style='list-style-type:lower-roman'><li>x</ol>", "i. x"),
        ("<dl><dt>B<dt>C<dd>2</dl>", "B\n\nC\n:   2"),
        ("x<sub>i+1</sub>, H<sub>2</sub>O", "x_(i+1), H2O"),
        ("<div class=highlight-sh><div><pre>ls</pre></div></div>", "```sh\nls\n```"),
        ('<pre><code class="hljs language-c++">x;</code></pre>', "```c++\nx;\n```"),
    ],
)
def test_numbers_and_signs_are_those_that_a_page_shows(page: str, said: str) -> None:
    assert html_text(page.encode())[1] == said


TABLE = (
    "<table>\n<tr><th>Plan</th><th>Price</th></tr>\n{}<tr><td>Pro</td><td>25 €</td></tr></table>"
)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("One<br>two <b>x</b> `<br>` &copy; &lt;b&gt;", "One\ntwo x `<br>` © <b>"),
        ("| a<br>b | c |\n|---|---|\n", "| a b | c |\n|---|---|\n"),
        (TABLE.format(""), "Plan | Price\nPlan: Pro; Price: 25 €"),
        (TABLE.format("\n"), "Plan | Price\nPlan: Pro; Price: 25 €"),
        ("<details><summary>How?</summary>\n\nSo.\n\n</details>\n", "How?\n\nSo.\n\n"),
        ('<h1 align="center">\n<img src="a.svg" alt="Logo"> Pump</h1>', "# Logo Pump"),
        ('# Pump {#top .big} <a name="x"></a>\n\n## B {#b}', '# Pump\n\n## B'),
        ("<h1 align=center>\n\n![Logo](a.png)\n\n</h1>\n", "\n![Logo](a.png)\n\n"),
        ("- x\n\n  <div>\n  in it</div>\n", "- x\n\n  in it\n"),
        ("```html\n<table><br>\n```\n\n    <b>\n", "```html\n<table><br>\n```\n\n    <b>\n"),
        ("Set <your-key>, List<String>, a < b && c", "Set <your-key>, List<String>, a < b && c"),
        ("<config>\n  <a>1</a>\n</config>", "<config>\n  <a>1</a>\n</config>"),
        ("now <del>10</del> 12", "now ~~10~~ 12"),
        ("See <https://x.org> and \\<b>", "See <https://x.org> and \\<b>"),
    ],
)  # fmt: skip
def test_html_in_markdown_is_what_it_shows(written: str, shown: str) -> None:
    assert shown_markdown(written) == shown


def test_components_of_mdx_are_what_they_hold() -> None:
    page = (
        'import {Card} from "./card"\n\n<Tabs>\n<Tab value="a" label="npm">\n\nRun `npm i`.\n\n'
        '</Tab>\n</Tabs>\n\n<Card title="Fast" go={() => {x > 1}}>It is.</Card>\n\n{/* hidden */}\n'
    )
    assert shown_markdown(page, ".mdx").split() == "npm Run `npm i`. Fast It is.".split()
    assert "<Tabs>" in shown_markdown(page)


def test_what_stands_for_frames_is_text() -> None:
    page = "<frameset><frame src='a.html'><noframes><body><p>No frames</p></body></noframes>"
    assert html_text(page.encode())[1].endswith("No frames")


def test_of_a_drawing_its_words_are_read() -> None:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg"><title>Sales</title><path d="M0 0L9 9"/>{}</svg>'
    )
    found = READERS[".svg"](drawing.format("<text>North<tspan> 12</tspan></text>"))
    assert (found.title, found.text) == ("Sales", "Sales\nNorth 12")
    assert READERS[".svg"]('<svg><path d="M0 0"/></svg>').text == ""


def test_settings_of_java_are_read_with_their_letters() -> None:
    assert READERS[".properties"]("greeting=Gr\\u00fc\\u00dfe\\n").text == "greeting=Grüße\\n"


def test_front_matter_of_a_notebook_is_its_title_and_no_heading() -> None:
    cells = [
        {"cell_type": "raw", "source": ["---\n", "title: Sales\n", "---\n", "More."]},
        {"cell_type": "markdown", "source": "Text."},
    ]
    found = convert_file(json.dumps({"cells": cells}).encode(), ".ipynb", 1 << 20)
    assert (found.title, found.text) == ("Sales", "More.\n\nText.")


def test_a_notebook_shows_what_a_terminal_and_a_page_would() -> None:
    bar = {"output_type": "stream", "name": "stderr", "text": ["\r 10%|#\r 50%|##\r100%|###\n"]}
    lines = {"output_type": "stream", "name": "stdout", "text": "one\r\ntwo\r\n"}
    cells = [
        {"cell_type": "markdown", "source": "A<br>b <img src='a.png' alt='Chart'>"},
        {"cell_type": "code", "source": "", "outputs": [bar, lines]},
    ]
    text = convert_file(json.dumps({"cells": cells}).encode(), ".ipynb", 1 << 20).text
    assert text == "A\nb Chart\n\n```\n100%|###\n```\n\n```\none\ntwo\n```"


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ('author = {M{\\"u}ller and G{\\"o}del, {\\O}re}', "author = {Müller and Gödel, Øre}"),
        ("title = {{DNA} and {P}umps \\& more}", "title = {DNA and Pumps & more}"),
        ("year = {2020}, note={See {\\'A}}", "year = {2020}, note={See Á}"),
    ],
)
def test_entries_of_bibtex_have_whole_words(written: str, read: str) -> None:
    assert READERS[".bib"](written).text == read


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from(['5" pipe', "plain", 'a "b" c', '"open', 'ends"']), min_size=2))
def test_a_quote_in_a_table_of_tabs_swallows_no_row(cells: list[str]) -> None:
    rows = "".join(f"x{number}\t{cell}\n" for number, cell in enumerate(cells))
    lines = table_as_lines(f"name\tsize\n{rows}").splitlines()
    assert [line.partition(";")[0] for line in lines[1:]] == [
        f"name: x{number}" for number in range(len(cells))
    ]


def test_a_cell_of_several_lines_stays_one() -> None:
    text = 'name,said\nAnn,"one\ntwo, three"\nBob,four\n'
    assert table_as_lines(text).splitlines()[1:] == [
        "name: Ann; said: one two, three", "name: Bob; said: four",
    ]  # fmt: skip


CHART = """<c:chartSpace xmlns:c="http://schemas.openxmlformats.org/drawingml/2006/chart"
  xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><c:chart><c:title><c:tx><c:rich>
  <a:p><a:r><a:t>Revenue</a:t></a:r></a:p></c:rich></c:tx></c:title><c:plotArea><c:barChart>
  <c:ser><c:tx><c:strRef><c:strCache><c:pt idx="0"><c:v>2024</c:v></c:pt></c:strCache></c:strRef>
  </c:tx><c:cat><c:strRef><c:strCache><c:pt idx="0"><c:v>North</c:v></c:pt><c:pt idx="1">
  <c:v>South</c:v></c:pt></c:strCache></c:strRef></c:cat><c:val><c:numRef><c:numCache>
  <c:pt idx="1"><c:v>14</c:v></c:pt><c:pt idx="0"><c:v>12</c:v></c:pt></c:numCache></c:numRef>
  </c:val></c:ser></c:barChart></c:plotArea></c:chart></c:chartSpace>"""


def test_charts_of_a_workbook_say_their_titles_and_values() -> None:
    book = openpyxl.Workbook()
    sheet = book.active
    for row in (["Region", "2024"], ["North", 12], ["South", 14]):
        sheet.append(row)
    chart = BarChart()
    chart.add_data(Reference(sheet, min_col=2, min_row=1, max_row=3), titles_from_data=True)
    sheet.add_chart(chart, "D2")
    made, kept = io.BytesIO(), io.BytesIO()
    book.save(made)
    with zipfile.ZipFile(made) as archive, zipfile.ZipFile(kept, "w") as copy:
        for name in archive.namelist():
            part = CHART.encode() if name.startswith("xl/charts/chart") else archive.read(name)
            copy.writestr(name, part)
    text = convert_file(kept.getvalue(), ".xlsx", 1 << 24).text
    assert text.endswith("Chart: Revenue\nNorth; 2024: 12\nSouth; 2024: 14")


HEADS = """<office:document-styles xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
  xmlns:style="urn:oasis:names:tc:opendocument:xmlns:style:1.0"
  xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:master-styles>
  <style:master-page><style:header><text:p>Secret <text:span>plan</text:span></text:p>
  </style:header><style:footer><text:p>Page <text:page-number>1</text:page-number></text:p>
  </style:footer></style:master-page></office:master-styles></office:document-styles>"""
META = """<office:document-meta xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
  xmlns:dc="http://purl.org/dc/elements/1.1/"><office:meta><dc:title>Yearly report</dc:title>
  </office:meta></office:document-meta>"""
CONTENT = """<office:document-content
  xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
  xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:text>
  <text:p>Body.</text:p></office:text></office:body></office:document-content>"""


def test_title_and_headers_of_open_documents_are_read(tmp_path: Path) -> None:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, part in (("content.xml", CONTENT), ("meta.xml", META), ("styles.xml", HEADS)):
            archive.writestr(name, part)
    found = convert_file(made.getvalue(), ".odt", 1 << 20)
    assert (found.title, found.text) == ("Yearly report", "Body.\n\nSecret plan")
