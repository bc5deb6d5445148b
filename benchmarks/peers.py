"""Sugarbush beside the other schedule explorers for Python: the same small programs, in one run.

    python benchmarks/peers.py [--python PATH ...] [--tools NAME ...] [--out DIR] [--rounds N] [--seeds N] ...

Each tool is installed into a throw-away virtual environment, one for each Python found (python3.14 down to python3.11
on the path, or those given). Speed: the repaired programs, all tools taking turns, executions a second, medians. Hunts:
executions until the bug is found, on the newest Python, medians over seeds; for a strategy without randomness a seed is
an order of the tasks. A strategy that finds nothing with its first three seeds is not asked further. Writes peers.json
and peers.md, and prints the latter. What cannot be installed or run is skipped with a line on standard error.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).parent
PEER_TOOLS = HERE / "peer_tools"
PROGRAMS = (
    "lost update",
    "AB-BA",
    "depth 3, aligned",
    "depth 3, skewed",
    "bounded buffer",
    "use after free",
)
OURS = "sugarbush"
TOOLS = {
    OURS: "greenlet>=3.1",
    "frontrun": "frontrun==0.7.0",
    "interleave_test": "interleave-test==0.1.0",
    "ploom": "ploom==0.1.1",
    "simloom": "simloom==0.5.0",
    "simloop": "simloop==0.2.2",
    "detangle": "detangle==0.1.0",
}
"""What each tool needs to be installed."""
TARGETS = {"frontrun": 40.0}
OTHERS_TARGET = 15.0
GIVES_UP_AFTER = 3
GRACE = 60.0
"""Seconds that an answer may take beyond what was asked for."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


@dataclass
class Worker:
    """One tool in its own interpreter."""

    tool: str
    command: list[str]
    process: subprocess.Popen[str] | None = None
    version: str = ""
    strategies: list[str] = field(default_factory=list)

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd=tempfile.gettempdir(),
            env=os.environ | {"PYTHONPATH": os.pathsep.join((str(PEER_TOOLS), str(HERE.parent)))},
        )
        hello = self._answer(GRACE)
        if "version" not in hello:
            raise RuntimeError(f"{self.tool} does not start: {hello}")
        self.version, self.strategies = hello["version"], hello["strategies"]

    def ask(self, seconds: float, **question: Any) -> dict[str, Any]:
        """The answer to one question; a worker that dies or says nothing is started again."""
        if self.process is None:
            self.start()
        assert self.process is not None
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({**question, "seconds": seconds}) + "\n")
        self.process.stdin.flush()
        answer = self._answer(seconds + GRACE)
        if "lost" in answer:
            self.stop()
        return answer

    def _answer(self, seconds: float) -> dict[str, Any]:
        assert self.process is not None
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], seconds)[0]:
            return {"lost": "no answer"}
        line = self.process.stdout.readline()
        return json.loads(line) if line else {"lost": "it died"}  # type: ignore[no-any-return]

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()
            self.process = None


def pythons(given: list[str]) -> list[str]:
    """The interpreters to use that exist and start, newest first."""
    found = []
    for name in given or [f"python3.{minor}" for minor in range(14, 10, -1)]:
        path = shutil.which(name)
        works = path and subprocess.run([path, "-c", ""], capture_output=True, check=False).returncode == 0
        if path and works:
            found.append(path)
        else:
            say(f"skipped: no {name} that starts")
    return found


