"""Code that would never run: calling a generator function, or an ``async def``, runs nothing of its body.

A program or task of that kind would do nothing in any execution, and nothing would fail. So it is refused: at once
where the function can be seen to be of that kind, and otherwise when a call returns a generator or coroutine, which
nobody would run.

>>> def work():
...     yield
>>> try:
...     check_runs(work, "the program")
... except ConcurrencyError as error:
...     print(error)
the program, work, is a generator function: calling it runs nothing of it; write a plain function
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial
from types import AsyncGeneratorType, CodeType, CoroutineType, GeneratorType
from typing import Any, NoReturn, TypeVar

from sugarbush.concurrency.core.failure import ConcurrencyError

_NEVER_RUNS = (
    inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE
)
T = TypeVar("T")
refused: list[Callable[[ConcurrencyError], None]] = []
"""Called before a refusal is raised. `core.runtime`, which imports this module, enters a function that ends the
running execution: a program that swallows the error would else go on."""
SPAWN_HINT = "write spawn(work, 1), not spawn(work(1))"
_UNRUN = (GeneratorType, CoroutineType, AsyncGeneratorType)


def check_runs(fn: Any, role: str, instead: str = "") -> None:
    """Raise `ConcurrencyError` unless calling `fn` runs code; `role` says what it is for, in the message.

    `instead` is what to say about something that cannot be called at all.
    """
    # The short way, for nearly all: a plain function.
    code = getattr(fn, "__code__", None)
    if code is not None and not code.co_flags & _NEVER_RUNS and callable(fn):
        return
    if not callable(fn):
        kind = _kind_of(fn)
        if kind:
            _refuse(f"{role} is {kind}, which is not run by anybody: {instead or _PLAIN}")
        _refuse(f"{role} is {_shown(fn)}, which cannot be called{': ' * bool(instead)}{instead}")
    inner = fn
    while isinstance(inner, partial):
        inner = inner.func
    flags = getattr(code_of(inner), "co_flags", 0)
    if flags & _NEVER_RUNS:
        what = "a generator function" if flags & inspect.CO_GENERATOR else "an async def"
        _refuse(f"{role}, {_name(inner)}, is {what}: calling it runs nothing of it; {_PLAIN}")


def code_of(fn: Any) -> CodeType | None:
    """The code that runs when `fn` is called, a function, a method or an object with ``__call__``; None if it is C."""
    # In the class, where Python looks for it; B004 takes this for a bad spelling of callable().
    code = getattr(fn, "__code__", None) or getattr(getattr(type(fn), "__call__", None), "__code__", None)  # noqa: B004
    return code if isinstance(code, CodeType) else None


def check_ran(result: object, role: str, fn: Callable[..., Any]) -> None:
    """Raise `ConcurrencyError` if `result`, which `fn` has returned, is a generator or coroutine."""
    kind = _kind_of(result)
    if kind:
        if isinstance(result, CoroutineType):
            # Or Python warns, at some later time, that it was never awaited.
            result.close()
        _refuse(f"{role}, {_name(fn)}, gave back {kind}, which nobody runs: {_PLAIN}")


def condition_holds(condition: Callable[[], T]) -> T:
    """What `condition()` returns; raises `ConcurrencyError` if that is a coroutine, which is always true."""
    result = condition()
    if result is not True and result is not False:
        check_ran(result, "the condition of a wait", condition)
    return result


_PLAIN = "write a plain function"


def _refuse(words: str) -> NoReturn:
    """Raise the error, and end the running execution by it even if the program swallows what it calls raises."""
    error = ConcurrencyError(words)
    for hear in refused:
        hear(error)
    raise error


def _kind_of(value: object) -> str:
    """What a value is that does nothing until it is run, in words; empty for any other value."""
    if isinstance(value, GeneratorType):
        return "a generator"
    if isinstance(value, _UNRUN) or hasattr(type(value), "__await__"):
        return "a coroutine or awaitable"
    return ""


def _name(fn: Any) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return str(getattr(fn, "__name__", None) or type(fn).__name__)


def _shown(value: object) -> str:
    return "None" if value is None else f"{type(value).__name__} object"
