"""How long `sugarbush --help` and `sugarbush list` take to answer, in starts of the bare interpreter.

    python benchmarks/startup.py [--rounds N] [--json]

The figure is CPU time of the process, user and system, divided by that of `python -c pass` in the same round; shown is
the median of the rounds, with the smallest and the largest. The bytecode is written before the first round, as it is
after the first start of any installed program.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

SOURCES = Path(__file__).parents[1] / "src"
COMMANDS = {
    "--help": ["-m", "sugarbush", "--help"],
    "list": ["-m", "sugarbush", "list"],
}
# 150 and 250 ms where the interpreter starts in 20.
TARGETS = {"--help": 7.5, "list": 12.5}


def cpu_seconds(arguments: list[str]) -> float:
    """CPU time of one start of the interpreter with these arguments."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    environment["PYTHONPATH"] = str(SOURCES)
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment
    ) as process:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{arguments} ended with {process.returncode}")
    return usage.ru_utime + usage.ru_stime


def main() -> int:
    parser = argparse.ArgumentParser(description="How long the command line takes to answer.")
    parser.add_argument("--rounds", type=int, default=15, metavar="N", help="starts of each")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    args = parser.parse_args()
    for arguments in COMMANDS.values():
        cpu_seconds(arguments)
    ratios: dict[str, list[float]] = {name: [] for name in COMMANDS}
    bare: list[float] = []
    for _ in range(args.rounds):
        bare.append(cpu_seconds(["-c", "pass"]))
        for name, arguments in COMMANDS.items():
            ratios[name].append(cpu_seconds(arguments) / bare[-1])
    print(f"`python -c pass`: {statistics.median(bare) * 1000:.0f} ms")
    print("| command | starts of the interpreter | from | to | target |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for name, found in ratios.items():
        middle = statistics.median(found)
        print(f"| sugarbush {name} | {middle:.1f} | {min(found):.1f} | {max(found):.1f} | {TARGETS[name]} |")
    met = all(statistics.median(found) <= TARGETS[name] for name, found in ratios.items())
    if args.json:
        print(json.dumps({"ratios": ratios, "bare_ms": [1000 * one for one in bare], "met": met}))
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
