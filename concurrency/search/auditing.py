"""The audit of a program's declarations, as a function of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from sugarbush.concurrency.runtimes import Audit, Audited, Settings
from sugarbush.concurrency.strategies import RandomWalk


def audit(
    program: Callable[[], Any],
    *,
    executions: int = 20,
    seed: int = 1,
    settings: Settings | None = None,
    keep_going: bool = False,
) -> Audit:
    """Run `program` under random schedules and compare its operations with their declarations.

    What the program itself does wrong is not looked at. Raises `WrongDeclaration` at the first thing that is found;
    with `keep_going` all is collected in `Audit.found`.

        audit(my_program)
        explore(my_program, settings=Settings(audit=True))      # the same, under any strategy
    """
    runtime = replace(settings or Settings(), audit=True).runtime(RandomWalk(seed))
    assert isinstance(runtime, Audited)
    runtime.report.found.clear()
    runtime.keeps_going = keep_going
    for number in range(executions):
        runtime.executions = number
        runtime.run(program)
    runtime.settle()
    return runtime.report
