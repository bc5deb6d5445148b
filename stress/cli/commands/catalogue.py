"""``sugarbush catalogue``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Protocol

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sugarbush.concurrency import DEFAULT_STRATEGY, STRATEGIES
from sugarbush.lockdep.outside import INTERRUPTED, UNUSABLE, UnusableFile
from sugarbush.stress.cli.proving import prove_catalogue
from sugarbush.stress.kit import Bug, all_bugs, find_bug
from sugarbush.stress.report import write_pages
from sugarbush.stress.runs import (
    DEFAULT_SCHEDULES,
    DEFAULT_SECONDS,
    Case,
    Hunt,
    Outcome,
    Proving,
    hunted,
    line,
    note,
    out,
    shown_by,
    write_results,
)


def catalogue_command(
    names: Annotated[list[str] | None, typer.Argument(help="Bugs, by name or id; all if none.")] = None,
    schedules: Annotated[int, typer.Option(help="How many executions of each form.")] = DEFAULT_SCHEDULES,
    strategy: Annotated[str, typer.Option(help=", ".join(STRATEGIES) + ".")] = DEFAULT_STRATEGY,
    seed: Annotated[int, typer.Option(help="Where the choices start.")] = 1,
    jobs: Annotated[int, typer.Option(help="How many processes hunt side by side.")] = 1,
    prove: Annotated[
        bool,
        typer.Option(
            "--prove",
            help="Prove instead: the bug is found and the fixed form is passed, by a bounded search.",
        ),
    ] = False,
    seconds: Annotated[
        float, typer.Option(help="With --prove: when to stop, for each form.")
    ] = DEFAULT_SECONDS,
    depth: Annotated[
        int | None,
        typer.Option(
            help="With --prove: within how many preemptions; as many as the bug needs if not given."
        ),
    ] = None,
    pages: Annotated[Path | None, typer.Option(help="Write one page a bug to this directory.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on the last line.")] = False,
    junit: Annotated[Path | None, typer.Option(help="Write JUnit XML to this file.")] = None,
    markdown: Annotated[Path | None, typer.Option("--summary", help="Write a summary in Markdown.")] = None,
) -> int:
    """Hunt the known bugs: each must be found in the patched kernel, and be absent in the fixed one."""
    bugs = [find_bug(name) for name in names] if names else all_bugs()
    if prove:
        return prove_catalogue(bugs, Proving(seconds, depth), jobs, pages, as_json)
    how = Hunt(schedules, strategy, seed)
    outcomes: list[Outcome] = []
    interrupted = False
    start = time.monotonic()
    with _shown() as show:
        try:
            for outcome in hunted(bugs, how, jobs):
                outcomes.append(outcome)
                show(outcomes)
        except KeyboardInterrupt:
            interrupted = True
    # Another check saw something: whether that is the bug, which `check=` then names wrongly, is for the reader to say.
    otherwise = [outcome for outcome in outcomes if outcome.surprise]
    missed = [outcome for outcome in outcomes if not outcome.found and not outcome.surprise]
    dirty = [outcome for outcome in outcomes if not outcome.fixed_clean]
    line(
        f"{len(outcomes)} of {len(bugs)} bugs: {len(outcomes) - len(missed) - len(otherwise)} found, "
        f"{f'{len(otherwise)} found by another check, ' if otherwise else ''}"
        f"{len(outcomes) - len(dirty)} clean when fixed, {time.monotonic() - start:.0f} s"
        + (", interrupted" if interrupted else "")
    )
    for outcome in missed:
        line(f"not found: {outcome.bug.name}")
    for outcome in otherwise:
        line(_otherwise(outcome))
    for outcome in dirty:
        line(f"not clean: {outcome.bug.fixed.name} {_not_clean(outcome)}")
    problems = [write_results([_case(outcome) for outcome in outcomes], "catalogue", junit, markdown)]
    if pages is not None:
        try:
            write_pages(outcomes, pages)
        except UnusableFile as error:
            problems.append(str(error))
    if as_json:
        print(json.dumps({"entries": [outcome.as_json() for outcome in outcomes]}))
    problem = "; ".join(filter(None, problems))
    if problem:
        note(problem)
    if interrupted:
        return INTERRUPTED
    return int(bool(missed or otherwise or dirty)) or (UNUSABLE if problem else 0)


def _case(outcome: Outcome) -> Case:
    wrong = []
    if outcome.surprise:
        wrong.append((f"found by another check: {outcome.bug.name}", _otherwise(outcome)))
    elif not outcome.found:
        wrong.append((f"not found: {outcome.bug.name}", ""))
    if not outcome.fixed_clean:
        wrong.append((f"not clean: {outcome.bug.fixed.name}", _not_clean(outcome)))
    return Case(outcome.bug.name, _words(outcome), outcome.seconds, wrong)


def _otherwise(outcome: Outcome) -> str:
    bug = outcome.bug
    return (
        f"found by another check: {bug.name} shows itself by {outcome.surprise}; its entry says "
        f"{shown_by(bug.kind, bug.check)}"
    )


def _not_clean(outcome: Outcome) -> str:
    failures = outcome.fixed.failures
    return failures[0].failure.headline if failures else outcome.fixed.unexplored


class _Show(Protocol):
    def __call__(self, outcomes: list[Outcome]) -> None:
        """Show one outcome more."""


@contextmanager
def _shown() -> Iterator[_Show]:
    """A table that grows while the block runs, or a line a bug where output is no terminal."""
    if not out.is_terminal:
        yield lambda outcomes: line(_words(outcomes[-1]))
        return
    with Live(_table([]), console=out, vertical_overflow="visible") as live:
        yield lambda outcomes: live.update(_table(outcomes))


def _table(outcomes: list[Outcome]) -> Table:
    table = Table("id", "bug", "found after", "seconds", "preemptions", "fixed", box=None, pad_edge=False)
    for outcome in outcomes:
        bug: Bug = outcome.bug
        if outcome.found:
            found = Text(str(outcome.executions))
        else:
            what = f"{outcome.executions}, by another check" if outcome.surprise else "not found"
            found = Text(what, style="bold red")
        clean = Text("clean") if outcome.fixed_clean else Text("FAILS", style="bold red")
        table.add_row(bug.id, bug.name, found, f"{outcome.seconds:.2f}", _count(outcome.preemptions), clean)
    return table


def _words(outcome: Outcome) -> str:
    found = (
        f"found after {outcome.executions} executions, {outcome.seconds:.2f} s"
        if outcome.found
        else "NOT FOUND"
    )
    if outcome.surprise:
        found = f"FOUND BY ANOTHER CHECK after {outcome.executions} executions, {outcome.seconds:.2f} s"
    return (
        f"{outcome.bug.id:5} {outcome.bug.name}: {found}, "
        f"{_count(outcome.preemptions)} preemptions, fixed form {'clean' if outcome.fixed_clean else 'FAILS'}"
    )


def _count(number: int | None) -> str:
    return "-" if number is None else str(number)
