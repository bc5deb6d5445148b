"""A litmus test as a program of the engine, and the execution that shows what the search has found."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sugarbush.concurrency import (
    ConcurrencyError,
    Failure,
    Kind,
    Settings,
    Spinlock,
    SrcuStruct,
    Task,
    Witness,
    join,
    replay,
    spawn,
)
from sugarbush.concurrency.lowlevel import Observer, Operation, active, fail, peek, quiet
from sugarbush.concurrency.runtimes import by_name
from sugarbush.concurrency.strategies import Pruned
from sugarbush.stress.litmus.calls import Act, Location
from sugarbush.stress.litmus.code import Built, Code, Places, Registers, Step, ValueOf
from sugarbush.stress.litmus.search import MachineState

OBSERVED = "observed"
_LOOKS = (Act.READ, Act.MODIFY, Act.LOOK, Act.WRITE)


def _made(built: Built) -> Places:
    """Fresh locations with their initial values."""
    places: Places = []
    for index, (name, kind) in enumerate(built.kinds.items()):
        if kind == "p":
            places.append(Location(name=name, index=index))
        else:
            places.append(Spinlock(name) if kind == "l" else SrcuStruct(name))
    for name, value in built.initial.items():
        found = places[built.index(value)] if isinstance(value, str) else value
        places[built.index(name)].v = found
    return places


def program(
    built: Built, *, asks: bool = True, seen: dict[tuple[Any, ...], None] | None = None
) -> Callable[[], None]:
    """The test as a program; a final state that answers the question is a failure, unless nobody `asks`.

    The final values of what the test asks for are added to `seen`.
    """

    def run() -> None:
        places = _made(built)
        registers = {code.number: built.registers(code, places) for code in built.processes}
        names = {code.number: code.names for code in built.processes}
        join(
            *[
                spawn(_go, code, registers[code.number], places, name=f"P{code.number}")
                for code in built.processes
            ]
        )

        def state(process: int | None, name: str) -> Any:
            if process is None:
                value = peek(places[built.index(name)], "v")
            else:
                value = registers[process][names[process][name]]
            return value.name if isinstance(value, Location) else value

        with quiet():
            if built.filtered is not None and not built.filtered(state):
                return
            if seen is not None:
                seen[tuple(state(*asked) for asked in built.asked)] = None
            answered = answers(built, state)
        if answered and asks:
            fail(Failure(Kind.CHECK, OBSERVED, built.spelt))

    return run


def answers(built: Built, state: ValueOf) -> bool:
    """The final state is one that the question is about: for forall, one that violates it."""
    assert built.asks is not None
    return built.asks(state) is not (built.quantifier == "forall")


def _go(code: Code, registers: Registers, places: Places) -> None:
    steps = code.steps
    at = 0
    while at < len(steps):
        step = steps[at]
        at += 1
        if step.act is not None:
            _act(step, registers, places)
        elif step.told:
            _tell(step, registers, places)
        elif step.into >= 0:
            assert step.pointer is not None
            registers[step.into] = step.pointer(registers, places)
        elif step.pointer is None or not step.pointer(registers, places):
            at = step.target


def _act(step: Step, registers: Registers, places: Places) -> None:
    does = step.does
    if does is None:
        # The call has been made by its first action.
        return
    if step.at >= 0 and step.act in _LOOKS:
        by_name(places[step.at], lambda: does(registers, places))
    else:
        does(registers, places)


def _tell(step: Step, registers: Registers, places: Places) -> None:
    rt = active.runtime
    if rt is None or not rt.tracing:
        return
    value = None if step.pointer is None else step.pointer(registers, places)
    told = getattr(value, "name", value)
    rt.trace(step.told if value is None else f"{step.told} -> {told}", {})


class _Announced(Observer):
    """Counts what each task has announced."""

    judges = False

    def __init__(self) -> None:
        self.counts: dict[int, int] = {}

    def announced(self, task: Task, op: Operation, obj: object) -> None:  # noqa: ARG002
        """Count the operation that the task is about to do."""
        self.counts[task.id] = self.counts.get(task.id, 0) + 1


class Follow:
    """Makes the choices of an execution that the search has found, operation by operation.

    An operation has taken effect once its task has announced the next one, or its end.
    """

    name = "follow"
    numbers = None
    lease = 1
    """It must be asked at every operation: the next one of the path may be another task's."""

    def __init__(self, path: Sequence[tuple[int, int]]) -> None:
        self.listener = _Announced()
        self._path = path
        self._done = 0
        self._nth: list[int] = []
        """How many entries of its task the path has up to each entry: that is done once the task has announced more."""
        counts: dict[int, int] = {}
        for task, _ in path:
            counts[task] = counts.get(task, 0) + 1
            self._nth.append(counts[task])

    def begin(self, execution: int) -> None:  # noqa: ARG002
        """Go back to the first choice of the path."""
        self.listener.counts.clear()
        self._done = 0

    def _next(self) -> tuple[int, int]:
        counts, path, nth = self.listener.counts, self._path, self._nth
        while self._done < len(path) and counts.get(path[self._done][0], 0) > nth[self._done]:
            self._done += 1
        return path[self._done] if self._done < len(path) else (-1, 0)

    def choose(self, runnable: Sequence[Task], current: Task | None, step: int, forced: int) -> Task:  # noqa: ARG002
        """Choose the task whose step is next in the path, or one that may get it there."""
        wanted, _ = self._next()
        for task in runnable:
            if task.id == wanted:
                return task
        # All of it has been done, or the task that is wanted waits: in a deadlock all others go on until they wait.
        return next((task for task in runnable if task.id), runnable[0])

    def data(self, n: int, label: str) -> int:
        """Choose the value that the path says, where the choice is one of the path's and not of the engine alone."""
        assert active.runtime is not None
        wanted, choice = self._next()
        # Other choices are none of the search's, as spurious failures: the first way is that of nothing special.
        if wanted != active.runtime.current.id or not (
            label.startswith(("value of ", "order of ", "outcome of "))
        ):
            return 0
        if choice >= n:
            raise Pruned(f"the engine has {n} ways for choice {choice} of {label}")
        return choice

    def end(self, steps: int, forced: int) -> None:
        """Keep nothing: there is one execution."""


def witness(built: Built, reached: MachineState, settings: Settings, *, answered: bool) -> Witness | None:
    """The execution that leads to a state of the search, made by the engine; None if it does not get there.

    The state has `answered` the question, or breaks a rule.
    """
    weak = settings.memory == "weak"
    path: list[tuple[int, int]] = []
    state: MachineState | None = reached
    while state is not None and state.path is not None:
        state, process, step, choice = state.path
        if weak and step.act is Act.TRYLOCK and not choice and not state.hist[step.at][-1].value:
            # The engine looks at the lock before it takes it.
            path.append((process + 1, 0))
        if weak or not step.implied:
            path.append((process + 1, choice))
    path.reverse()
    follow: Any = Follow(path)
    made = program(built)
    try:
        done = settings.runtime(follow).run(made)
        failure = done.failure
        if (
            failure is None
            or failure.kind is Kind.EXCEPTION
            # It has come elsewhere: where the engine is stronger than the search, nothing is shown rather than this.
            or (failure.headline == OBSERVED) is not answered
        ):
            return None
        return replay(made, done.schedule, settings=settings)
    except ConcurrencyError:
        return None
