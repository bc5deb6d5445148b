"""The registers of a process, and the steps that its code is made of."""

from __future__ import annotations

from typing import NoReturn, Protocol

from sugarbush.stress.litmus.code.steps import Built, Code, Step, Value
from sugarbush.stress.litmus.syntax import ProcessTree

_LONGEST = 2000
"""Steps of all processes; the search keeps for each what may come after it."""


class Refuses(Protocol):
    """What makes the whole test: it knows the locations, and how to refuse what stands in a line."""

    built: Built

    def bad(self, line: int, says: str) -> NoReturn:
        """Refuse what stands in a line."""


class Registering:
    """The part of a process that knows its registers and adds steps."""

    def __init__(self, builder: Refuses, process: ProcessTree, first: dict[str, int | str]) -> None:
        self._builder = builder
        self._built = builder.built
        self._places = {name: number for number, name in enumerate(builder.built.kinds)}
        self._own: set[str] = set()
        """Registers that were declared, and so hide a location of that name."""
        self._passed = {name for _, name, _ in process.parameters}
        self.code = Code(process.number, first=first)
        for name in first:
            self._register(name)

    def _jump(self, condition: tuple[Value, tuple[int, ...]], line: int) -> Step:
        """Jump, to where the caller says, if a condition is 0."""
        step = Step(line, pointer=condition[0], led=condition[1])
        self._add(step)
        return step

    def _add(self, step: Step) -> None:
        self._built.steps += 1
        if self._built.steps > _LONGEST:
            self._builder.bad(step.line, f"the test is longer than any: more than {_LONGEST} steps")
        step.number = self._built.steps
        self.code.steps.append(step)

    def _told(self, line: int, text: str, value: tuple[Value, tuple[int, ...]] | None) -> None:
        self._add(Step(line, told=text, pointer=None if value is None else value[0]))

    def _register(self, name: str) -> int:
        found = self.code.names.get(name)
        if found is None:
            found = self.code.names[name] = self.code.size
            self.code.size += 1
        return found

    def _fresh(self) -> int:
        self.code.size += 1
        return self.code.size - 1

    @staticmethod
    def _of(register: int) -> tuple[Value, tuple[int, ...]]:
        return lambda registers, _places: registers[register], (register,)

    def _set(self, register: int, made: tuple[Value, tuple[int, ...]], line: int) -> None:
        self._add(Step(line, into=register, pointer=made[0], fed=made[1]))

    def _is_place(self, name: str) -> bool:
        return name in self._places and name not in self._own and name not in self.code.first
