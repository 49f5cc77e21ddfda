"""The map page in a real Chromium: it draws, answers, filters, reports, speaks both languages, and asks nobody else."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.doorstep import PASSWORD, Door, degrees, opened_door, report

CHINESE = re.compile("[\u4e00-\u9fff]")
IDLE = "body[data-idle=true]"
HEAT = "#layer-heat + .track"
#: What a person reads as Chinese though the page speaks English, and the other way round.
BILINGUAL = "#languages, #attribution-text, .example, .chosen-value, #simulated"


@dataclass
class Visit:
    """A page that was opened, and everything it asked for and complained about."""

    page: Page
    door: Door
    asked: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def open(self, address: str = "/") -> None:
        """Go there and wait until the map is drawn."""
        self.page.goto(self.door.address + address)
        self.settle()

    def settle(self) -> None:
        """Wait until nothing is pending and the map is idle."""
        self.page.wait_for_selector(IDLE, timeout=30_000)
        self.page.wait_for_timeout(150)  # a change begins its requests in the next frame
        self.page.wait_for_selector(IDLE, timeout=30_000)

    def until_address_has(self, part: str) -> None:
        """Wait until a change has reached the address bar, then until it is drawn."""
        for _ in range(100):
            if part in self.page.evaluate("location.hash"):
                break
            self.page.wait_for_timeout(50)
        self.settle()

    def drawn(self, *layers: str) -> int:
        """How many features of these map layers are on the screen."""
        script = "names => window.wanmi.map.queryRenderedFeatures({layers: names}).length"
        return int(self.page.evaluate(script, list(layers)))

    def click_on(self, east_m: float, north_m: float) -> None:
        """Click the map at a place given in metres from the hamlet's corner."""
        spot = self.page.evaluate(
            "({lon, lat}) => { const p = window.wanmi.map.project([lon, lat]);"
            " const box = window.wanmi.map.getCanvas().getBoundingClientRect(); return [p.x + box.x, p.y + box.y]; }",
            degrees(east_m, north_m),
        )
        self.page.mouse.click(*spot)
        self.settle()

    def go_to(self, east_m: float, north_m: float, zoom: float = 17) -> None:
        """Bring the map to a place."""
        script = "({lon, lat, zoom}) => window.wanmi.map.jumpTo({center: [lon, lat], zoom})"
        self.page.evaluate(script, {**degrees(east_m, north_m), "zoom": zoom})
        self.settle()

    @property
    def panel(self) -> str:
        """The words of the panel."""
        return str(self.page.inner_text("#panel"))


