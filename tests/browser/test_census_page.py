"""The report of a census run in a real Chromium without a network: it draws, and shows what the file holds as text."""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page, expect

from api.censusreport import write_html
from tests.test_censusreport import HOSTILE, report


def test_the_report_draws_and_leads_from_its_tables_to_the_map(tab: Page, tmp_path: Path) -> None:
    complaints: list[str] = []
    asked: list[str] = []
    tab.on("console", lambda message: complaints.append(message.text) if message.type != "log" else None)
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("dialog", lambda dialog: complaints.append("the file's own script ran"))
    tab.on("request", lambda request: asked.append(request.url))
    many = {"outside": 3, "near_in_file": 900}
    write_html(report(many), tmp_path / "report.html")
    tab.context.set_offline(True)
    tab.goto((tmp_path / "report.html").as_uri())
    tab.wait_for_selector("body[data-ready=true]")
    expect(tab.locator("#map canvas")).to_be_visible()
    expect(tab.locator("#legend label")).to_have_count(6)  # two rules, four fates
    expect(tab.locator("#findings details[open] tbody tr").first).to_contain_text("</script><script>alert(1)")
    tab.locator("#findings details[open] tbody tr").nth(1).click()
    expect(tab.locator(".leaflet-popup-content")).to_contain_text("value 1")
    expect(tab.locator(".leaflet-popup-content")).to_contain_text("check the coordinate system in the mapping")
    tab.locator("#differences details").nth(2).locator("summary").click()
    tab.locator("#differences details").nth(2).locator("tbody tr").click()
    expect(tab.locator(".leaflet-popup-content").last).to_contain_text(HOSTILE[:40])  # the other fades
    assert complaints == []
    assert [address for address in asked if not address.startswith(("file:", "data:"))] == []
