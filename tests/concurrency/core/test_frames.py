"""What a task has in its hands: which loops are known to do the same once more, and which are not."""

from __future__ import annotations

import contextlib
import itertools
import random
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from sugarbush.concurrency.core.bytecode import Hidden
from sugarbush.concurrency.core.frames import OwnState, own_state

FLAG = [0]
numbers = iter(range(99))
total = 0


class Enough(BaseException):
    pass


def looks(loop: Callable[[Any], Any]) -> list[OwnState | str]:
    """What the first four looks of a loop leave behind; or why that cannot be told."""
    found: list[OwnState | str] = []

    def relax() -> None:
        try:
            found.append(own_state(sys._getframe(0), begin.__code__, loop, ()))
        except Hidden as hidden:
            found.append(str(hidden))
        if len(found) == 4:
            raise Enough

    def begin() -> None:
        loop(relax)

    # As the engine's own `cpu_relax`, it is not gone through.
    relax.__module__ = "sugarbush.concurrency.core.spin"
    with contextlib.suppress(Enough):
        begin()
    return found


def bare(relax: Any) -> None:
    while not FLAG[0]:
        relax()


def in_a_range(relax: Any) -> None:
    for _ in range(2):
        while not FLAG[0]:
            relax()


def in_a_list(relax: Any, items: list[int] = [1, 2]) -> None:  # noqa: B006
    for _ in items:
        while not FLAG[0]:
            relax()


def in_with(relax: Any) -> None:
    with contextlib.nullcontext(), contextlib.nullcontext():
        while True:
            with contextlib.nullcontext():
                relax()


def in_try(relax: Any) -> None:
    while True:
        try:
            try:
                relax()
            finally:
                FLAG.append(1)
                FLAG.pop()
        except ValueError:
            pass


class Steps:
    n = 0

    def loop(self, relax: Any) -> None:
        while True:
            self.step(relax)

    def step(self, relax: Any) -> None:
        relax()


class CountingSteps(Steps):
    def step(self, relax: Any) -> None:
        self.n += 1
        relax()


def by_method(relax: Any) -> None:
    Steps().loop(relax)


def by_lambda(relax: Any) -> None:
    look = lambda: relax()  # noqa: E731, PLW0108
    while True:
        look()


@contextlib.contextmanager
def guard(relax: Any) -> Iterator[None]:
    while True:
        relax()
    yield


def by_context_manager(relax: Any) -> None:
    with guard(relax):
        pass


def fresh_list(relax: Any) -> None:
    held: dict[str, list[int]] = {}
    while True:
        held["a"] = [1]
        relax()


@pytest.mark.parametrize(
    "loop",
    [
        bare,
        in_a_range,
        in_a_list,
        in_with,
        in_try,
        by_method,
        by_lambda,
        by_context_manager,
        fresh_list,
    ],
)
def test_these_do_the_same_once_more(loop: Callable[[Any], Any]) -> None:
    found = looks(loop)
    assert isinstance(found[1], OwnState)
    assert found[1] == found[2] == found[3]


def counting(relax: Any) -> None:
    n = 0
    while not FLAG[0]:
        n += 1
        relax()


def in_range(relax: Any) -> None:
    for _ in range(4):
        relax()


def toggling(relax: Any) -> None:
    n = 0
    while True:
        n ^= 1
        relax()


def by_counting_method(relax: Any) -> None:
    CountingSteps().loop(relax)


def by_closure(relax: Any) -> None:
    n = 0

    def look() -> None:
        nonlocal n
        n += 1
        relax()

    while True:
        look()


def count_globally() -> None:
    global total
    total += 1


def by_global(relax: Any) -> None:
    while True:
        count_globally()
        relax()


@pytest.mark.parametrize("loop", [counting, in_range, toggling, by_counting_method, by_closure, by_global])
def test_these_do_not(loop: Callable[[Any], Any]) -> None:
    found = looks(loop)
    assert isinstance(found[1], OwnState)
    assert found[1] != found[2]


def by_iterator(relax: Any) -> None:
    for _ in itertools.count():
        relax()


def in_map(relax: Any) -> None:
    list(map(lambda _: relax(), range(9)))  # noqa: C417


def in_comprehension(relax: Any) -> None:
    while True:
        [relax() for _ in (1,)]


def beside_a_value(relax: Any) -> None:
    while True:
        (FLAG.append(0) or len(FLAG)) + (relax() or 0)  # type: ignore[func-returns-value]
        FLAG.pop()


def in_except(relax: Any) -> None:
    while True:
        try:
            raise ValueError
        except ValueError:
            relax()


def global_iterator(relax: Any) -> None:
    while next(numbers) + 1:
        relax()


def drawing(relax: Any) -> None:
    draw = random.Random(1)
    while draw.random() < 2:
        relax()


def two_loops_of_one_variable(relax: Any) -> None:
    for _ in range(2):
        for _ in range(2):
            relax()


def again_and_again(relax: Any) -> None:
    bounds = [1, 2]
    while bounds:
        for _ in range(bounds[0]):
            relax()


@pytest.mark.parametrize(
    "loop",
    [
        by_iterator,
        in_map,
        in_comprehension,
        beside_a_value,
        in_except,
        global_iterator,
        drawing,
        two_loops_of_one_variable,
        again_and_again,
    ],
)
def test_of_these_it_is_not_known(loop: Callable[[Any], Any]) -> None:
    assert all(isinstance(one, str) for one in looks(loop))