@pytest.fixture
def visit(browser: Browser, door: Door, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """A visit in English on a small laptop, or as the test's parameter says; at its end nothing was complained of."""
    options: dict[str, Any] = {"locale": "en-US", "viewport": {"width": 1366, "height": 768}}
    options |= getattr(request, "param", {})
    context = browser.new_context(timezone_id="Asia/Shanghai", **options)
    made = Visit(context.new_page(), door)
    made.page.on("request", lambda sent: made.asked.append(sent.url))
    made.page.on("pageerror", lambda error: made.complaints.append(str(error)))
    made.page.on(
        "console", lambda said: made.complaints.append(said.text) if said.type in ("error", "warning") else None
    )
    yield made
    context.close()
    assert made.complaints == []
    elsewhere = [url for url in made.asked if not url.startswith((made.door.address, "data:", "blob:"))]
    assert elsewhere == [], "no request leaves this machine"


chinese = {"locale": "zh-CN"}
phone = {"locale": "zh-CN", "viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}


def test_the_map_is_drawn_with_ground_borders_cells_and_cases(visit: Visit) -> None:
    visit.open("/#stage=all")
    visit.go_to(200, 200, 16.5)
    layers = visit.page.evaluate("window.wanmi.map.getStyle().layers.map(l => [l.id, l.source, l['source-layer']])")
    by_source = {name: [row[0] for row in layers if len(row) > 2 and row[2] == name] for name in ("ground", "areas")}
    for name, ids in by_source.items():
        assert visit.drawn(*ids) > 0, name
    assert visit.drawn("cells") >= 16
    assert visit.drawn("cases-one", "cases-many") >= 4
    assert visit.page.is_visible("#simulated")


def test_a_click_says_whose_place_it_is_and_why_as_the_interface_does(visit: Visit) -> None:
    visit.open()
    visit.click_on(130, 130)
    found = visit.door.get("/locate", **degrees(130, 130)).json()
    for word in (found["unit"]["name_en"], found["reason"]["en"], found["cell"]["code"], found["areas"][0]["name_en"]):
        assert word in visit.panel
    assert str(round(found["border"]["distance_m"])) in visit.panel
    assert visit.drawn("chosen-cell") >= 1
    visit.click_on(205, 50)
    assert "East" in visit.panel or "EAST" in visit.panel
    warned = visit.page.locator("#panel .warning, #panel [role=alert], #panel .on-border").count()
    assert warned >= 1, "within the tolerance of a border a person is told to look"


def test_a_class_makes_the_answer_exact(visit: Visit) -> None:
    visit.open()
    visit.click_on(50, 250)
    visit.page.fill("#place-class", "E0102")
    visit.page.keyboard.press("Enter")
    visit.until_address_has("E0102")
    found = visit.door.get("/locate", **degrees(50, 250), **{"class": "E0102"}).json()
    assert found["unit"]["code"] == "DISTRICT"
    assert "DISTRICT" in visit.panel
    assert "G3" in visit.panel
    assert "E0102" in visit.page.evaluate("location.hash")


def test_the_thing_that_is_asked_about_decides_as_its_facts_say(visit: Visit) -> None:
    visit.open("/#component=6109990137000001")
    assert "LAMPS" in visit.panel, "the component's maintainer"
    visit.page.click("#who-here")
    visit.settle()
    assert visit.page.get_attribute("#panel .unit .name", "data-unit") == "LAMPS"
    assert "6109990137000001" in visit.panel
    visit.page.click("#report-here")
    log_in(visit, "collector")
    visit.page.wait_for_selector("#report-component option[value='6109990137000001']", state="attached")
    assert visit.page.input_value("#report-component") == "6109990137000001"
    assert "LAMPS" in visit.page.inner_text("#report-proposed")


def test_what_the_form_proposes_is_what_the_case_gets(visit: Visit) -> None:
    visit.open()
    visit.go_to(60, 60)
    visit.click_on(60, 60)
    visit.page.click("#report-here")
    log_in(visit, "collector")
    visit.page.fill("#report-class", "E0102")
    visit.page.keyboard.press("Enter")
    for condition, unit in (("", "WEST"), ("2", "WATER")):
        visit.page.select_option("#report-condition", condition)
        expect(visit.page.locator("#report-proposed")).to_contain_text(unit)
    visit.page.click("#send-report")
    visit.page.wait_for_selector("#panel .done")
    assert visit.page.get_attribute("#panel .unit .name", "data-unit") == "WATER"


def test_a_condition_can_decide_and_is_asked_for(visit: Visit) -> None:
    where = degrees(60, 60)
    visit.open(f"/#place={where['lon']:.6f},{where['lat']:.6f},E0102")
    assert visit.page.get_attribute("#panel .unit .name", "data-unit") == "WEST"
    visit.page.select_option("#place-condition", "2")
    visit.until_address_has("E0102,2")
    assert visit.page.get_attribute("#panel .unit .name", "data-unit") == "WATER"


def test_open_cases_of_the_class_near_by_are_told_before_a_report_is_sent(visit: Visit) -> None:
    known = visit.door.post("/cases", report(330, 150, **{"class": "E0101"}), "collector").json()
    far = visit.door.post("/cases", report(330, 230, **{"class": "E0101"}), "collector").json()
    visit.open()
    visit.page.click("#account")
    log_in(visit, "collector")
    where = degrees(340, 150)
    visit.page.evaluate(f"location.hash = '#place={where['lon']:.7f},{where['lat']:.7f},E0101'")
    visit.page.click("#report-here")
    visit.page.wait_for_selector(f"#report-similar [data-case='{known['no']}']")
    assert str(far["no"]) not in visit.panel, "80 m away"
    visit.page.click(f"#report-similar [data-case='{known['no']}']")
    visit.until_address_has(f"case={known['no']}")
    assert str(known["no"]) in visit.page.inner_text("#panel-head")


def test_back_leads_to_what_was_selected_before_and_typing_moves_nothing_twice(visit: Visit) -> None:
    visit.open()
    visit.go_to(200, 200, 16.5)
    visit.click_on(130, 130)
    first = visit.page.inner_text("#panel-body")
    steps = visit.page.evaluate("history.length")
    visit.go_to(210, 210, 17)
    visit.page.click("label[for=layer-components]")
    visit.settle()
    assert visit.page.evaluate("history.length") == steps, "the map and its layers are no steps"
    visit.click_on(130, 250)
    second = visit.page.inner_text("#panel-body")
    assert second != first
    assert visit.page.evaluate("history.length") == steps + 1
    visit.page.go_back()
    visit.settle()
    assert visit.page.inner_text("#panel-body") == first
    assert visit.page.is_checked("#layer-components"), "layers stay as the reader has set them"
    visit.page.go_forward()
    visit.settle()
    assert visit.page.inner_text("#panel-body") == second
    visit.page.go_back()
    visit.page.go_back()
    visit.page.wait_for_selector("#panel", state="hidden")


def test_the_list_of_cases_follows_the_map_and_the_filters(visit: Visit) -> None:
    visit.open("/#stage=all")
    visit.page.click("#list-cases")
    visit.page.wait_for_selector("#case-list .line")
    everything = visit.page.locator("#case-list .line").count()
    assert f"{everything} cases" in visit.page.inner_text("#panel-head")
    visit.page.fill("#filter-class", "E0101")
    visit.page.keyboard.press("Enter")
    visit.until_address_has("class=E0101")
    expect(visit.page.locator("#case-list .line")).not_to_have_count(everything, timeout=20_000)
    visit.page.click("#clear-filters")
    visit.page.click("label.chip:has(#filter-stage-all)")
    expect(visit.page.locator("#case-list .line")).to_have_count(everything, timeout=20_000)
    visit.go_to(1500, 1500)
    visit.page.wait_for_selector("[data-word=cases_in_view_none]")


def test_two_numbers_are_a_place_in_whichever_order(visit: Visit) -> None:
    where = degrees(130, 130)
    lon, lat = round(where["lon"], 6), round(where["lat"], 6)
    cell = visit.door.get("/locate", lon=lon, lat=lat).json()["cell"]["code"]
    visit.open()
    for typed in (f"{lon}, {lat}", f"{lat} {lon}"):
        visit.page.fill("#search-text", typed)
        visit.page.wait_for_selector(f"#search-results [data-code='{lon}, {lat}']")
        visit.page.keyboard.press("Enter")
        visit.until_address_has(f"place={lon},{lat}")
        assert cell in visit.panel
        visit.page.click("#panel-close")
        visit.settle()


def test_a_place_outside_is_answered_calmly_and_a_strange_link_in_words(visit: Visit) -> None:
    visit.open()
    visit.go_to(380, 200, 16)
    visit.click_on(700, 200)
    visit.page.wait_for_selector("#panel .outside")
    assert "lies outside" in visit.panel
    assert visit.page.locator("#panel .problem").count() == 0
    where = degrees(130, 130)
    visit.page.evaluate(f"location.hash = '#place={where['lat']:.6f},{where['lon']:.6f}&layers=zzz'")
    expect(visit.page.locator("#panel .outside")).to_contain_text("swapped")
    assert visit.page.is_visible("#notice [data-word=link_partly]")
    visit.page.evaluate("location.hash = '#case=12'")
    visit.page.wait_for_selector("#panel", state="hidden")
    assert visit.page.is_visible("#notice [data-word=link_partly]")
    visit.complaints = [said for said in visit.complaints if "422" not in said]  # the browser's own line


def test_a_list_that_would_open_below_the_fold_opens_upwards(visit: Visit) -> None:
    visit.open("/#layers=cells,cases,heat")
    visit.page.click("#filter-class")
    visit.page.wait_for_selector("#filter-class-list [role=option]")
    box = visit.page.locator("#filter-class-list").bounding_box()
    side = visit.page.locator("#side").bounding_box()
    assert box is not None
    assert side is not None
    assert box["y"] >= side["y"]
    assert box["y"] + box["height"] <= side["y"] + side["height"]
    assert box["height"] > 150


def test_filters_change_what_is_drawn_and_stand_in_the_address(visit: Visit) -> None:
    visit.open("/#stage=all")
    visit.go_to(200, 200, 17)
    everything = visit.drawn("cases-one")
    visit.page.fill("#filter-class", "E0101")
    visit.page.keyboard.press("Enter")
    visit.until_address_has("class=E0101")
    some = visit.drawn("cases-one")
    assert 0 < some < everything
    hash_ = visit.page.evaluate("location.hash")
    assert "class=E0101" in hash_
    visit.page.goto("about:blank")
    visit.open("/" + hash_)
    assert visit.drawn("cases-one") == some, "a link restores what was seen"
    visit.page.click("#clear-filters")
    visit.settle()
    assert "class=" not in visit.page.evaluate("location.hash")


def test_the_heat_is_drawn_with_its_legend_only_when_wanted(visit: Visit) -> None:
    visit.open()
    assert not [url for url in visit.asked if "/maps/heat" in url]
    assert not [url for url in visit.asked if "/tiles/components" in url]
    visit.page.click(HEAT)
    visit.settle()
    tiles = [url for url in visit.asked if re.search(r"/maps/heat/\d+/\d+/\d+\.png", url)]
    assert tiles
    assert "v=" in tiles[0]
    side = visit.page.inner_text("#side")
    assert "km²" in side
    assert "layers=" in visit.page.evaluate("location.hash")


def test_what_is_searched_for_is_found_shown_and_marked(visit: Visit) -> None:
    number = visit.door.get("/cases", limit=1).json()["items"][0]["no"]
    visit.open()
    visit.page.keyboard.press("/")
    visit.page.keyboard.type(str(number))
    visit.page.wait_for_selector(f"#search-results [data-code='{number}']")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.settle()
    assert str(number) in visit.panel
    visit.page.fill("#search-text", "610999002002003")
    visit.page.wait_for_selector("#search-results [data-code='610999002002003']")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.settle()
    assert "610999002002003" in visit.panel
    visit.page.fill("#search-text", "6109990101000001")
    visit.page.wait_for_selector("#search-results [data-code='6109990101000001']")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("Enter")
    visit.settle()
    assert "6109990101000001" in visit.panel


def log_in(visit: Visit, name: str) -> None:
    visit.page.fill("#login-name", name)
    visit.page.fill("#login-password", PASSWORD)
    visit.page.click("#log-in")
    visit.page.wait_for_selector("#login", state="hidden")
    visit.settle()


def test_a_stranger_logs_in_reports_a_case_and_finds_it_on_the_map(visit: Visit) -> None:
    visit.open()
    visit.go_to(320, 320)
    visit.click_on(320, 320)
    visit.page.click("#report-here")
    log_in(visit, "collector")
    visit.page.fill("#report-class", "E0102")
    visit.page.keyboard.press("Enter")
    visit.page.fill("#report-description", "垃圾一堆 a heap of refuse")
    visit.page.click("#send-report")
    visit.page.wait_for_selector("#panel .done")
    visit.settle()
    newest = visit.door.get("/cases", limit=1).json()["items"][0]
    case = visit.door.get(f"/cases/{newest['no']}").json()
    assert case["description"] == "垃圾一堆 a heap of refuse"
    assert (case["cell"]["code"], case["unit"]["code"]) == ("610999002002002", "STATION")
    for word in (str(case["no"]), "STATION", "Z1"):
        assert word in visit.panel
    shown = visit.page.evaluate(
        "window.wanmi.map.queryRenderedFeatures({layers: ['cases-one']}).map(f => f.properties.no)"
    )
    assert case["no"] in shown, "the map shows it without a reload"
    visit.page.click("#panel-close")
    visit.click_on(320, 320)
    assert str(case["no"]) in visit.panel, "a click on it tells its facts"


def test_who_may_not_report_is_told_so_in_words(visit: Visit) -> None:
    visit.open()
    visit.page.click("#account")
    log_in(visit, "planner")
    visit.click_on(50, 50)
    button = visit.page.locator("#report-here")
    if button.count() and button.is_enabled():
        button.click()
        visit.settle()
    assert visit.page.locator("#send-report:enabled").count() == 0
    assert "{" not in visit.panel


def test_where_reading_needs_an_account_the_page_waits_with_the_city_and_a_log_in(visit: Visit) -> None:
    with opened_door(visit.door.engine, visit.door.house.city, "accounts") as closed:
        visit.door = closed
        visit.open()
        name = visit.page.inner_text("#city-name")
        assert name
        visit.page.click("#enter")
        log_in(visit, "planner")
        assert visit.drawn("cells") > 0
        visit.page.click("#account")
        visit.page.click("#log-out")
        visit.page.wait_for_selector("#enter")
        visit.settle()
        assert visit.page.inner_text("#city-name") == name
        assert visit.page.locator("#map canvas").count() == 0
        visit.page.goto("about:blank")


def test_a_wrong_password_is_said_and_nothing_else(visit: Visit) -> None:
    visit.open()
    visit.page.click("#account")
    visit.page.fill("#login-name", "collector")
    visit.page.fill("#login-password", "wrong")
    visit.page.click("#log-in")
    expect(visit.page.locator("#login")).to_contain_text("do not belong together", timeout=15_000)
    visit.complaints = [said for said in visit.complaints if "401" not in said]  # the browser's own line


@pytest.mark.parametrize("visit", [chinese], indirect=True)
def test_chinese_is_spoken_everywhere_and_english_at_once_after_a_click(visit: Visit) -> None:
    visit.open("/#stage=all")
    visit.click_on(130, 130)
    assert visit.page.evaluate("document.documentElement.lang").startswith("zh")
    in_chinese = visit.page.inner_text("#side") + visit.panel
    assert CHINESE.search(visit.page.inner_text("#side"))
    assert not re.search(r"\b(Layers|Filters|Cases|Community|Border|Responsible)\b", in_chinese)
    visit.page.click("#language-en")
    visit.settle()
    assert visit.page.evaluate("document.documentElement.lang").startswith("en")
    in_english = visit.page.inner_text("#side") + visit.page.inner_text("#panel-head")
    assert not CHINESE.search(in_english), in_english
    assert "lang=en" in visit.page.evaluate("location.hash")


def test_every_word_is_there_in_both_languages(visit: Visit) -> None:
    visit.open()
    for name in ("WORDS", "ACTS"):
        words = visit.page.evaluate(f"import('/console/words.js').then(m => m.{name})")
        assert len(words) > 10
        for key, (zh, en) in words.items():
            assert zh.strip(), key
            assert en.strip(), key
            assert set(re.findall(r"\{\w+\}", zh)) == set(re.findall(r"\{\w+\}", en)), key
            assert not CHINESE.search(en), key


def test_chinese_letters_are_letters_not_boxes(visit: Visit) -> None:
    visit.open("/#lang=zh")
    assert not visit.page.is_visible("#fonts")
    assert visit.page.is_enabled("#language-zh")


@pytest.mark.parametrize("visit", [phone], indirect=True)
def test_on_a_phone_nothing_is_cut_off_and_everything_can_be_touched(visit: Visit) -> None:
    visit.open()
    wide = visit.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide[0] <= wide[1]
    visit.click_on(200, 250)
    assert visit.page.is_visible("#panel")
    box = visit.page.locator("#panel").bounding_box()
    assert box is not None
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 390
    small = visit.page.evaluate(
        "[...document.querySelectorAll('button, select, input:not([type=checkbox]):not([type=radio])')]"
        ".filter(e => e.offsetParent && e.getBoundingClientRect().height < 38).map(e => e.id || e.textContent)"
    )
    assert small == []


def test_the_keyboard_alone_is_enough(visit: Visit) -> None:
    visit.open()
    visit.page.focus("canvas")
    visit.page.keyboard.press("Enter")
    visit.settle()
    assert "610999" in visit.panel, "Enter on the map asks at its centre"
    visit.page.keyboard.press("Escape")
    visit.page.wait_for_selector("#panel", state="hidden")
    seen = set()
    for _ in range(40):
        visit.page.keyboard.press("Tab")
        seen.add(visit.page.evaluate("document.activeElement.id || document.activeElement.tagName"))
    assert {"search-text", "account", "filter-class", "layer-heat"} <= seen


def test_an_address_changed_by_hand_is_obeyed_and_nonsense_is_passed_over(visit: Visit) -> None:
    visit.open()
    where = degrees(50, 150)
    visit.page.evaluate(f"location.hash = '#place={where['lon']:.6f},{where['lat']:.6f},E0102&lang=zh'")
    visit.settle()
    assert "610999001001001" in visit.panel
    assert CHINESE.search(visit.page.inner_text("#side"))
    visit.open("/#view=x/y/z&layers=zzz&class=%3Cb%3E&from=never&place=1&lang=xx&stage=q")
    assert visit.drawn("cells") > 0


def test_what_fails_is_said_in_words_and_can_be_tried_again(visit: Visit) -> None:
    visit.open()
    gone = True

    def answer(route: Route) -> None:
        if gone:
            route.abort()
        else:
            route.continue_()

    visit.page.route("**/locate?*", answer)
    visit.click_on(50, 50)
    visit.page.wait_for_selector("#panel [data-word=retry], #panel .problem button")
    gone = False
    visit.page.click("#panel [data-word=retry], #panel .problem button")
    visit.settle()
    assert "610999001001003" in visit.panel
    visit.complaints = [said for said in visit.complaints if "ERR_FAILED" not in said]


def test_words_of_a_report_are_text_never_markup(visit: Visit) -> None:
    evil = "<img src=x onerror=\"document.title='hacked'\"><b>bold</b>"
    case = visit.door.post("/cases", report(150, 350, description=evil, address=evil), "collector").json()
    visit.open(f"/#case={case['no']}")
    assert "<b>bold</b>" in visit.panel
    assert visit.page.title() != "hacked"
    assert visit.page.locator("#panel img").count() == 0
