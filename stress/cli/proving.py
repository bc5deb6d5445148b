"""``sugarbush catalogue --prove``: what it prints."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Protocol

from rich.live import Live
from rich.table import Table
from rich.text import Text

from sugarbush.lockdep.outside import INTERRUPTED, UNUSABLE, UnusableFile
from sugarbush.stress.kit import Bug
from sugarbush.stress.report import write_proofs
from sugarbush.stress.runs import Proven, Proving, commit, line, note, out, prove_bug, side_by_side, sources


def prove_catalogue(bugs: Sequence[Bug], how: Proving, jobs: int, pages: Path | None, as_json: bool) -> int:
    """Prove both forms of the bugs; the status is 1 if something is not as the catalogue says.

    What was not proven within the budget is said, and is no reason for another status.
    """
    proven: list[Proven] = []
    interrupted = False
    start = time.monotonic()
    with _shown() as show:
        try:
            for one in side_by_side(bugs, partial(prove_bug, how=how), jobs):
                proven.append(one)
                show(proven)
        except KeyboardInterrupt:
            interrupted = True
    found = [one for one in proven if one.broken.preemptions is not None]
    line(
        f"{len(proven)} of {len(bugs)} bugs: {len(found)} found, {sum(one.broken.least for one in found)} of them with "
        f"the fewest preemptions, {sum(one.passed for one in proven)} passed when fixed, "
        f"{sum(one.complete for one in proven)} of them for every schedule, {time.monotonic() - start:.0f} s"
        + (", interrupted" if interrupted else "")
    )
    for one in proven:
        if one.broken.preemptions is None:
            line(f"not found: {one.bug.name}: {one.broken.open}")
        if not one.passed:
            line(f"not passed: {one.bug.fixed.name}: {one.words}")
    problem = ""
    if pages is not None:
        try:
            write_proofs(proven, how.seconds, pages)
        except UnusableFile as error:
            problem = str(error)
            note(problem)
    if as_json:
        by = {"commit": commit(), "sources": sources(), "seconds": how.seconds}
        print(json.dumps({**by, "entries": [one.as_json() for one in proven]}))
    if interrupted:
        return INTERRUPTED
    return int(any(one.contradicts for one in proven)) or (UNUSABLE if problem else 0)


class _Show(Protocol):
    def __call__(self, proven: list[Proven]) -> None:
        """Show one bug more."""


@contextmanager
def _shown() -> Iterator[_Show]:
    """A table that grows while the block runs, or a line a bug where output is no terminal."""
    if not out.is_terminal:
        yield lambda proven: line(_words(proven[-1]))
        return
    with Live(_table([]), console=out, vertical_overflow="visible") as live:
        yield lambda proven: live.update(_table(proven))


def _words(one: Proven) -> str:
    passed = "passed" if one.passed else "NOT PASSED"
    return f"{one.bug.id:5} {one.bug.name}: {one.broken.words}; fixed form {passed}: {one.words}"


def _table(proven: list[Proven]) -> Table:
    table = Table("id", "bug", "broken form", "fixed form", box=None, pad_edge=False)
    for one in proven:
        found = one.broken.preemptions is not None
        table.add_row(
            one.bug.id,
            one.bug.name,
            Text(one.broken.words, style="" if found else "bold red"),
            Text(one.words, style="" if one.passed else "bold red"),
        )
    return table
