"""The same small programs for tools that run asyncio: a task may be switched at each `await`.

Before each shared access stands `await asyncio.sleep(0)`, where the others are switched anyway.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from itertools import permutations
from typing import Any

Main = Callable[[], Coroutine[Any, Any, None]]


class State:
    def __init__(self) -> None:
        self.value = self.x = self.y = self.seen = self.full = 0
        self.current = self.freed = self.used_after_free = 0
        self.noise = [0, 0, 0]
        self.one, self.two = asyncio.Lock(), asyncio.Lock()
        self.changed = asyncio.Condition()


Worker = Callable[[State], Coroutine[Any, Any, None]]


async def step() -> None:
    await asyncio.sleep(0)


async def increment(state: State) -> None:
    await step()
    value = state.value
    await step()
    state.value = value + 1


async def increment_too(state: State) -> None:
    await increment(state)


async def one_then_two(state: State) -> None:
    await step()
    async with state.one:
        await step()
        async with state.two:
            await step()
            state.value = 1


async def one_then_two_too(state: State) -> None:
    await one_then_two(state)


async def two_then_one(state: State) -> None:
    await step()
    async with state.two:
        await step()
        async with state.one:
            await step()
            state.value = 2


def window(rounds: tuple[int, int, int]) -> tuple[Worker, ...]:
    async def noise(state: State, number: int) -> None:
        for _ in range(2 * rounds[number]):
            await step()
            value = state.noise[number]
            await step()
            state.noise[number] = value + 1

    async def opens(state: State) -> None:
        await noise(state, 0)
        await step()
        state.x = 1
        await step()
        state.x = 0

    async def passes_on(state: State) -> None:
        await noise(state, 1)
        await step()
        if state.x:
            await step()
            state.y = 1
            await step()
            state.y = 0

    async def sees(state: State) -> None:
        await noise(state, 2)
        await step()
        if state.y:
            await step()
            state.seen = 1

    return opens, passes_on, sees


def buffer(*, wake_all: bool) -> tuple[Worker, ...]:
    def wake(state: State) -> None:
        if wake_all:
            state.changed.notify_all()
        else:
            state.changed.notify()

    async def produce(state: State) -> None:
        for _ in range(2):
            await step()
            async with state.changed:
                await step()
                while state.full:
                    await state.changed.wait()
                await step()
                state.full = 1
                wake(state)

    async def consume(state: State) -> None:
        await step()
        async with state.changed:
            await step()
            while not state.full:
                await state.changed.wait()
            await step()
            state.full = 0
            wake(state)

    async def consume_too(state: State) -> None:
        await consume(state)

    return consume, consume_too, produce


async def read_object(state: State) -> None:
    for _ in range(2):
        await step()
        old = state.current == 0
        await step()
        if old and state.freed:
            state.used_after_free = 1


async def read_object_too(state: State) -> None:
    await read_object(state)


async def replace_object(state: State) -> None:
    await step()
    state.current = 1
    await step()
    state.freed = 1


def always(state: State) -> bool:  # noqa: ARG001
    return True


readers = (read_object, read_object_too, replace_object)
PROGRAMS: dict[str, tuple[tuple[Worker, ...], tuple[Worker, ...], Callable[[State], bool]]] = {
    "lost update": ((increment, increment_too), (increment, increment_too), lambda state: state.value == 2),
    "AB-BA": ((one_then_two, two_then_one), (one_then_two, one_then_two_too), always),
    "depth 3, aligned": (window((8, 8, 8)), window((8, 8, 8)), lambda state: not state.seen),
    "depth 3, skewed": (window((2, 8, 14)), window((2, 8, 14)), lambda state: not state.seen),
    "bounded buffer": (buffer(wake_all=False), buffer(wake_all=True), always),
    "use after free": (readers, readers, lambda state: not state.used_after_free),
}


def program(name: str, seed: int, *, buggy: bool) -> Main:
    """The program as one coroutine function, its tasks started in an order that depends on the seed."""
    workers, repaired, holds = PROGRAMS[name]
    orders = list(permutations(workers if buggy else repaired))
    order = orders[seed % len(orders)]

    async def main() -> None:
        state = State()
        await asyncio.gather(*(worker(state) for worker in order))
        assert not buggy or holds(state), name

    return main
