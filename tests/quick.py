"""`make quick ROOM=concurrency/locks`: what matters for one room, within 20 seconds.

Linter, format and import contracts; then, side by side, the types of the room and its tests, with those of the house.
Tests that would take longer are left out, and their number is said: who has green here runs `make check` all the same.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SECONDS = 17
"""From the start; what is left of the 20 is for the ends of processes."""
FIRST, LAST = "tests/house/test_primitives.py", "tests/house/test_style.py"
"""A second, and five: what is cut is the style of all rooms rather than the tests of this one."""


def main(room: str) -> int:
    """Exit status: 0 nothing wrong in what was run, 1 something is, 2 there is no such room."""
    begun = time.monotonic()
    room = room.strip("/")
    if not (ROOT / room / "__init__.py").is_file():
        print(f"there is no room {room}: name its folder, as in ROOM=concurrency/locks", file=sys.stderr)
        return 2
    tests = [f"tests/{room}"] if any((ROOT / "tests" / room).glob("test_*.py")) else []
    if not tests:
        print(f"tests/{room} has no tests: those of the rooms above it run what is in here")
    places = [room, *tests, FIRST, LAST]
    failed = []
    for tool, *more in (
        ("ruff", "check", "-q", *places),
        ("ruff", "format", "--check", "-q", *places),
        ("lint-imports",),
    ):
        done = subprocess.run([BIN / tool, *more], cwd=ROOT, check=False, capture_output=tool != "ruff")
        failed += [tool] if done.returncode else []
    package = "sugarbush." + room.replace("/", ".")
    types = subprocess.Popen([BIN / "mypy", "-p", package], cwd=ROOT)
    # The first failure ends it (-x): there is time for one.
    words = ["-x", "-v", "--no-header", "-p", "no:xdist", "-p", "no:cacheprovider", FIRST, *tests, LAST]
    with subprocess.Popen(
        [sys.executable, "-m", "pytest", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as run:
        is_cut = False
        try:
            out, _ = run.communicate(timeout=max(1.0, SECONDS - (time.monotonic() - begun)))
        except subprocess.TimeoutExpired:
            is_cut = True
            run.kill()
            out, _ = run.communicate()
    text = out.decode(errors="replace")
    passed = text.count(" PASSED")
    if (run.returncode and not is_cut) or " FAILED" in text or " ERROR" in text:
        print(text)
        failed.append("pytest")
    try:
        if types.wait(timeout=max(1.0, SECONDS + 2 - (time.monotonic() - begun))):
            failed.append("mypy")
    except subprocess.TimeoutExpired:
        types.kill()
        print("mypy was cut: its first run reads all that the room imports; the next one is short")
    more = f", the rest takes longer: pytest tests/{room}" if is_cut else ""
    print(f"{room}: {passed} tests passed{more}")
    if failed:
        print(f"{room}: {', '.join(dict.fromkeys(failed))} found something", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
