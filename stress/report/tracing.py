"""A recorded execution as a trace that the Perfetto viewer opens: the JSON form of Chrome's Trace Event Format.

One operation takes one microsecond: there is no other clock in an execution.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from sugarbush.concurrency.witness import Pair
from sugarbush.stress.report.recording import Recorded


def perfetto(recorded: Recorded, pairs: Sequence[Pair] = ()) -> str:
    """The trace: a thread a task, locks held and waits as slices, operations as instants, orders as flows."""
    threads = {task: number for number, task in enumerate(recorded.tasks)}
    events: list[dict[str, Any]] = [
        _named("process_name", 0, f"{recorded.name}: {recorded.failure.headline}")
    ]
    events += [_named("thread_name", number, task) for task, number in threads.items()]
    for span in recorded.spans:
        events.append(
            {
                "ph": "X",
                "cat": "wait" if span.how == "waits" else "lock",
                "name": f"waits: {span.what}" if span.how == "waits" else span.what,
                "ts": span.start,
                "dur": span.end - span.start,
                "args": {"how": span.how},
            }
            | _where(threads[span.task])
        )
    for step in recorded.steps:
        events.append(
            {
                "ph": "i",
                "s": "t",
                "cat": step.kind,
                "name": f"{step.what}({step.on})" if step.kind != "trace" else f"{step.what} {step.on}",
                "ts": step.step,
                "args": {"where": step.where},
            }
            | _where(threads[step.task])
        )
    for number, pair in enumerate(pairs):
        flow = {"cat": "order", "name": "the order matters", "id": number}
        for phase, moment in (("s", pair.first), ("f", pair.second)):
            events.append({"ph": phase, "bp": "e", "ts": moment.step} | flow | _where(threads[moment.task]))
    return json.dumps({"traceEvents": events, "displayTimeUnit": "ns"}) + "\n"


def _where(thread: int) -> dict[str, int]:
    return {"pid": 1, "tid": thread}


def _named(what: str, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": what, "args": {"name": name}} | _where(thread)
