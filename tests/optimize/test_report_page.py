"""Reports in a real browser, on a desk and on a phone, by day and by night."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium import webdriver

from ragwright.optimize import CompileResult
from ragwright.optimize.report.writing import write_report
from ragwright.optimize.study.writing import Bars, Findings, ReportTable, write_findings
from tests.browser import CONTRASTS, NEEDS_BROWSER, Browser, started

pytestmark = NEEDS_BROWSER

FINDINGS = Findings(
    title="Rerankers of towns",
    summary="cross-encoder/ms-marco-MiniLM-L6-v2 ranks best.",
    bars=(Bars("ndcg@10", (("cross-encoder/ms-marco-MiniLM-L6-v2, 100", 0.7, 0.6, 0.8),)),),
    tables=(
        ReportTable(
            "Quality", tuple(f"column {number}" for number in range(9)), (("a long cell",) * 9,)
        ),
    ),
    facts={},
)


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with started(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture(scope="module")
def pages(result: CompileResult, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("pages")
    files: dict[str, Path] = {
        "report": write_report(result, folder / "report") / "report.html",
        "study": write_findings(FINDINGS, folder / "study") / "study.html",
    }
    return {name: file.as_uri() for name, file in files.items()}


@pytest.mark.parametrize("name", ["report", "study"])
@pytest.mark.parametrize(("width", "dark"), [(320, False), (1280, True)])
def test_it_can_be_read(
    driver: webdriver.Chrome, pages: dict[str, str], name: str, width: int, dark: bool
) -> None:
    browser = Browser(driver)
    browser.emulate(width=width, height=900, dark=dark)
    driver.get(pages[name])
    browser.picture(f"{name}-{width}")
    assert driver.execute_script("return document.documentElement.scrollWidth") <= width
    assert driver.execute_script(PROBLEMS) == []
    low = [(text, ratio) for text, ratio in driver.execute_script(CONTRASTS) if ratio < 4.5]
    assert low == []
    assert browser.complaints() == []


PROBLEMS = """
const problems = [];
let level = 0;
for (const heading of document.querySelectorAll("h1, h2, h3, h4")) {
  const next = Number(heading.tagName[1]);
  if (next > level + 1) problems.push(`h${level}, then ${heading.outerHTML}`);
  level = next;
}
for (const table of document.querySelectorAll("table")) {
  const around = table.closest("[role=region][aria-label][tabindex='0']");
  if (!around) problems.push(`cannot be scrolled by keys: ${table.textContent}`);
  if (table.querySelector("th:not([scope])")) problems.push(`no scope: ${table.textContent}`);
}
for (const plot of document.querySelectorAll("svg.plot")) {
  const room = plot.closest("section").getBoundingClientRect();
  const texts = [...plot.querySelectorAll("text")];
  const places = texts.map((text) => text.getBoundingClientRect());
  texts.forEach((text, at) => {
    const said = text.textContent;
    const a = places[at];
    if (parseFloat(getComputedStyle(text).fontSize) < 12) problems.push(`small: ${said}`);
    if (a.left < room.left || a.right > room.right) problems.push(`clipped: ${said}`);
    for (const b of places.slice(at + 1)) {
      const beside = a.right <= b.left + 1 || b.right <= a.left + 1;
      const above = a.bottom <= b.top + 2 || b.bottom <= a.top + 2;
      if (!beside && !above) problems.push(`covered: ${said}`);
    }
  });
}
return problems;
"""
