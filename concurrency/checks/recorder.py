"""The recorder: keeps the stream of events of one execution, for reports and artifacts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sugarbush.concurrency.core import Observer, Operation, Runtime, Task, label, place, spell
from sugarbush.lockdep.model import RawFrame


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    `step` is the number of the operation (a tracepoint has that of the operation before it); `kind` is ``op``,
    ``trace``, ``block`` or ``spawn``; `what` names the operation or tracepoint; `where` is the user's
    ``file:line``.
    """

    step: int
    task: str
    kind: str
    what: str
    on: str
    where: str


class Recorder(Observer):
    """Keeps all events, and the names of the tasks in `tasks`."""

    def __init__(self) -> None:
        self.tasks: list[str] = []
        self._kept: list[tuple[int, str, str, str, str, str | None, RawFrame | None]] = []
        self._runtime: Any = None

    @property
    def events(self) -> list[Event]:
        """What happened so far, in order."""
        return [
            Event(step, task, kind, what, f"{on}.{field}" if field else on, spell(where))
            for step, task, kind, what, on, field, where in self._kept
        ]

    def begin(self, runtime: Runtime) -> None:
        """Forget the last execution's events."""
        self._runtime = runtime
        self._kept = []
        self.tasks = []

    def _add(self, task: Task, kind: str, what: str, on: str) -> None:
        self._kept.append((self._runtime.steps, task.name, kind, what, on, None, place()))

    def accessed(self, task: Task, op: Operation, obj: object) -> None:
        """Keep a step, with the place of the code that made it."""
        self._kept.append((self._runtime.steps, task.name, "op", op.name, label(obj), op.field, place(3)))

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """Keep an operation, with the place of the code that made it."""
        self._kept.append((self._runtime.steps, task.name, "op", op.name, label(obj), op.field, place(3)))

    def blocked(self, task: Task, op: Operation, obj: object) -> None:
        """Keep that a task has to wait."""
        self._add(task, "block", op.name, label(obj))

    def spawned(self, parent: Task | None, task: Task) -> None:
        """Keep the name of the task, and that it was spawned."""
        self.tasks.append(task.name)
        if parent is not None:
            self._add(parent, "spawn", "spawn", task.name)

    def traced(self, task: Task, event: str, fields: dict[str, object]) -> None:
        """Keep a tracepoint, with its fields as text: objects may change after it."""
        self._add(task, "trace", event, " ".join(f"{key}={value}" for key, value in fields.items()))
