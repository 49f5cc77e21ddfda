"""A real Chromium for the tests of this folder; they are skipped, saying why, where there is none and no way to one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from gis.errors import Unavailable
from gis.settings import Settings
from tests.browser.machine import Chromium, find_chromium
from tests.conftest import silent


@pytest.fixture(scope="session")
def chromium(settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Chromium:
    """The Chromium of this machine, or the one unpacked into the cache (by the first worker; the others wait)."""
    return look(settings.cache, tmp_path_factory.mktemp("chromium"))


def look(cache: Path, home: Path) -> Chromium:
    """The Chromium to test with; without one the test that asks is skipped, saying why and what to type."""
    try:
        return find_chromium(cache, home, silent)
    except Unavailable as lack:
        pytest.skip(f"no browser to test with: {lack.en} (mend: {lack.mend})")


@pytest.fixture(scope="package")
def browser(chromium: Chromium) -> Iterator[Browser]:
    """A running browser, one for all tests of this folder on this worker.

    Closed with the last of them, not with the session: Playwright's event loop counts as running in the main
    thread for as long as Playwright does, and no other test could run one.
    """
    with pytest.MonkeyPatch.context() as moment:
        for name, value in chromium.driver.items():
            moment.setenv(name, value)
        playwright = sync_playwright().start()
    try:
        running = playwright.chromium.launch(
            executable_path=chromium.program, args=[*chromium.flags], env={**chromium.environment}
        )
        yield running
        running.close()
    finally:
        playwright.stop()


@pytest.fixture
def tab(browser: Browser) -> Iterator[Page]:
    """An empty page in a context of its own, as large as a small laptop's screen."""
    context = browser.new_context(viewport={"width": 1366, "height": 768}, locale="en-US", timezone_id="Asia/Shanghai")
    yield context.new_page()
    context.close()
