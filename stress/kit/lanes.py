"""A witness as a person reads it: the tasks side by side, with the operations that matter."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from sugarbush.concurrency import Failure, Witness
from sugarbush.concurrency.lowlevel import Event

WIDTH = 110
"""Columns of a timeline in a file."""
_MAIN = "main"
_MARK = "\N{BLACK RIGHT-POINTING POINTER}"
_LOCKS = ("mm->mmap_lock", "anon_vma->rwsem")
_PAGE = re.compile(r"pfn\d+|(?<=addr=)0x[0-9a-f]+")
_SUBJECT = re.compile(r"pfn\d+|0x[0-9a-f]+")


Marked = frozenset[tuple[str, int]]
"""Operations to point at: the task, and the number of the operation."""


def shown_events(witness: Witness, until: int | None = None, marked: Marked = frozenset()) -> list[Event]:
    """The events that matter, up to operation `until`, of the part in which tasks run beside each other.

    That is what the model says of itself, unless it is about other pages than the failure; waits, and changes of
    hands of the two big locks, next to something that is shown; and the operations that are `marked`.
    """
    failure = witness.failure
    subjects = set(_SUBJECT.findall(f"{failure.headline} {failure.detail}"))
    start = next((event.step for event in witness.events if event.kind == "spawn"), 0)
    last = witness.steps if until is None else until
    shown = []
    for task in witness.tasks:
        events = [event for event in witness.events if event.task == task and start <= event.step <= last]
        events = [
            event
            for event in events
            if event.kind in ("trace", "block") or event.on in _LOCKS or _is_marked(event, marked)
        ]
        matters = [
            _is_marked(event, marked) or (event.kind == "trace" and _is_about(event, subjects))
            for event in events
        ]
        for number, event in enumerate(events):
            # A wait, or a change of hands, says something only beside what it lets happen.
            beside = any(matters[max(0, number - 1) : number + 2])
            if matters[number] or (event.kind != "trace" and beside):
                shown.append(event)
    order = {id(event): number for number, event in enumerate(witness.events)}
    return sorted(shown, key=lambda event: order[id(event)])


def _is_marked(event: Event, marked: Marked) -> bool:
    return event.kind == "op" and (event.task, event.step) in marked


def _is_about(event: Event, subjects: set[str]) -> bool:
    pages = set(_PAGE.findall(event.on))
    return not pages or not subjects or bool(pages & subjects)


def timeline(witness: Witness, until: int | None = None, marked: Marked = frozenset()) -> Table:
    """One column a task, one row an event; a rule stands wherever another task goes on."""
    events = shown_events(witness, until, marked)
    active = {event.task for event in events if event.task != _MAIN} | {witness.failure.task}
    tasks = [task for task in dict.fromkeys(witness.tasks) if task in active]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("step", justify="right", style="dim", no_wrap=True)
    for task in tasks:
        table.add_column(Text(task), overflow="fold", ratio=1)
    previous = ""
    for event in events:
        if event.task not in active:
            continue
        if previous and event.task != previous:
            table.add_section()
        previous = event.task
        table.add_row(str(event.step), *_cells(tasks, event.task, _words(event, marked)))
    if until is None or until >= witness.failure.step:
        mark = Text(f"*** {witness.failure.kind.value} ***", style="bold red")
        table.add_row(str(witness.failure.step), *_cells(tasks, witness.failure.task, mark))
    return table


def _cells(tasks: Sequence[str], task: str, text: Text) -> list[Text]:
    return [text if name == task else Text("") for name in tasks]


def _words(event: Event, marked: Marked) -> Text:
    if _is_marked(event, marked):
        return Text(f"{_MARK} {event.what}({event.on})", style="bold cyan")
    if event.kind == "trace":
        return Text(f"{event.what} {event.on}".rstrip(), style="bold")
    if event.kind == "block":
        return Text(f"waits: {event.what}({event.on})", style="yellow")
    return Text(f"{event.what}({event.on})", style="dim")


def headline(failure: Failure) -> Text:
    """What failed, where and when, in one paragraph."""
    text = Text(failure.headline, style="bold red")
    text.append(f"\nin task {failure.task} at operation {failure.step}", style="not bold")
    if failure.check:
        text.append(
            f" (check {failure.check}; --without {failure.check} looks past it)", style="dim not bold"
        )
    return text


def drawn(witness: Witness) -> str:
    """The timeline of a witness as plain text."""
    console = Console(width=WIDTH, color_system=None, force_terminal=False, legacy_windows=False)
    with console.capture() as capture:
        console.print(timeline(witness))
    return "\n".join(row.rstrip() for row in capture.get().rstrip().splitlines())
