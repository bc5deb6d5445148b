"""The small programs of the comparison, for tools that run threads or tasks with locks.

Each is written once. A kit makes what a tool shares and locks with: `state(shared, **others)`, `lock(name)`,
`condition()`. A program has its bug in `workers`; `repaired` runs the same operations and cannot fail.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from typing import Any, NamedTuple, Protocol

Worker = Callable[[Any], None]


class Kit(Protocol):
    def state(self, shared: dict[str, int], **others: Any) -> Any: ...

    def lock(self, name: str) -> Any: ...

    def condition(self) -> Any: ...


class Program(NamedTuple):
    setup: Callable[[Kit], Any]
    workers: tuple[Worker, ...]
    repaired: tuple[Worker, ...]
    holds: Callable[[Any], bool]

    def order(self, seed: int, *, buggy: bool) -> list[Worker]:
        """The workers in an order that depends on the seed: what a tool without randomness has for a seed."""
        workers = self.workers if buggy else self.repaired
        orders = list(permutations(workers))
        return list(orders[seed % len(orders)])


def always(state: Any) -> bool:  # noqa: ARG001
    return True


def increment(state: Any) -> None:
    value = state.value
    state.value = value + 1


def one_then_two(state: Any) -> None:
    with state.one, state.two:
        state.value = 1


def two_then_one(state: Any) -> None:
    with state.two, state.one:
        state.value = 2


def window(rounds: tuple[int, int, int]) -> tuple[Worker, ...]:
    """Three tasks and two windows of one statement each: two preemptions, about 100 accesses.

    The second task must look while the first window is open, and the third while the second is.
    """
    first, second, third = rounds

    def opens(state: Any) -> None:
        for _ in range(first):
            state.noise_a = state.noise_a + 1
            state.noise_a = state.noise_a + 1
        state.x = 1
        state.x = 0

    def passes_on(state: Any) -> None:
        for _ in range(second):
            state.noise_b = state.noise_b + 1
            state.noise_b = state.noise_b + 1
        if state.x:
            state.y = 1
            state.y = 0

    def sees(state: Any) -> None:
        for _ in range(third):
            state.noise_c = state.noise_c + 1
            state.noise_c = state.noise_c + 1
        if state.y:
            state.seen = 1

    return opens, passes_on, sees


def windows(kit: Kit) -> Any:
    return kit.state({"noise_a": 0, "noise_b": 0, "noise_c": 0, "x": 0, "y": 0, "seen": 0})


def buffer(*, wake_all: bool) -> tuple[Worker, ...]:
    """A buffer of one place with one condition for both sides: to wake one waiter may wake the wrong one."""

    def wake(state: Any) -> None:
        if wake_all:
            state.changed.notify_all()
        else:
            state.changed.notify()

    def produce(state: Any) -> None:
        for _ in range(2):
            with state.changed:
                while state.full:
                    state.changed.wait()
                state.full = 1
                wake(state)

    def consume(state: Any) -> None:
        with state.changed:
            while not state.full:
                state.changed.wait()
            state.full = 0
            wake(state)

    def consume_too(state: Any) -> None:
        consume(state)

    return consume, consume_too, produce


def read_object(state: Any) -> None:
    for _ in range(2):
        old = state.current == 0
        if old and state.freed:
            state.used_after_free = 1


def read_object_too(state: Any) -> None:
    read_object(state)


def replace_object(state: Any) -> None:
    state.current = 1
    state.freed = 1


PROGRAMS = {
    "lost update": Program(
        lambda kit: kit.state({"value": 0}),
        (increment, increment),
        (increment, increment),
        lambda state: state.value == 2,
    ),
    "AB-BA": Program(
        lambda kit: kit.state({"value": 0}, one=kit.lock("one"), two=kit.lock("two")),
        (one_then_two, two_then_one),
        (one_then_two, one_then_two),
        always,
    ),
    "depth 3, aligned": Program(windows, window((8, 8, 8)), window((8, 8, 8)), lambda state: state.seen == 0),
    "depth 3, skewed": Program(
        windows, window((2, 8, 14)), window((2, 8, 14)), lambda state: state.seen == 0
    ),
    "bounded buffer": Program(
        lambda kit: kit.state({"full": 0}, changed=kit.condition()),
        buffer(wake_all=False),
        buffer(wake_all=True),
        always,
    ),
    "use after free": Program(
        lambda kit: kit.state({"current": 0, "freed": 0, "used_after_free": 0}),
        (read_object, read_object_too, replace_object),
        (read_object, read_object_too, replace_object),
        lambda state: state.used_after_free == 0,
    ),
}
