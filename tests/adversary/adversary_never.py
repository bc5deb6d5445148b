"""Programs of which nothing, or not all, is explored: none of them is ever passed."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

from adversary_language import PRELUDE, Program, compiled

from sugarbush.concurrency import ConcurrencyError, explore

_scope: dict[str, Any] = {"__name__": "program"}
exec(compile(PRELUDE, "program.py", "exec"), _scope)


def _generator(body: Callable[[], Any]) -> Callable[[], Any]:
    def program() -> Any:
        yield body()

    return program


def _coroutine(body: Callable[[], Any]) -> Callable[[], Any]:
    async def program() -> Any:
        return body()

    return program


def _as_task(wrap: Callable[[Callable[[], Any]], Callable[[], Any]]) -> Callable[[Callable[[], Any]], Any]:
    def wrapped(body: Callable[[], Any]) -> Callable[[], Any]:
        def program() -> None:
            _scope["spawn"](wrap(body), name="t0")
            _scope["spawn"](wrap(body), name="t1")

        return program

    return wrapped


def _through_lambda(body: Callable[[], Any]) -> Callable[[], Any]:
    made = _generator(body)

    def program() -> Any:
        return made()

    return program


def _exits(body: Callable[[], Any]) -> Callable[[], Any]:
    def program() -> None:
        def leaves() -> None:
            sys.exit(0)

        _scope["spawn"](leaves, name="t0")
        _scope["spawn"](body, name="t1")

    return program


def _threads(body: Callable[[], Any]) -> Callable[[], Any]:
    def program() -> None:
        threads = [threading.Thread(target=lambda: None) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return program


def _apart(body: Callable[[], Any]) -> Callable[[], Any]:
    def program() -> None:
        def alone() -> None:
            cell = _scope["Cell"]()
            cell.a = cell.a + 1

        for name in ("t0", "t1"):
            _scope["spawn"](alone, name=name)

    return program


def _unkinded(body: Callable[[], Any]) -> Callable[[], Any]:
    """A lost update on a field whose kind was forgotten."""

    def program() -> None:
        made = type(_scope["Shared"])(
            "Counter",
            (_scope["Shared"],),
            {"__annotations__": {"value": int}, "value": 0, "__module__": __name__},
        )
        counter = made()

        def add() -> None:
            counter.value = counter.value + 1

        _scope["join"](*[_scope["spawn"](add, name=name) for name in ("t0", "t1")])

    return program


WAYS: dict[str, Callable[[Callable[[], Any]], Callable[[], Any]]] = {
    "a generator function": _generator,
    "a coroutine function": _coroutine,
    "generator functions as tasks": _as_task(_generator),
    "coroutine functions as tasks": _as_task(_coroutine),
    "a function that returns a generator": _through_lambda,
    "a task that exits": _exits,
    "threads of the operating system": _threads,
    "tasks that share nothing": _apart,
    "a field without a kind": _unkinded,
}


def never_passed(way: str, program: Program, strategy: str) -> str:
    """What is wrong with the verdict on a program of which not everything is explored."""
    made = compiled(program)
    try:
        verdict = explore(WAYS[way](made.run), strategy=strategy, executions=50).verdict
    except ConcurrencyError:
        return ""
    except SystemExit:
        return f"{way} under {strategy}: the exploration exits, and says nothing"
    return f"{way} under {strategy}: {verdict}" if verdict == "passed" else ""
