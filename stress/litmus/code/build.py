"""From the syntax tree of a litmus test to code: locations, processes in their order, and the question.

The code of a process is a list of steps, which both the search (`stress.litmus.search`) and the engine
(`stress.litmus.engine`) go through: actions, assignments to registers, and jumps. There are no loops, so each step
happens at most once in an execution, and its number names what it writes.
"""

from __future__ import annotations

from sugarbush.stress.litmus.code.process import ProcessCode
from sugarbush.stress.litmus.code.question import Questions
from sugarbush.stress.litmus.code.steps import (
    Built,
)
from sugarbush.stress.litmus.source import BadLitmus, Litmus
from sugarbush.stress.litmus.syntax import ProcessTree


def build(test: Litmus) -> Built:
    """The program of a test; raises `BadLitmus` for what has no meaning."""
    return _Builder(test).built


class _Builder(Questions):
    def __init__(self, test: Litmus) -> None:
        super().__init__(test)
        built = self.built
        self._first: dict[int, dict[str, int | str]] = {}
        tree = test.tree
        self._inits()
        for process in tree.processes:
            self._parameters(process)
        values = [*built.initial.values(), *(v for first in self._first.values() for v in first.values())]
        for value in values:
            if isinstance(value, str):
                built.kinds.setdefault(value, "p")
        for process in tree.processes:
            if any(code.number == process.number for code in built.processes):
                self.bad(process.line, f"there are two processes P{process.number}")
            built.processes.append(ProcessCode(self, process, self._first.get(process.number, {})).code)
        for clause in tree.clauses:
            self._clause(clause)
        if built.asks is None:
            raise BadLitmus(f"{test.path} asks nothing: it has no exists, ~exists or forall")

    # -- locations ------------------------------------------------------------------------------------------------

    def _inits(self) -> None:
        built = self.built
        seen: set[tuple[int | None, str]] = set()
        numbers = {process.number for process in self._test.tree.processes}
        for kind, process, name, value, line in self._test.tree.init:
            if (process, name) in seen:
                where = name if process is None else f"{process}:{name}"
                self.bad(line, f"{where} has two initial values")
            seen.add((process, name))
            if process is not None:
                if process not in numbers:
                    self.bad(line, f"there is no process P{process}")
                self._first.setdefault(process, {})[name] = 0 if value is None else value
                continue
            built.kinds[name] = kind or "p"
            if value is None:
                continue
            if built.kinds[name] != "p":
                if value != 0:
                    self.bad(line, f"the lock {name} begins free")
                continue
            built.initial[name] = value

    def _parameters(self, process: ProcessTree) -> None:
        kinds = self.built.kinds
        for kind, name, line in process.parameters:
            if kinds.setdefault(name, kind) != kind:
                if kind == "p":
                    self.bad(line, f"{name} is a lock elsewhere")
                if name in self.built.initial:
                    self.bad(line, f"the lock {name} begins free")
                kinds[name] = kind
