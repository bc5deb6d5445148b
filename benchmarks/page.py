"""What the page of a long execution costs in a browser: a table, as Markdown and as JSON.

    python benchmarks/page.py [--steps 5000] [--frames 300] [--rounds 3] [--page FILE] [--out DIR]

The witness is found, not made up: `swap-build-v11` with more compilers, under the random strategy, whose schedules are
the longest to write down; the first failure with at least ``--steps`` operations. It is not minimised.

Measured are the bytes of its artifact and of its page, and in headless Chromium, from the start of the navigation: the
first paint, the page shown (all but the lanes), the lanes drawn, the load event. Then one arrow key a frame, right and
back: the time from frame to frame, and the part of it that the page's own script takes. Headless Chromium draws in
software, so frames depend on the machine; run it on an idle one. ``--page`` measures a page that exists.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from sugarbush.concurrency import explore
from sugarbush.stress.cli.commands.report import draw_page
from sugarbush.stress.kit import registry
from sugarbush.stress.kit.patches import applied
from sugarbush.stress.kit.scenarios import find_scenario
from sugarbush.stress.witness.artifact import load, saved

SCENARIO = "swap-build-v11"
PARAMETERS = {"compilers": 6, "pages": 6, "units": 2, "frames": 60, "slots": 80, "rounds": 6}
WITHOUT = frozenset({"coverage", "huge-in-vma"})
SEEDS = 500
TARGETS = {"artifact bytes": 100_000, "load ms": 2000, "lanes ms": 2000, "frame ms": 1000 / 30}
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1280,1000")
TIMES = """
const named = (type, name) => performance.getEntriesByType(type).find((entry) => entry.name === name)?.startTime;
const { loadEventEnd } = performance.getEntriesByType("navigation")[0];
return { "first paint ms": named("paint", "first-contentful-paint"), "shown ms": named("mark", "shown"),
  "lanes ms": named("mark", "lanes"), "load ms": loadEventEnd };
"""
WALK = """
const [frames, key, done] = arguments;
const times = [], scripts = [];
let before;
function frame(now) {
  if (before !== undefined) times.push(now - before);
  before = now;
  if (times.length === frames) return done({ times, scripts });
  const start = performance.now();
  document.body.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  scripts.push(performance.now() - start);
  requestAnimationFrame(frame);
}
requestAnimationFrame(frame);
"""


def found(steps: int, folder: Path) -> Path:
    """The artifact of the first failure with at least so many operations."""
    registry.load()
    scenario = find_scenario(SCENARIO).given(PARAMETERS)
    settings = scenario.settings(WITHOUT)
    with applied(scenario.patches):
        for seed in range(1, SEEDS + 1):
            result = explore(scenario.program, strategy="random", seed=seed, executions=1, settings=settings)
            if result.failures and result.failures[0].steps >= steps:
                how = {"runtime": "simulated", "strategy": "random", "depth": None, "seed": seed}
                return saved(result.failures[0], scenario, WITHOUT, how, folder, name="long").path
    raise SystemExit(f"no failure of {steps} operations in {SEEDS} executions")


def browser(folder: Path) -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium") or shutil.which("google-chrome")
    for flag in (*FLAGS, f"--user-data-dir={folder / 'profile'}"):
        options.add_argument(flag)
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))


def measured(driver: Any, page: Path, frames: int) -> dict[str, float]:
    """One opening of the page, and a walk through it from the middle, and back."""
    from selenium.webdriver.support.wait import WebDriverWait

    driver.get("about:blank")
    driver.get(page.as_uri())
    lanes = "return performance.getEntriesByName('lanes').length > 0"
    WebDriverWait(driver, 60).until(lambda one: one.execute_script(lanes))
    row = driver.execute_script(TIMES)
    middle = """const slider = document.getElementById("step"); slider.value = slider.max / 2;
        slider.dispatchEvent(new Event("input"));"""
    driver.execute_script(middle)
    driver.set_script_timeout(120)
    times: list[float] = []
    scripts: list[float] = []
    for key in ("ArrowRight", "ArrowLeft"):
        walk = driver.execute_async_script(WALK, frames // 2, key)
        times += walk["times"]
        scripts += walk["scripts"]
    return {**row, **_spread("frame", times), **_spread("script", scripts)}


def _spread(name: str, values: list[float]) -> dict[str, float]:
    return {f"{name} ms": statistics.median(values), f"{name} p95 ms": statistics.quantiles(values, n=20)[-1]}


def main() -> int:
    parser = argparse.ArgumentParser(description="What the page of a long execution costs.")
    parser.add_argument("--steps", type=int, default=5000, metavar="N", help="operations, at least")
    parser.add_argument("--frames", type=int, default=300, metavar="N", help="frames measured a round")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="openings of the page")
    parser.add_argument("--page", type=Path, help="a page to measure instead of a new one")
    parser.add_argument("--out", type=Path, help="a directory for page.json and page.md")
    args = parser.parse_args()
    row: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        page = args.page
        if page is None:
            artifact = found(args.steps, folder)
            page = folder / "long.html"
            draw_page([load(artifact)], page)
            row = {"steps": load(artifact).step, "artifact bytes": artifact.stat().st_size}
        row["page bytes"] = page.stat().st_size
        driver = browser(folder)
        try:
            rounds = [measured(driver, page.resolve(), args.frames) for _ in range(args.rounds)]
        finally:
            driver.quit()
    row |= {name: round(statistics.median(one[name] for one in rounds), 1) for name in rounds[0]}
    table = ["| what | median | target |", "| --- | ---: | ---: |"]
    table += [f"| {name} | {value} | {_target(name)} |" for name, value in row.items()]
    met = all(row[name] <= most for name, most in TARGETS.items() if name in row)
    print("\n".join(table))
    if args.out:
        args.out.mkdir(parents=True, exist_ok=True)
        (args.out / "page.md").write_text("\n".join(table) + "\n", encoding="utf-8")
        (args.out / "page.json").write_text(
            json.dumps({"row": row, "rounds": rounds, "met": met}), encoding="utf-8"
        )
    return 0 if met else 1


def _target(name: str) -> str:
    return f"{TARGETS[name]:.0f}" if name in TARGETS else ""


if __name__ == "__main__":
    sys.exit(main())
