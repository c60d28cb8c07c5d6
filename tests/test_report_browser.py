"""The page of a report in a real browser: what it does, not what it says."""

import os
import shutil

import numpy as np
import pytest
from report_store import LAYERS, STEPS, curve_of, make

from dynamics import report

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

EVIL = "</script><script>window.hacked = 1</script>"
EVIL_TARGET = "\"'><img src=x onerror=window.hacked=2>"
ERROR = "first line\n<script>window.hacked = 3</script> “ünïcode” & 'quotes' \"double\""


def _where_is_chromium() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
    if found is None and os.environ.get("CI"):
        pytest.fail("no chromium on the path: continuous integration installs it")
    if found is None:
        pytest.skip("no chromium on the path: install Debian's package to test the report")
    return found


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_where_is_chromium())
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """One report with everything in it, and names that try to be markup."""
    place = tmp_path_factory.mktemp("report")
    path = make(
        place / "run.zarr",
        run=EVIL,
        target=EVIL_TARGET,
        parts=("speech", EVIL, "hum"),
        categories=("speech", EVIL),
        failed={5: ERROR},
        simulated=1,
        nulls=9,
    )
    return report.write(path, output=place / "report.html").as_uri()


@pytest.fixture
def visit(browser, address):
    """Open the report as a reader with some screen and preferences would."""
    contexts = []

    def visit(width=1280, **preferences):
        context = browser.new_context(viewport={"width": width, "height": 800}, **preferences)
        contexts.append(context)
        page = context.new_page()
        page.faults, page.requests = [], []
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("request", lambda request: page.requests.append(request.url))
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()


def profile_of(page):
    return page.eval_on_selector_all(
        "#profile tbody tr",
        "rows => rows.map(row => [...row.cells].map(cell => cell.textContent))",
    )


def numbers(texts):
    return [float(text.replace("−", "-").replace(",", "")) for text in texts]


def test_it_loads_without_errors_and_asks_for_nothing_else(visit, address):
    page = visit()
    assert page.faults == []
    assert {each for each in page.requests if not each.startswith("data:")} == {address}
    broken = "images => images.filter(image => !image.complete || !image.naturalWidth).length"
    assert page.eval_on_selector_all("img", broken) == 0


def test_strings_of_the_user_are_shown_and_never_run(visit):
    page = visit()
    assert page.evaluate("window.hacked") is None
    assert page.locator("h1").inner_text() == EVIL
    assert EVIL_TARGET in page.locator("#findings ~ .finding h3").first.inner_text()
    said = page.locator(".failures li").inner_text()
    assert "<script>window.hacked = 3</script> “ünïcode” & 'quotes' \"double\"" in said
    assert page.locator("option").nth(2).inner_text() == EVIL
    page.evaluate(
        """() => { const script = document.createElement("script");
        script.textContent = "window.hacked = 4"; document.body.append(script); }"""
    )
    assert page.evaluate("window.hacked") is None  # the page's policy forbids foreign programs
    page.select_option("#series", index=2)  # the program writes the name too
    assert EVIL in page.locator("#profile-caption").inner_text()
    assert page.evaluate("window.hacked") is None


def test_the_slider_shows_the_stores_scores_at_every_step(visit):
    page = visit(reduced_motion="reduce")
    page.select_option("#series", index=1)
    slider = page.locator("#slider")
    slider.focus()
    widths, frames = set(), []
    for place in reversed(range(len(STEPS))):
        assert page.locator("#shown").inner_text() == f"{STEPS[place]:,}"
        assert slider.get_attribute("aria-valuetext") == f"step {STEPS[place]:,}"
        rows = profile_of(page)
        assert [row[0] for row in rows] == list(LAYERS)
        truth = [curve_of(0, layer)[place] for layer in range(3)]
        np.testing.assert_allclose(numbers(row[1] for row in rows), truth, atol=0.00501)
        widths.add(page.locator("#profile .bar").last.evaluate(
            "bar => bar.style.getPropertyValue('--size')"
        ))  # fmt: skip
        frames.append(page.locator(".frame").first.evaluate(
            "frame => frame.style.getPropertyValue('--frame')"
        ))  # fmt: skip
        assert f"step {STEPS[place]:,}" in page.locator(".frame img").first.get_attribute("alt")
        page.keyboard.press("ArrowLeft")
    assert len(widths) == 3  # of five steps the first two and the last two are alike
    assert frames == ["4", "3", "2", "1", "0"]
    assert page.locator("#play").is_hidden()  # nothing moves for whoever wants no motion
    assert page.faults == []


