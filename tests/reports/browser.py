"""Chromium, headless, as the report's tests and bench use it: Debian's browser driven through Playwright."""
import contextlib
import shutil

from playwright.sync_api import sync_playwright


@contextlib.contextmanager
def chromium():
    with sync_playwright() as playwright:
        # The sandbox wants a user other than root; the page is our own file and has no network.
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), headless=True, args=["--no-sandbox", "--disable-gpu"])
        try:
            yield browser
        finally:
            browser.close()
