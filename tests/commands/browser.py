"""Headless Chromium, for the tests of pages; they skip where it or Playwright is absent."""
import contextlib
import os
import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]


@contextlib.contextmanager
def opened(file, width=1280, height=900, scheme="light"):
    """The page of a file, and the list of what its console complained about; both stay as the block goes on.
    """
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("needs Chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET)
        tab = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme,
                                  offline=True).new_page()
        tab.set_default_timeout(180_000)        # a machine may be busy with other tests
        complaints = []
        tab.on("console", lambda message: complaints.append(message.text)
               if message.type in ("error", "warning") else None)
        tab.on("pageerror", lambda error: complaints.append(str(error)))
        tab.goto(f"file://{os.path.abspath(file)}")
        try:
            yield tab, complaints
        finally:
            browser.close()