def test_the_slider_plays_and_stops(visit):
    page = visit()
    page.clock.install(time=0)  # steps go by when the test says so, however quick the machine is
    page.clock.pause_at(1000)
    shown, play = page.locator("#shown"), page.locator("#play")
    assert shown.inner_text() == "10,000"
    play.click()
    assert (shown.inner_text(), play.inner_text()) == ("0", "Stop")
    for step in STEPS[1:3]:
        page.clock.run_for(500)
        assert shown.inner_text() == f"{step:,}"
    play.click()
    page.clock.run_for(5000)
    assert (shown.inner_text(), play.inner_text()) == (f"{STEPS[2]:,}", "Play")
    play.click()
    page.clock.run_for(5000)
    assert (shown.inner_text(), play.inner_text()) == (f"{STEPS[-1]:,}", "Play")  # stops at the end


def column(page, table, number):
    return page.eval_on_selector_all(
        f"#{table} tbody tr", f"rows => rows.map(row => row.cells[{number}].dataset.sort)"
    )


def test_tables_sort_by_number_and_by_keyboard_with_what_is_missing_last(visit):
    page = visit()
    headings = page.locator("#emergence-1 thead th")
    names = headings.all_inner_texts()
    place = names.index("Half-time")
    assert column(page, "emergence-1", place) != sorted(column(page, "emergence-1", place))
    headings.nth(place).locator("button").focus()
    for key, state, way in (("Enter", "ascending", 1), (" ", "descending", -1)):
        page.keyboard.press(key)
        assert headings.nth(place).get_attribute("aria-sort") == state
        values = column(page, "emergence-1", place)
        known = [float(value) for value in values if value]
        assert len(known) >= 6 and values[len(known) :] == [""] * (len(values) - len(known))
        assert known == sorted(known)[::way]
    headings.nth(0).locator("button").click()
    assert headings.nth(place).get_attribute("aria-sort") is None
    assert page.locator("#emergence-1 tbody th").first.inner_text() == EVIL


def test_rows_of_other_layers_are_shown_on_request(visit):
    page = visit()
    shown = page.locator("#emergence-1 tbody tr:visible")
    assert shown.count() == 4  # the mean and three parts
    page.select_option("#filter-1", "all")
    assert shown.count() == 12


@pytest.mark.parametrize("width, scheme", [(1280, "light"), (400, "dark")])
def test_it_has_no_faults_of_accessibility(visit, width, scheme):
    found = axe.Axe().run(visit(width=width, color_scheme=scheme))
    assert found.violations_count == 0, found.generate_report()


def test_a_narrow_screen_does_not_scroll_sideways(visit):
    page = visit(width=400)
    assert page.evaluate("document.documentElement.scrollWidth") == 400
    table = page.locator(".scroll:has(#emergence-1)")
    assert table.evaluate("box => box.scrollWidth > box.clientWidth")  # but the table does
    table.focus()
    page.keyboard.press("ArrowRight")
    moved = (
        page.wait_for_timeout(20) or table.evaluate("box => box.scrollLeft") for _ in range(99)
    )
    assert any(place > 0 for place in moved)


def test_dark_mode_is_dark_and_figures_stand_on_a_light_card(visit):
    page = visit(color_scheme="dark")

    def brightness(selector):
        colour = page.locator(selector).first.evaluate("e => getComputedStyle(e).backgroundColor")
        return np.mean([int(part) for part in colour[4:-1].split(",")])

    assert brightness("body") < 40 and brightness(".card") > 220


def test_without_its_program_tables_and_figures_are_there_and_controls_are_not(visit):
    page = visit(java_script_enabled=False)
    assert page.locator("#controls").is_hidden() and page.locator(".filter").first.is_hidden()
    assert page.locator("#emergence-1 tbody tr:visible").count() == 12
    assert page.locator("#profile tbody tr").count() == 3
    assert page.locator(".card img").first.is_visible()


def test_the_program_draws_the_profile_that_the_page_came_with(visit):
    drawn = []
    for program in (False, True):
        page = visit(java_script_enabled=program)
        bars = [bar.bounding_box() for bar in page.locator(".bar i, .bar b, .bar u, .bar s").all()]
        places = [(round(bar["x"]), round(bar["width"])) for bar in bars]
        drawn.append((page.locator("#profile tbody tr").all_inner_texts(), places))
    assert len(drawn[0][1]) == 3 * 4  # score, limits, baseline and ceiling of three layers
    assert drawn[0] == drawn[1]


def test_it_prints(visit):
    page = visit()
    assert page.pdf().startswith(b"%PDF")
    page.emulate_media(media="print")
    assert page.locator("nav").is_hidden() and page.locator("#controls").is_hidden()
    assert page.locator("h1").is_visible() and page.locator("#profile").is_visible()


def test_the_keyboard_reaches_the_findings_first(visit):
    page = visit()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the findings"
    levels = page.eval_on_selector_all("h1, h2, h3", "all => all.map(e => Number(e.tagName[1]))")
    assert levels[0] == 1 and max(np.diff(levels)) == 1
