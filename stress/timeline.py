"""A witness as a person reads it: the tasks side by side, with the operations that matter."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from concurrency import Event, Failure, Witness

_MAIN = "main"
_LOCKS = ("mm->mmap_lock", "anon_vma->rwsem")


def matters(event: Event) -> bool:
    """Whether the side-by-side view shows an event: what the model says of itself, waits, and the two big locks."""
    return event.kind in ("trace", "block") or (event.kind == "op" and event.on in _LOCKS)


def shown_events(witness: Witness, until: int | None = None) -> list[Event]:
    """The events of the part in which the tasks run beside each other, up to operation `until`."""
    start = next((event.step for event in witness.events if event.kind == "spawn"), 0)
    last = witness.steps if until is None else until
    return [event for event in witness.events if start <= event.step <= last and matters(event)]


def timeline(witness: Witness, until: int | None = None) -> Table:
    """One column a task, one row an event; a rule stands wherever another task goes on."""
    events = shown_events(witness, until)
    active = {event.task for event in events} | {witness.failure.task}
    tasks = [task for task in dict.fromkeys(witness.tasks) if task in active]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    table.add_column("step", justify="right", style="dim", no_wrap=True)
    for task in tasks:
        table.add_column(Text(task), overflow="fold", ratio=1)
    previous = ""
    for event in events:
        if previous and event.task != previous:
            table.add_section()
        previous = event.task
        table.add_row(str(event.step), *_cells(tasks, event.task, _words(event)))
    if until is None or until >= witness.failure.step:
        table.add_section()
        mark = Text(f"*** {witness.failure.kind.value} ***", style="bold red")
        table.add_row(str(witness.failure.step), *_cells(tasks, witness.failure.task, mark))
    return table


def _cells(tasks: Sequence[str], task: str, text: Text) -> list[Text]:
    return [text if name == task else Text("") for name in tasks]


def _words(event: Event) -> Text:
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
