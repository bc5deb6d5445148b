"""One execution as it was recorded: who did what, who held what, and what the world looked like after each operation.

It is made by replaying an artifact with a recorder among the observers. Everything in it is text and numbers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from sugarbush.concurrency import Failure, Schedule, Task, Witness
from sugarbush.concurrency.core import label, stack
from sugarbush.concurrency.locks import SharedLock
from sugarbush.concurrency.lowlevel import Event, LockValidator, Observer, Operation, Runtime, quiet
from sugarbush.lockdep.show import to_svg
from sugarbush.stress.report.world import Section, world
from sugarbush.stress.witness import Artifact, replay_artifact


@dataclass(frozen=True, slots=True)
class Span:
    """From operation `start` on, and no more at `end`, a task had `what`: alone, to read, or to write; or waited in it.

    `how` says which. What it had when the execution failed ends one operation behind the last.
    """

    task: str
    what: str
    how: str
    start: int
    end: int


@dataclass(slots=True)
class Recorded:
    """One execution. `worlds` has each state once; `world_at` and `stacks_at` say which one stands at which step.

    `stacks` are the stacks of all tasks, innermost frame first. `lock_graph` is an SVG picture.
    """

    name: str
    tasks: list[str]
    steps: list[Event]
    spans: list[Span]
    lives: list[Span]
    worlds: list[list[Section]]
    world_at: list[tuple[int, int]]
    stacks: list[dict[str, list[str]]]
    stacks_at: list[tuple[int, int]]
    failure: Failure
    schedule: Schedule
    total: int
    lock_graph: str = ""
    reports: list[str] = field(default_factory=list)


def recorded(artifact: Artifact) -> Recorded:
    """Replay `artifact` before a recorder; raises `BadSchedule` if it no longer fits the program."""
    recorder = _Recorder()
    return recorder.recorded(artifact.scenario.name, replay_artifact(artifact, recorder))


class _Once:
    """Keeps each of a sequence of states once, and from which step on it stood."""

    def __init__(self) -> None:
        self.states: list[Any] = []
        self.at: list[tuple[int, int]] = []
        """Since which step which of the states stands, in ascending order."""
        self._known: dict[str, int] = {}
        """By their text: states are lists, which are no keys."""

    def add(self, step: int, state: Any) -> None:
        key = repr(state)
        number = self._known.setdefault(key, len(self.states))
        if number == len(self.states):
            self.states.append(state)
        if self.at and self.at[-1][0] == step:
            self.at.pop()
        if not self.at or self.at[-1][1] != number:
            self.at.append((step, number))


class _Recorder(Observer):
    """Watches one execution."""

    def __init__(self) -> None:
        self._runtime: Any = None
        self._spans: list[Span] = []
        self._open: dict[tuple[str, str, int], Span] = {}
        self._lives: dict[str, int] = {}
        self._ends: dict[str, int] = {}
        self._holders: dict[int, tuple[object, dict[str, str]]] = {}
        self._stacks: dict[str, list[str]] = {}
        self._worlds = _Once()
        self._standing = _Once()

    def begin(self, runtime: Runtime) -> None:
        """Keep the runtime: its operations are the clock, and its observers have the lock reports."""
        self._runtime = runtime

    @property
    def _now(self) -> int:
        return int(self._runtime.steps)

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """The operation before this one has taken effect: look at the world, and at where this task stands."""
        self._look(self._now - 1)
        self._stacks[task.name] = list(stack(1))
        self._standing.add(self._now, dict(self._stacks))

    def performed(self, task: Task, op: Operation, obj: Any, arg: Any, result: Any) -> None:  # noqa: ARG002
        """End the wait of the task, note who holds the lock now, and whether the task is in a read-side section."""
        self._close((task.name, "wait", 0))
        self._see_holders(obj)
        key = (task.name, "rcu", 0)
        if not task.rcu_nesting:
            self._close(key)
        elif key not in self._open:
            self._open[key] = Span(task.name, "RCU", "to read", self._now, 0)

    def blocked(self, task: Task, op: Operation, obj: object) -> None:
        """Begin a span in which the task waits for what it cannot get yet."""
        self._open[task.name, "wait", 0] = Span(task.name, f"{op.name}({label(obj)})", "waits", self._now, 0)

    def spawned(self, parent: Task | None, task: Task) -> None:  # noqa: ARG002
        """Note at which operation the life of the task begins."""
        self._lives[task.name] = self._now

    def ended(self, task: Task) -> None:
        """Note at which operation the life of the task ends; it stands nowhere any more."""
        self._ends[task.name] = self._now
        self._stacks.pop(task.name, None)

    def _look(self, step: int) -> None:
        with quiet():
            self._worlds.add(step, world(self._runtime))

    def _see_holders(self, obj: Any) -> None:
        """Begin a span for each task that has just taken the lock, and end that of each one that has just lost it."""
        holders = getattr(type(obj), "holders", None)
        if holders is None:
            return
        now = {task.name: _how(obj, task) for task in obj.holders}
        _, before = self._holders.get(id(obj), (obj, {}))
        # With the object itself: were it gone, another one could get its id.
        self._holders[id(obj)] = obj, now
        for name in sorted(before.keys() | now.keys()):
            if before.get(name) != now.get(name):
                self._close((name, "hold", id(obj)))
                if name in now:
                    self._open[name, "hold", id(obj)] = Span(name, label(obj), now[name], self._now, 0)

    def _close(self, key: tuple[str, str, int], later: int = 0) -> None:
        span = self._open.pop(key, None)
        if span is not None:
            self._spans.append(Span(span.task, span.what, span.how, span.start, self._now + later))

    def recorded(self, name: str, witness: Witness) -> Recorded:
        """What was seen, after the execution has failed."""
        for key in list(self._open):
            self._close(key, later=1)
        validators = [one for one in self._runtime.observers if isinstance(one, LockValidator)]
        snapshots = [one.snapshot() for one in validators]
        return Recorded(
            name=name,
            tasks=list(witness.tasks),
            steps=list(witness.events),
            spans=sorted(self._spans, key=lambda span: (span.start, span.end, span.task, span.what)),
            lives=[
                Span(task, "", "", born, self._ends.get(task, witness.steps))
                for task, born in self._lives.items()
            ],
            worlds=self._worlds.states,
            world_at=self._worlds.at,
            stacks=self._standing.states,
            stacks_at=self._standing.at,
            failure=witness.failure,
            schedule=witness.schedule,
            total=witness.steps,
            lock_graph=to_svg(snapshots[0]) if snapshots and snapshots[0].classes else "",
            reports=[row.text for snapshot in snapshots for row in snapshot.reports],
        )


def _how(obj: Any, task: Task) -> str:
    # Not by `readers`: to look at that is an operation, and we are in the middle of one.
    if not isinstance(obj, SharedLock):
        return "alone"
    return "to write" if obj.exclusive is task else "to read"
