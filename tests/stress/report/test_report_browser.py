"""The page in a real browser: it steps through the execution, without a network and without an error."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sugarbush.stress.cli.app import main

webdriver = pytest.importorskip("selenium.webdriver")
waits = pytest.importorskip("selenium.webdriver.support.ui")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")

SHOTS = Path(__file__).parents[3] / "sugarbush-out"

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--window-size=1280,1000",
)


def status(*arguments: str) -> int:
    with pytest.raises(SystemExit) as exit_info:
        main(list(arguments))
    return int(exit_info.value.code or 0)


def started(folder: Path) -> Any:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    browser.implicitly_wait(20)
    return browser


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("page")
    assert status("run", "brk-false-vma", "--without", "coverage", "--out", str(folder)) == 1
    assert status("report", str(folder), "--html", str(folder / "page.html")) == 0
    browser = started(folder)
    try:
        browser.get((folder / "page.html").as_uri())
        browser.find_element("css selector", "#chart svg")
        yield browser
    finally:
        browser.quit()


def text(browser: Any, name: str) -> str:
    return str(browser.find_element("id", name).text)


def press(browser: Any, *keys: str) -> None:
    for key in keys:
        browser.find_element("tag name", "body").send_keys(getattr(webdriver.Keys, key, key))


def holds(browser: Any, condition: str) -> None:
    """Wait until a condition holds; fails if it does not in a minute."""
    waits.WebDriverWait(browser, 60).until(
        lambda page: page.execute_script(f"return {condition}"), f"never held: {condition}"
    )


def test_it_shows_the_failure_and_its_lanes(opened: Any) -> None:
    assert "BUG_ON" in text(opened, "headline")
    lanes = opened.find_element("css selector", "#chart svg").text
    for name in ("cc1", "kcompactd", "mm->mmap_lock", "anon_vma->rwsem"):
        assert name in lanes
    assert opened.find_elements("css selector", "#world img")
    assert opened.find_element("id", "graph").get_attribute("naturalWidth") != "0"


def test_at_the_failure_it_says_what_is_held(opened: Any) -> None:
    press(opened, "END")
    assert "holds mm->mmap_lock" in text(opened, "tasks")


def test_keys_and_buttons_step(opened: Any) -> None:
    press(opened, "HOME")
    assert text(opened, "at").startswith("0 of")
    press(opened, "ARROW_RIGHT", "ARROW_RIGHT", "ARROW_LEFT")
    assert text(opened, "at").startswith("1 of")
    opened.find_element("id", "on").click()
    assert text(opened, "at").startswith("2 of")
    assert "mmap_lock" in text(opened, "tasks")
    press(opened, "ARROW_DOWN")
    switched = int(text(opened, "at").split()[0])
    assert switched > 2
    press(opened, "END")
    total = text(opened, "at").split()
    assert total[0] == total[2]
    assert "page tables" in text(opened, "world")


def test_a_row_of_the_table_goes_there(opened: Any) -> None:
    row = opened.find_elements("css selector", "#rows tr")[10]
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", row)
    row.click()
    assert text(opened, "at").split()[0] == row.get_attribute("data-step")
    assert row.get_attribute("aria-current") == "step"


def test_dark_and_light(opened: Any) -> None:
    def paper() -> str:
        return str(opened.find_element("tag name", "body").value_of_css_property("background-color"))

    before = paper()
    press(opened, "t")
    assert paper() != before
    press(opened, "t")
    assert paper() == before


STATE = """
return ["at", "doing", "tasks", "world"].map((name) => byId(name)).map((part) => [part.textContent,
  ...[...part.querySelectorAll("article:not([hidden]) img:not([hidden])")].map((image) => image.src),
  ...[...part.querySelectorAll("article")].map((card) => card.hidden)]);
