"""`make quick ROOM=concurrency/locks`: what matters for one room, within 20 seconds of an idle machine.

Linter, format and import contracts; then, side by side, the types of the room and its tests, with those of the house.
Test files that were changed since the last commit come first, wherever they lie. Tests that would take longer are left
out, and it says so: who has green here runs `make check` all the same.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
SECONDS = 14
"""Of CPU time, for the tests: on a machine that is busy with other work the same tests are run as on an idle one, and
it takes longer. By the clock there would be none left there, and that would be green."""
FIRST, LAST = "tests/house/test_primitives.py", "tests/house/test_style.py"
"""A second, and five: what is cut is the style of all rooms rather than the tests of this one."""


def main(room: str) -> int:
    """Exit status: 0 nothing wrong in what was run, 1 something is, 2 there is no such room."""
    room = room.strip("/")
    if not (ROOT / room / "__init__.py").is_file():
        print(f"there is no room {room}: name its folder, as in ROOM=concurrency/locks", file=sys.stderr)
        return 2
    own = [f"tests/{room}"] if any((ROOT / "tests" / room).glob("test_*.py")) else []
    changed = _changed_tests()
    if not own and not changed:
        print(f"tests/{room} has no tests: those of the rooms above it run what is in here")
    places = [room, *own, *changed, FIRST, LAST]
    failed = []
    for tool, *more in (
        ("ruff", "check", "-q", *places),
        ("ruff", "format", "--check", "-q", *places),
        ("lint-imports",),
    ):
        done = subprocess.run([BIN / tool, *more], cwd=ROOT, check=False, capture_output=tool != "ruff")
        failed += [tool] if done.returncode else []
    if not (ROOT / ".mypy_cache").is_dir():
        print("mypy reads all that the room imports: that takes longer, this one time", flush=True)
    # It is never cut, since what is cut leaves no cache behind, and the next time would be as long.
    types = subprocess.Popen([BIN / "mypy", "-p", "sugarbush." + room.replace("/", ".")], cwd=ROOT)
    failed += _run_tests(room, list(dict.fromkeys([*changed, FIRST, *own, LAST])))
    if types.wait():
        failed.append("mypy")
    if failed:
        print(f"{room}: {', '.join(dict.fromkeys(failed))} found something", file=sys.stderr)
    return 1 if failed else 0


def _changed_tests() -> list[str]:
    """The test files that the last commit has not, or not so."""
    words = ["git", "ls-files", "--modified", "--others", "--exclude-standard", "--", "tests"]
    done = subprocess.run(words, cwd=ROOT, check=False, capture_output=True, text=True)
    named = sorted({line for line in done.stdout.splitlines() if Path(line).match("test_*.py")})
    return [name for name in named if (ROOT / name).is_file()]


def _run_tests(room: str, files: list[str]) -> list[str]:
    """Run them in this order up to the first failure (there is time for one); ["pytest"] if there is one."""
    words = ["-x", "-v", "--no-header", "-p", "no:xdist", "-p", "no:cacheprovider", *files]
    run = subprocess.run(
        [sys.executable, "-u", "-m", "pytest", *words],
        cwd=ROOT,
        check=False,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=partial(resource.setrlimit, resource.RLIMIT_CPU, (SECONDS, SECONDS + 5)),
    )
    text = run.stdout.decode(errors="replace")
    # The kernel ends it by a signal: SIGXCPU.
    is_cut = run.returncode < 0
    passed = text.count(" PASSED")
    more = f", the rest takes longer: pytest {' '.join(files)}" if is_cut else ""
    print(f"{room}: {passed} tests passed{more}")
    if passed == 0 or (run.returncode and not is_cut) or " FAILED" in text or " ERROR" in text:
        print(text)
        return ["pytest"]
    return []


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
