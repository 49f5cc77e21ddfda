"""How soon the map page is ready, what it weighs, and the pictures of it in the docs.

    ./wanmi demo --once && ./wanmi test tests/bench/page.py -s -n 0

Runs as a test, since the tests' environment has Playwright; it is no part of the suite. Ready is the moment at which
the map is idle with nothing pending, counted from the address being opened; bytes are those of the bodies as sent.
First visit: an empty browser cache, and a server that has answered nobody before. Next visit: the same browser again.
WebGL is drawn by the processor, and browser, server and PostgreSQL share the machine. Of the city in WANMI_CITY.
The pictures go to docs/ (of Ankang only).
"""

from __future__ import annotations

import io
import statistics
import time
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page

from gis.settings import read_settings
from grids.city import read_city
from tests.browser.conftest import browser, chromium  # noqa: F401  fixtures
from tests.test_serve import served

DOCS = Path(__file__).resolve().parents[2] / "docs"
IDLE = "body[data-idle=true]"
PLACE = (109.0235, 32.698)  #: where the pictures ask
VISITS = 3


def visited(page: Page, address: str) -> tuple[float, int, int]:
    """Seconds until the page is ready, its requests, and their bytes."""
    answers = []
    page.on("requestfinished", lambda answer: answers.append(answer))  # Playwright takes no built-in
    started = time.perf_counter()
    page.goto(address)
    page.wait_for_selector(IDLE, timeout=60_000)
    seconds = time.perf_counter() - started
    page.wait_for_timeout(300)
    return (
        seconds,
        len(answers),
        sum(max(0, answer.sizes()["responseBodySize"]) for answer in answers),
    )  # -1: from the cache


def opened(browser: Browser, locale: str, wide: int = 1366, tall: int = 768, scale: float = 1) -> BrowserContext:  # noqa: F811
    """A context with an empty cache."""
    return browser.new_context(
        locale=locale, viewport={"width": wide, "height": tall}, timezone_id="Asia/Shanghai", device_scale_factor=scale
    )


def test_page(browser: Browser) -> None:  # noqa: F811
    """Measure, print, and draw the pictures."""
    settings = read_settings()
    city = read_city(settings.home, settings.city)
    first: list[tuple[float, int, int]] = []
    again: list[tuple[float, int, int]] = []
    for _ in range(VISITS):
        with served(settings.data, "--city", city.id) as (_, address):
            context = opened(browser, "zh-CN")
            for found in (first, again):
                page = context.new_page()
                found.append(visited(page, address + "/"))
                page.close()
            context.close()
            if len(first) == VISITS and city.id == "ankang":
                draw_pictures(browser, address + "/")
    print(f"\n{city.name_en}: page ready, median of {VISITS} (least … most)")
    for name, found in (("first visit", first), ("next visit", again)):
        seconds = sorted(row[0] for row in found)
        median = statistics.median(seconds)
        requests, sent = (statistics.median(row[column] for row in found) for column in (1, 2))
        spread = f"({seconds[0]:.2f} … {seconds[-1]:.2f})"
        print(f"  {name:<12} {median:6.2f} s {spread:<16} {requests:4.0f} requests {sent / 1e3:8.1f} kB")
    assert all(row[2] > 0 for row in first)


def draw_pictures(browser: Browser, address: str) -> None:  # noqa: F811
    """The page in both languages on a laptop, and on a phone."""
    lon, lat = PLACE
    asked = f"#view=15.6/{lat}/{lon}&stage=open&place={lon},{lat},E0102"
    for name, locale, part in [
        ("console-en.png", "en-US", asked),
        ("console-zh.png", "zh-CN", f"#view=13.6/{lat}/{lon}&layers=cells,cases,heat&place={lon},{lat},E0102"),
    ]:
        context = opened(browser, locale)
        page = context.new_page()
        visited(page, address + part)
        keep(page, name)
        context.close()
    context = opened(browser, "zh-CN", 390, 844)
    page = context.new_page()
    visited(page, f"{address}#place={lon},{lat},E0102")
    keep(page, "console-phone.png")
    context.close()


def keep(page: Page, name: str) -> None:
    """A picture of the page in docs/, packed as well as can be; with fewer colours the legend would not be true."""
    Image.open(io.BytesIO(page.screenshot())).convert("RGB").save(DOCS / name, optimize=True)