""".replace("byId(name)", "document.getElementById(name)")


def moved(browser: Any, step: int) -> None:
    """As the slider does."""
    browser.execute_script(
        "const s = document.getElementById('step'); s.value = arguments[0]; s.dispatchEvent(new Event('input'))",
        step,
    )


def state(browser: Any) -> Any:
    return browser.execute_script(STATE)


def test_a_step_shows_the_same_from_wherever_one_comes(opened: Any) -> None:
    moved(opened, 200)
    forward = []
    for _ in range(60):
        forward.append(state(opened))
        press(opened, "ARROW_RIGHT")
    assert len({str(one[2:]) for one in forward}) > 10
    for before in reversed(forward):
        press(opened, "ARROW_LEFT")
        assert state(opened) == before
    for step in (255, 203, 240, 222):
        moved(opened, 420)
        moved(opened, step)
        assert state(opened) == forward[step - 200]


def test_the_first_screen_tells_the_story(opened: Any) -> None:
    press(opened, "HOME")
    told = [item.text.split() for item in opened.find_elements("css selector", "#story li")]
    numbers = [int(words[0]) for words in told]
    assert numbers == sorted(numbers)
    assert {words[1] for words in told} == {"cc1", "kcompactd"}
    assert told[-1][-2:] == ["fails", "here"]
    assert "in task cc1 at operation" in text(opened, "headline")
    bottom = opened.execute_script(
        "scrollTo(0, 0); return document.querySelector('#story .fails').getBoundingClientRect().bottom"
    )
    assert bottom <= opened.execute_script("return innerHeight")
    opened.find_elements("css selector", "#story button")[0].click()
    assert int(text(opened, "at").split()[0]) == numbers[0]


def test_the_table_makes_only_the_rows_in_sight(opened: Any) -> None:
    def steps() -> list[int]:
        rows = "return [...document.querySelectorAll('#rows tr')].map((row) => Number(row.dataset.step))"
        return list(opened.execute_script(rows))

    press(opened, "HOME")
    first = steps()
    press(opened, "END")
    last = steps()
    total = int(text(opened, "at").split()[2])
    assert first[0] == 1
    assert last[-1] == total
    assert max(len(first), len(last)) < total / 2
    opened.execute_script("document.getElementById('scroll').scrollTop = 0")
    opened.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    assert steps()[0] == 1


def test_it_fits_a_small_screen(opened: Any) -> None:
    narrow = {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", narrow)
    try:
        # The browser lays the page out anew some time after it was told; a page that is too wide stays so.
        holds(opened, "window.innerWidth === 360 && document.documentElement.scrollWidth <= 360")
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        holds(opened, "window.innerWidth > 1000")


def test_an_order_that_matters_leads_to_its_lane(opened: Any) -> None:
    press(opened, "HOME")
    link = opened.find_element("css selector", "#pairs .to-lane")
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", link)
    link.click()
    assert f"operation {text(opened, 'at').split()[0]}" == link.text
    top = opened.execute_script("return document.getElementById('chart').getBoundingClientRect().top")
    assert -200 <= top <= 200


def test_screenshots_are_kept(opened: Any) -> None:
    SHOTS.mkdir(parents=True, exist_ok=True)
    for name, size in (("wide", (1280, 1000)), ("small", (500, 900))):
        opened.set_window_size(*size)
        opened.execute_script("scrollTo(0, 0)")
        assert opened.save_screenshot(str(SHOTS / f"report-{name}.png"))
    opened.set_window_size(1280, 1000)


def test_a_long_execution_steps_fluently(opened: Any) -> None:
    """Not timed against a clock of the test: what is pinned is that a step makes few changes of the document."""
    moved(opened, 260)
    changes = opened.execute_async_script(
        """
        const done = arguments[0];
        let count = 0;
        const watcher = new MutationObserver((list) => { count += list.length; });
        watcher.observe(document.body, { attributes: true, childList: true, characterData: true, subtree: true });
        document.getElementById("back").click();
        setTimeout(() => { watcher.disconnect(); done(count); }, 50);
        """
    )
    assert 4 <= changes <= 40


def test_no_error_and_no_request(opened: Any) -> None:
    severe = [line["message"] for line in opened.get_log("browser") if line["level"] == "SEVERE"]
    assert severe == []
    fetched = opened.execute_script("return performance.getEntriesByType('resource').map(e => e.name)")
    assert [name for name in fetched if not name.startswith(("data:", "file:"))] == []
