"""The page in a real browser: asked, read, rated, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ragwright.programs.fallback import Degradation
from tests.artifacts.server.conftest import KEY, Running, Serve, until
from tests.browser import CONTRASTS, NEEDS_BROWSER, Browser, started

QUESTION = "What is the capital of Peru?"

pytestmark = NEEDS_BROWSER


class Page(Browser):
    """Chromium with the page open."""

    def open(self, server: Running) -> None:
        self.driver.get(server.url)
        until(lambda: "version" in self.text("source"))

    def ask(self, question: str) -> None:
        box = self.find("#question")
        box.clear()
        box.send_keys(question, Keys.ENTER)

    def answered(self) -> bool:
        return self.shows("#timings-section") and self.find("#ask").is_enabled()


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    with started(tmp_path_factory.mktemp("profile")) as running:
        yield running


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Page]:
    opened = Page(driver)
    opened.emulate(width=1400, height=1000)
    opened.complaints()
    yield opened
    driver.get("about:blank")


@pytest.fixture
def site(serve: Serve) -> Iterator[Running]:
    """A server that lets everybody in."""
    with serve(keys=()) as server:
        yield server


def test_ask_read_and_rate(browser: Page, site: Running) -> None:
    browser.open(site)
    browser.picture("empty")
    assert browser.text("source") == "capitals, version 1"
    browser.ask(QUESTION)
    until(browser.answered)
    assert "Lima" in browser.text("answer")
    assert "Finding" in browser.text("timings")
    assert "Total" in browser.text("timings")
    browser.picture("answer")

    browser.find("#citations button").click()
    until(lambda: browser.shows("#document"))
    assert browser.text("document-title") == "Peru"
    assert browser.find("mark").text == "The capital of Peru is Lima. It is a large city."
    assert "Meaning" in browser.text("document-scores")
    assert browser.driver.switch_to.active_element == browser.find("#document-title")
    browser.picture("document")
    browser.find("body").send_keys(Keys.ESCAPE)
    assert not browser.shows("#document")

    browser.find("[data-rating=down]").click()
    until(lambda: "Thank you" in browser.text("feedback-status"))
    browser.find("#comment").send_keys("too short")
    browser.find("#correction").send_keys("Lima, Peru")
    browser.find("#feedback [type=submit]").click()
    until(lambda: "noted" in browser.text("feedback-status"))
    browser.picture("feedback")
    (opinion,) = site.app.state.service.feedback.opinions()
    assert (opinion.rating, opinion.comment, opinion.correction) == (
        "down", "too short", "Lima, Peru",
    )  # fmt: skip
    assert browser.complaints() == []


def test_it_works_by_keyboard_alone(browser: Page, site: Running) -> None:
    browser.open(site)
    browser.ask(QUESTION)
    until(browser.answered)
    reached = []
    for _ in range(12):
        browser.driver.switch_to.active_element.send_keys(Keys.TAB)
        focused = browser.driver.switch_to.active_element
        reached.append(focused.get_attribute("aria-label") or focused.text)
        if reached[-1] == "Show passage 1 in Peru":
            focused.send_keys(Keys.ENTER)
            break
    assert "Show passage 1 in Peru" in reached
    until(lambda: browser.shows("#document"))


def test_a_phone_shows_it_all_without_scrolling_sideways(browser: Page, site: Running) -> None:
    browser.emulate(width=360, height=740)
    browser.open(site)
    browser.ask(QUESTION)
    until(browser.answered)
    browser.picture("phone")
    wide = "return document.documentElement.scrollWidth"
    assert browser.driver.execute_script(wide) == 360
    browser.find("#citations button").click()
    until(lambda: browser.shows("#document"))
    browser.picture("phone-document")
    assert browser.find("#document").size["width"] == 360
    browser.find("#document-close").click()
    assert not browser.shows("#document")
    small = [
        button.text
        for button in browser.driver.find_elements(By.CSS_SELECTOR, "main button")
        if button.is_displayed() and button.size["height"] < 24
    ]
    assert small == [], "too small for a finger"


@pytest.mark.parametrize("dark", [False, True])
def test_text_stands_out_from_what_is_behind_it(browser: Page, site: Running, dark: bool) -> None:
    """WCAG 2.1 AA: a contrast of 4.5 for every text on show."""
    browser.emulate(width=1400, height=1000, dark=dark)
    browser.open(site)
    browser.ask(QUESTION)
    until(browser.answered)
    browser.find("#citations button").click()
    until(lambda: browser.shows("#document"))
    browser.picture("dark" if dark else "light")
    found = browser.driver.execute_script(CONTRASTS)
    assert len(found) > 20
    assert [(text, ratio) for text, ratio in found if ratio < 4.5] == []


def test_an_error_is_said(browser: Page, site: Running) -> None:
    browser.open(site)
    site.app.state.service.serving.current.program.retriever = None
    browser.ask(QUESTION)
    until(lambda: browser.shows("#problem"))
    assert "The server failed" in browser.text("problem")
    assert browser.find("#ask").is_enabled()
    browser.picture("error")


def test_what_was_done_without_is_said(browser: Page, site: Running) -> None:
    browser.open(site)
    program = site.app.state.service.serving.current.program
    ask = program.aforward

    async def without_reranker(**asked: Any) -> Any:
        found = await ask(**asked)
        found["degraded"] = [Degradation("rerank", "the fused order", "it is gone")]
        return found

    program.aforward = without_reranker
    browser.ask(QUESTION)
    until(browser.answered)
    assert "rerank (the fused order was used instead)" in browser.text("degraded")
    browser.picture("degraded")


def test_a_passage_is_shown_as_text(browser: Page, serve: Serve, recipe: Any) -> None:
    """What documents hold is never run."""
    from ragwright.programs.build import index_settings
    from ragwright.retrievers.ingest import ingest
    from ragwright.retrievers.types import Document
    from tests.artifacts.conftest import documents

    evil = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
    text = f"The capital of Chad is {evil}."
    ingest([*documents(), Document("<b>x</b>", text)], recipe.index.path, index_settings(recipe))
    with serve(keys=()) as server:
        browser.open(server)
        browser.ask("What is the capital of Chad?")
        until(browser.answered)
        browser.find("#passages button").click()
        until(lambda: browser.shows("#document"))
        assert browser.find("mark").text == text
        assert browser.driver.title == "Ask capitals"


def test_a_document_stays_open_where_the_window_becomes_narrow(
    browser: Page, site: Running
) -> None:
    browser.open(site)
    browser.ask(QUESTION)
    until(browser.answered)
    browser.find("#citations button").click()
    until(lambda: browser.shows("#document"))
    browser.emulate(width=800, height=600)
    place = browser.driver.execute_script(
        "const {x, y} = document.querySelector('#document').getBoundingClientRect(); return [x, y]"
    )
    assert place == [0, 0]


def test_lines_that_a_file_broke_at_a_column_flow(browser: Page, serve: Serve, recipe: Any) -> None:
    from ragwright.programs.build import index_settings
    from ragwright.retrievers.ingest import ingest
    from ragwright.retrievers.types import Document
    from tests.artifacts.conftest import documents

    prose = "The capital of Chad, as a file says that breaks its lines, is the\ncity of N'Djamena."
    text = f"{prose}\n\n- one\n- two"
    ingest([*documents(), Document("Chad", text)], recipe.index.path, index_settings(recipe))
    with serve(keys=()) as server:
        browser.open(server)
        browser.ask("What is the capital of Chad?")
        until(browser.answered)
        browser.find("#passages button").click()
        until(lambda: browser.shows("#document"))
        assert browser.text("document-text") == text.replace("the\ncity", "the city")


def test_a_key_is_asked_for(browser: Page, server: Running) -> None:
    browser.open(server)
    browser.ask(QUESTION)
    until(lambda: browser.shows("#key-form"))
    browser.picture("key")
    browser.find("#key").send_keys(KEY, Keys.ENTER)
    until(browser.answered)
    assert "Lima" in browser.text("answer")
