"""The page in a real browser: asked, read, rated, on a desk and on a phone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement

from ragwright.programs.fallback import Degradation
from tests.artifacts.server.conftest import KEY, Running, Serve, until

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = shutil.which("chromedriver")
QUESTION = "What is the capital of Peru?"
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1400,1000",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs chromium and chromedriver: apt-get install chromium chromium-driver",
)


class Browser:
    """Chromium with the page open."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, server: Running) -> None:
        self.driver.get(server.url)
        until(lambda: "version" in self.text("source"))

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def text(self, id: str) -> str:
        return self.find(f"#{id}").text

    def ask(self, question: str) -> None:
        box = self.find("#question")
        box.clear()
        box.send_keys(question, Keys.ENTER)

    def shows(self, selector: str) -> bool:
        return self.find(selector).is_displayed()

    def answered(self) -> bool:
        return self.shows("#timings-section") and self.find("#ask").is_enabled()

    def emulate(self, *, width: int, height: int, dark: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def picture(self, name: str) -> None:
        """Save a screenshot where RAGWRIGHT_SCREENSHOTS says, if it says so."""
        if folder := os.environ.get("RAGWRIGHT_SCREENSHOTS"):
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))

    def complaints(self) -> list[Any]:
        log: list[Any] = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = str(CHROMIUM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    service = webdriver.ChromeService(executable_path=str(DRIVER))
    started = webdriver.Chrome(options=options, service=service)
    yield started
    started.quit()


@pytest.fixture
def browser(driver: webdriver.Chrome) -> Iterator[Browser]:
    opened = Browser(driver)
    opened.emulate(width=1400, height=1000)
    opened.complaints()
    yield opened
    driver.get("about:blank")


@pytest.fixture
def site(serve: Serve) -> Iterator[Running]:
    """A server that lets everybody in."""
    with serve(keys=()) as server:
        yield server


def test_ask_read_and_rate(browser: Browser, site: Running) -> None:
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


def test_it_works_by_keyboard_alone(browser: Browser, site: Running) -> None:
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


def test_a_phone_shows_it_all_without_scrolling_sideways(browser: Browser, site: Running) -> None:
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
def test_text_stands_out_from_what_is_behind_it(
    browser: Browser, site: Running, dark: bool
) -> None:
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


def test_an_error_is_said(browser: Browser, site: Running) -> None:
    browser.open(site)
    site.app.state.service.serving.current.program.retriever = None
    browser.ask(QUESTION)
    until(lambda: browser.shows("#problem"))
    assert "The server failed" in browser.text("problem")
    assert browser.find("#ask").is_enabled()
    browser.picture("error")


def test_what_was_done_without_is_said(browser: Browser, site: Running) -> None:
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


def test_a_passage_is_shown_as_text(browser: Browser, serve: Serve, recipe: Any) -> None:
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


def test_a_key_is_asked_for(browser: Browser, server: Running) -> None:
    browser.open(server)
    browser.ask(QUESTION)
    until(lambda: browser.shows("#key-form"))
    browser.picture("key")
    browser.find("#key").send_keys(KEY, Keys.ENTER)
    until(browser.answered)
    assert "Lima" in browser.text("answer")


CONTRASTS = """
const numbers = (color) => color.match(/[0-9.]+/g).map(Number);
const light = (rgb) => {
  const linear = (c) => (c /= 255) <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4;
  const [r, g, b] = rgb.slice(0, 3).map(linear);
  return .2126 * r + .7152 * g + .0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const color = numbers(getComputedStyle(node).backgroundColor);
    if (color.length < 4 || color[3] === 1) return color;
  }
  return [255, 255, 255];
};
const found = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim());
  if (!own || !node.checkVisibility() || node.matches("script, .skip, :disabled")) continue;
  const [a, b] = [light(numbers(getComputedStyle(node).color)), light(behind(node))];
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  found.push([node.textContent.trim().slice(0, 40), Math.round(ratio * 100) / 100]);
}
return found;
"""
