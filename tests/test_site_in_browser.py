"""The built site in Chromium: no complaint of the console, no page wider than the window, in light and dark.

`tox -e browser` builds the site first; without it, Chromium or Playwright these tests are skipped.
"""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[1]
SITE = ROOT / "build" / "site"
PAGES = sorted(str(page.relative_to(SITE)) for page in SITE.rglob("*.html")) if SITE.exists() else []
sys.path.insert(0, str(ROOT / "tests" / "commands"))

from browser import opened  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not PAGES, reason="needs the built site (tox -e browser)")]


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (390, "dark")])
def test_every_page(width, scheme):
    """One tab goes through all pages; what is too wide for it is listed by name."""
    wide, seen = [], 0
    with opened(SITE / "index.html", width, 900, scheme) as (tab, complaints):
        for page in PAGES:
            if page.startswith(("pages/", "404")):
                continue
            tab.goto(f"file://{SITE / page}")
            assert tab.title() and tab.locator("h1").count() >= 1, page
            if tab.evaluate("document.documentElement.scrollWidth > window.innerWidth + 1"):
                wide.append(page)
            seen += 1
            assert not complaints, (page, complaints)
    assert seen > 140 and not wide, wide


def test_search_without_a_server():
    with opened(SITE / "index.html") as (tab, complaints):
        tab.locator("input.md-search__input").fill("split attention")
        result = tab.locator(".md-search-result__link").first
        result.wait_for()
        assert "resnest" in (result.get_attribute("href") or "").lower() or result.inner_text()
        assert not complaints


@pytest.mark.parametrize("page, title", [("comparison.html", "Comparison"), ("claims.html", "claims")])
def test_embedded_pages(page, title):
    with opened(SITE / page) as (tab, complaints):
        frame = tab.frame_locator("iframe.page")
        assert title.lower() in frame.locator("h1").first.inner_text().lower() or frame.locator("svg").count()
        assert not complaints