def install(python: str, folder: Path, tools: Iterable[str]) -> tuple[str, list[str]]:
    """A virtual environment of `python`: its interpreter, and those tools that can be installed there."""
    folder.mkdir(parents=True)
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = str(folder / "bin" / "python")
    pip = [inside, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    installed = []
    for tool in tools:
        if subprocess.run([*pip, TOOLS[tool]], capture_output=True, check=False).returncode:
            say(f"skipped: {tool} cannot be installed for {python}")
        else:
            installed.append(tool)
    return inside, installed


def start(python: str, tools: Iterable[str]) -> list[Worker]:
    """Those tools that start in this interpreter."""
    workers = []
    for tool in tools:
        run = [python, str(PEER_TOOLS / "worker.py"), tool]
        # frontrun must have put its own locks into place before anything is imported.
        worker = Worker(tool, [str(Path(python).with_name("frontrun")), *run] if tool == "frontrun" else run)
        try:
            worker.start()
        except (RuntimeError, OSError) as error:
            say(f"skipped: {error}")
            worker.stop()
        else:
            workers.append(worker)
    return workers


def measure_speed(workers: list[Worker], rounds: int, seconds: float) -> list[dict[str, Any]]:
    """Executions a second of each strategy on each repaired program, all taking turns."""
    rates: dict[tuple[str, str, str], list[float]] = {}
    for turn in range(rounds):
        for program in PROGRAMS:
            say(f"speed, round {turn + 1} of {rounds}: {program}")
            for worker in workers:
                for strategy in worker.strategies:
                    answer = worker.ask(seconds, do="speed", program=program, strategy=strategy)
                    if "executions" in answer:
                        rate = answer["executions"] / answer["seconds"]
                        rates.setdefault((worker.tool, strategy, program), []).append(rate)
                    elif turn == 0 and "inexpressible" not in answer:
                        say(f"  {worker.tool}, {strategy}: {answer}")
    return [
        {"tool": tool, "strategy": strategy, "program": program, "rate": round(median(found), 1)}
        for (tool, strategy, program), found in rates.items()
    ]


def measure_hunts(workers: list[Worker], seeds: int, seconds: float) -> list[dict[str, Any]]:
    """For each strategy and program: how many seeds found the bug, after how many executions, and who said passed."""
    rows = []
    for program in PROGRAMS:
        for worker in workers:
            say(f"hunt: {program}, {worker.tool}")
            for strategy in worker.strategies:
                found: list[int] = []
                passed = asked = 0
                for seed in range(1, seeds + 1):
                    answer = worker.ask(seconds, do="hunt", program=program, strategy=strategy, seed=seed)
                    if "verdict" not in answer:
                        break
                    asked += 1
                    passed += answer["verdict"] == "passed"
                    if answer["verdict"] == "failed":
                        found.append(answer["executions"])
                    if seed == GIVES_UP_AFTER and not found and not passed:
                        break
                if asked:
                    row = {"tool": worker.tool, "strategy": strategy, "program": program, "asked": asked}
                    rows.append(
                        {
                            **row,
                            "found": len(found),
                            "passed": passed,
                            "median": median(found) if found else None,
                        }
                    )
    return rows


def ratios(speed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """For each peer, the median over the programs of our rate by its own, its fastest strategy on each program."""
    ours = {(row["strategy"], row["program"]): row["rate"] for row in speed if row["tool"] == OURS}
    rows = []
    for tool in dict.fromkeys(row["tool"] for row in speed if row["tool"] != OURS):
        best: dict[str, float] = {}
        for row in speed:
            if row["tool"] == tool:
                best[row["program"]] = max(row["rate"], best.get(row["program"], 0.0))
        row = {"peer": tool, "target": TARGETS.get(tool, OTHERS_TARGET)}
        for strategy in ("pct", "pct, checks off"):
            each = [
                ours[strategy, program] / rate
                for program, rate in best.items()
                if (strategy, program) in ours
            ]
            row[strategy] = round(median(each), 1) if each else None
        rows.append(row)
    return rows


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    head = list(head)
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(str(cell) for cell in row) + " |" for row in (head, rule, *rows)]


def hunt_cell(row: dict[str, Any] | None) -> str:
    if row is None:
        return "-"
    passed = f", **{row['passed']} passed**" if row["passed"] else ""
    if row["found"] == 0:
        return f"0 of {row['asked']}{passed}"
    return f"{row['median']:g}" + (
        f" ({row['found']} of {row['asked']}{passed})" if row["found"] < row["asked"] else ""
    )


def by_strategy(rows: list[dict[str, Any]], cell: Any) -> list[list[str]]:
    index = {(row["tool"], row["strategy"], row["program"]): row for row in rows}
    keys = dict.fromkeys((row["tool"], row["strategy"]) for row in rows)
    return [
        [f"{tool}: {strategy}", *(cell(index.get((tool, strategy, program))) for program in PROGRAMS)]
        for tool, strategy in keys
    ]


def rate_cell(row: dict[str, Any] | None) -> str:
    return "-" if row is None else f"{row['rate']:,.0f}" if row["rate"] >= 20 else f"{row['rate']:g}"


def render(result: dict[str, Any]) -> str:
    lines = []
    for run in result["runs"]:
        versions = ", ".join(f"{tool} {version}" for tool, version in run["versions"].items())
        lines += [f"Python {run['python']}: {versions}.", ""]
        lines += ["Executions a second, programs repaired:", ""]
        lines += table(("", *PROGRAMS), by_strategy(run["speed"], rate_cell))
        head = ("peer", "pct as explore() runs it", "pct, checks off", "target")
        lines += ["", "Our rate by the peer's, its fastest strategy, median over the programs:", ""]
        lines += table(
            head, [[row["peer"], row["pct"], row["pct, checks off"], row["target"]] for row in run["ratios"]]
        )
        if run["hunts"]:
            lines += ["", "Executions until the bug, median of the seeds that found it:", ""]
            lines += table(("", *PROGRAMS), by_strategy(run["hunts"], hunt_cell))
        lines.append("")
    return "\n".join(lines)


def version_of(python: str) -> str:
    ask = "import platform; print(platform.python_version())"
    return subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True).stdout.strip()


def main() -> None:
    parser = argparse.ArgumentParser(description="Sugarbush beside the other schedule explorers for Python.")
    parser.add_argument(
        "--python", action="append", default=[], help="an interpreter; may be given several times"
    )
    parser.add_argument(
        "--here", action="store_true", help="install nothing: what this interpreter can import"
    )
    parser.add_argument("--tools", nargs="*", default=list(TOOLS), choices=list(TOOLS))
    parser.add_argument("--out", type=Path, default=Path("sugarbush-out"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=5, help="of speed")
    parser.add_argument("--slice", type=float, default=0.3, help="seconds of each strategy in a round")
    parser.add_argument("--seeds", type=int, default=10, help="of each hunt")
    parser.add_argument("--cap", type=float, default=5.0, help="seconds of one hunt")
    args = parser.parse_args()
    begun = time.monotonic()
    result: dict[str, Any] = {
        "date": datetime.now(UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "runs": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        for number, python in enumerate([sys.executable] if args.here else pythons(args.python)):
            inside, tools = (
                (python, args.tools) if args.here else install(python, Path(folder) / str(number), args.tools)
            )
            workers = start(inside, tools)
            try:
                speed = measure_speed(workers, args.rounds, args.slice)
                hunts = measure_hunts(workers, args.seeds, args.cap) if number == 0 else []
            finally:
                for worker in workers:
                    worker.stop()
            result["runs"].append(
                {
                    "python": version_of(python),
                    "versions": {worker.tool: worker.version for worker in workers},
                    "speed": speed,
                    "ratios": ratios(speed),
                    "hunts": hunts,
                }
            )
    result["seconds"] = round(time.monotonic() - begun)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "peers.json").write_text(json.dumps(result, indent=1))
    text = render(result)
    (args.out / "peers.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
