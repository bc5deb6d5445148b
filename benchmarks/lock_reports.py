"""How fast lock reports are read: ``python benchmarks/lock_reports.py [--json]``.

Each figure is the best of several rounds, in processor time, since other programs may run. A limit stands beside it
where the project promises one; the exit status is 1 when a limit is not kept. On a machine that is busy with other work
the same instructions take longer, so the loop at the top is printed for comparison.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

from sugarbush.lockdep.read import gather, read_stream
from sugarbush.lockdep.read.events import feed_stream

CASES = Path(__file__).parents[1] / "tests" / "data" / "lock-reports"
ROUNDS = 5


def best(work: Callable[[], int]) -> tuple[float, int]:
    """The least time of one pass, and what it gave."""
    least, given = float("inf"), 0
    for _ in range(ROUNDS):
        start = time.process_time()
        given = work()
        least = min(least, time.process_time() - start)
    return least, given


def loop() -> int:
    """A million additions: what the machine can do just now."""
    total = 0
    for number in range(1_000_000):
        total += number
    return 1_000_000


def quiet_log() -> bytes:
    """About 30 MB of a console without a report in it."""
    lines = [
        b"[   12.345678][ T1234] usb 3-1: new high-speed USB device number 7 using xhci_hcd, link is up\n",
        b'[   12.345678] audit: type=1400 audit(1234.5:77): avc: denied { read } for pid=77 comm="locker"\n',
        b"[   12.345678] clocksource: tsc: mask: 0xffffffffffffffff max_cycles: 0x1 blocked stalls: 0\n",
    ]
    return b"".join(lines) * 100_000


def events() -> bytes:
    """100,000 events of 50 tasks that nest two locks."""
    rows = []
    for number in range(25_000):
        who = {"task": "cook", "pid": number % 50, "irq": "", "time": number * 0.1}
        locks = [("oven", number % 7), ("tray", number % 5)]
        taken = [
            {**who, "event": "acquire", "lock": f"{name}{at}", "class": f"&{name}->lock"}
            for name, at in locks
        ]
        rows += [*taken, *({**who, "event": "release", "lock": one["lock"]} for one in reversed(taken))]
    return "\n".join(map(json.dumps, rows)).encode() + b"\n"


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    as_json = parser.parse_args().json
    quiet, told = quiet_log(), (CASES / "10-circular-6.15.log").read_bytes() * 300
    heard = events()
    additions, added = best(loop)
    silence, _ = best(lambda: len(list(read_stream(io.BytesIO(quiet)))))
    reading, reports = best(lambda: len(list(read_stream(io.BytesIO(told)))))
    gathering, _ = best(lambda: len(gather(read_stream(io.BytesIO(told)))))
    feeding, count = best(lambda: feed_stream(io.BytesIO(heard), "events").events)
    figures = [
        ("additions of a loop, millions a second", added / additions / 1e6, None),
        ("log without a report, MB a second", len(quiet) / silence / 1e6, 50.0),
        ("reports a second", reports / reading, 2000.0),
        ("reports a second, each cause once", reports / gathering, None),
        ("lock events a second", count / feeding, 100_000.0),
    ]
    if as_json:
        print(json.dumps({name: value for name, value, _ in figures}))
    else:
        for name, value, limit in figures:
            print(f"{name:45}{value:12,.0f}" + (f"   (at least {limit:,.0f})" if limit else ""))
    return int(any(limit is not None and value < limit for _, value, limit in figures))


if __name__ == "__main__":
    sys.exit(main())
