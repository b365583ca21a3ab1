"""Leaves out of a parsed page what nobody reads it for: what is hidden, menus, notices of cookies.

What is hidden until a reader clicks (a tab, an answer that unfolds) is text of the page.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

_UNSEEN = ("script", "style", "template", "noscript", "head", "svg", "object", "canvas", "rp")
_HIDDEN = re.compile(r"(?:^|;)\s*(?:display\s*:\s*none|visibility\s*:\s*hidden)", re.IGNORECASE)
_UNFOLDS = re.compile(
    r"tab|accordion|collaps|panel|answer|faq|expand|toggle|spoiler|content|body", re.I
)
"""What scripts call the parts of a page that they show when somebody clicks."""
_LEADS = ("href", "aria-controls", "data-target", "data-bs-target", "popovertarget", "data-tab")
_ASKS = frozenset({"h2", "h3", "h4", "h5", "h6", "dt", "button"})
_BLOCKS = frozenset({"div", "p", "dd", "ul", "ol", "section", "article"})
_COOKIES = re.compile(
    r"(?:cookie|consent|gdpr)[-_]?(?:banner|bar|consent|notice|popup|modal|overlay|dialog|law|info)"
    r"|^(?:onetrust|cookiebot|cybotcookiebot|didomi|usercentrics|cc-window|truste)",
    re.IGNORECASE,
)
_ICONS = re.compile(r"^material-(?:icons|symbols)")
_SKIPS = re.compile(
    r"^(?:mw-(?:jump-link|editsection)|skip-?(?:link|nav|to-content|to-main))", re.I
)
"""What leads over a menu, or to where a section is edited."""
_READ = ("h1", "h2", "p", "pre", "table", "dl", "article")
_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6", "dt", "caption", "figcaption"]
_PERMALINKS = frozenset({"", "\u00b6", "#", "\u00a7", "\U0001f517", "\u200b", "permalink"})
"""What stands behind headings to be copied: of documentation tools, beside what has a class."""


def leave_out_unseen(soup: Any) -> None:
    """Take out of a page what a browser does not show, and what is not the page's own text."""
    for tag in soup("template", shadowrootmode=True):  # which a browser shows
        tag.name = "div"
    for tag in soup(_UNSEEN):
        tag.decompose()
    _leave_out_permalinks(soup)
    if hidden := soup(_is_hidden):
        shown = _led_to(soup)
        behind = Counter(_looks(tag) for tag in hidden if _is_behind(tag))
        gone = [tag for tag in hidden if not _unfolds(tag, shown)]
        _leave_out(soup, [tag for tag in gone if not _answers(tag, behind)], 2)
    _leave_out(soup, soup(id=_COOKIES) + soup(class_=_COOKIES), 2)
    icons = soup(["i", "span"], class_=_ICONS)  # whose letters a typeface makes a picture
    for tag in icons + soup(["a", "span"], class_=_SKIPS) + soup("img", alt=""):
        tag.decompose()
    menus = soup("nav") + soup(["div", "ul"], role="navigation")
    if any(tag.get_text(strip=True) for tag in soup(_READ) if not _is_in_menu(tag)):
        _leave_out(soup, menus, 0)


def _leave_out(soup: Any, tags: list[Any], share: int) -> None:
    """Take tags out of a page; none if they hold more than the given part of it (1/share).

    Some pages hide all that they say until a script has run.
    """
    known = {id(tag): tag for tag in tags}
    outer = [tag for tag in known.values() if not any(id(above) in known for above in tag.parents)]
    if share and sum(len(tag.get_text()) for tag in outer) * share > len(soup.get_text()):
        return
    for tag in outer:
        tag.decompose()


def _is_hidden(tag: Any) -> bool:
    said = tag.get("hidden")
    hidden = said is not None and str(said).lower() != "until-found"
    return hidden or _HIDDEN.search(str(tag.get("style", ""))) is not None


def _led_to(soup: Any) -> set[str]:
    """Return the names of the parts of a page that something on it leads to."""
    return {str(tag[key]).removeprefix("#") for key in _LEADS for tag in soup(attrs={key: True})}


def _unfolds(tag: Any, shown: set[str]) -> bool:
    """Tell whether a click shows what is hidden: it is called so, or the page leads to it."""
    named = " ".join([str(tag.get("role", "")), str(tag.get("id", "")), *_classes(tag)])
    whole = tag.name in {"body", "main", "article", "html"}
    return whole or _UNFOLDS.search(named) is not None or tag.get("id") in shown


def _answers(tag: Any, behind: Counter[tuple[object, ...]]) -> bool:
    """Tell whether what is hidden unfolds below a question: behind a heading, or time and again."""
    if not _is_behind(tag):
        return False
    return behind[_looks(tag)] > 1 or tag.find_previous_sibling().name in _ASKS


def _is_behind(tag: Any) -> bool:
    """Tell whether something that is shown stands before a hidden block."""
    before = tag.find_previous_sibling()
    said = before is not None and not _is_hidden(before) and before.get_text(strip=True)
    return bool(said) and tag.name in _BLOCKS


def _looks(tag: Any) -> tuple[object, ...]:
    return tag.name, *_classes(tag), tag.parent.name, *_classes(tag.parent)


def _classes(tag: Any) -> list[str]:
    found = tag.get("class", ())
    return [found] if isinstance(found, str) else [*found]


def _is_in_menu(tag: Any) -> bool:
    return any(above.name == "nav" or above.get("role") == "navigation" for above in tag.parents)


def _leave_out_permalinks(soup: Any) -> None:
    """Leave out the sign behind a heading that links to it: `Install\u00b6`."""
    for tag in soup("a", href=re.compile("#")):
        sign = tag.get_text(strip=True).lower() in _PERMALINKS and not tag.find("img")
        marked = {"headerlink", "header-anchor", "anchor-link"} & {*_classes(tag)}
        if (sign and tag.find_parent(_HEADINGS)) or (marked and len(tag.get_text()) < 2):
            tag.decompose()
