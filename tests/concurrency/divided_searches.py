"""Which searches are divided among processes, and how two of them are compared."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from sugarbush.concurrency import STRATEGIES, Result
from sugarbush.concurrency.strategies import Search, make_strategy

DRAWN = tuple(name for name in STRATEGIES if not isinstance(make_strategy(name, 1), Search))


DIVIDED = ("dfs", "delay", "idfs", "idelay", "idpor", "sleep")


class Inline(Executor):
    """Does the work at once, on data as another process would get it and give it back."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        fn, args = pickle.loads(pickle.dumps((fn, args)))
        try:
            future.set_result(pickle.loads(pickle.dumps(fn(*args))))
        except Exception as error:
            future.set_exception(error)
        return future


def told(result: Result) -> Any:
    """All that must not depend on who did the work."""
    return (
        result.verdict,
        result.executions,
        result.steps,
        result.exhaustive,
        result.cut,
        result.completed,
        result.repeated,
        result.pruned,
        result.traces,
        result.digest,
        [
            (w.failure.signature, w.execution, str(w.schedule), w.strategy, w.preemptions, w.events)
            for w in result.failures
        ],
    )
