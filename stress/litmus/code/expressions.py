"""Expressions as code, calls included: a value, and before it a step for each access that it makes.

The order of the steps is the order of evaluation, from left to right. With a value go the registers that it depends
on: they are what makes address and data dependencies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sugarbush.concurrency import Failure, Kind
from sugarbush.concurrency.lowlevel import fail
from sugarbush.stress.litmus.calls import CALLS, Act, Call, Change, Changed, Location, NotANumber, number
from sugarbush.stress.litmus.code.arithmetic import binary, truth_of, wrapped
from sugarbush.stress.litmus.code.registers import Registering
from sugarbush.stress.litmus.code.steps import Places, Registers, Step, Value, copied
from sugarbush.stress.litmus.syntax import Node


def union(one: tuple[int, ...], other: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(dict.fromkeys(one + other))


class ExpressionCode(Registering):
    """The part of a process that makes code of expressions."""

    def _expression(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        """The value of an expression, whose accesses are steps before it, and the registers that it depends on."""
        kind = node[0]
        if kind == "number":
            value = node[1]
            return lambda _registers, _places: value, ()
        if kind == "name":
            return self._name(node)
        if kind == "load":
            return self._load(node)
        if kind == "call":
            return self._call(node)
        if kind == "address":
            inner = node[1]
            if inner[0] != "name" or not self._is_place(inner[1]):
                self._builder.bad(node[2], "only a location has an address, as in &x")
            return self._name(inner)
        if kind == "unary":
            return self._unary(node)
        _, operator, one, two, line = node
        if operator in ("&&", "||"):
            return self._either(node)
        left, led = self._expression(one)
        right, fed = self._expression(two)
        return self._computed(
            lambda registers, places: binary(operator, left(registers, places), right(registers, places)),
            operator,
            line,
        ), union(led, fed)

    def _computed(self, value: Value, operator: str, line: int) -> Value:
        builder = self._builder

        def computed(registers: Registers, places: Places) -> Any:
            try:
                return value(registers, places)
            except NotANumber:
                builder.bad(
                    line,
                    f"{operator} has no meaning for these values, one of which is an address or too large",
                )
            except ZeroDivisionError:
                builder.bad(line, f"{operator} divides by zero")

        return computed

    def _unary(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, operator, inner, line = node
        value, led = self._expression(inner)
        if operator == "!":
            return lambda registers, places: int(not truth_of(value(registers, places))), led
        if operator == "-":
            negative: Value = lambda registers, places: wrapped(-number(value(registers, places)))  # noqa: E731
            return self._computed(negative, operator, line), led
        return self._computed(
            lambda registers, places: ~number(value(registers, places)), operator, line
        ), led

    def _either(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        """``&&`` and ``||``: what stands on the right is not done if the left decides."""
        _, operator, one, two, line = node
        value, led = self._expression(one)
        wants = int(operator == "&&")
        # A jump, and no operator: the accesses on the right are steps, which must not be made if the left decides.
        register = self._fresh()
        truth: Value = lambda registers, places: int(truth_of(value(registers, places)))  # noqa: E731
        self._set(register, (truth, led), line)
        held = self._of(register)[0]
        skips = self._jump(
            (lambda registers, places: int(held(registers, places) == wants), (register,)), line
        )
        right, fed = self._expression(two)
        both: Value = lambda registers, places: int(truth_of(right(registers, places)))  # noqa: E731
        self._set(register, (both, union(fed, (register,))), line)
        skips.target = len(self.code.steps)
        return self._of(register)

    def _name(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, name, line = node
        if self._is_place(name):
            place = self._places[name]
            return lambda _registers, places: places[place], ()
        if name not in self.code.names:
            self._builder.bad(line, f"{name} is neither a location nor a register that was set")
        return self._of(self.code.names[name])

    def _address(self, node: Node, step: Step, line: int) -> Callable[[Registers, Places], Any]:
        """Has `step` lead to the location at an address; gives that location to the engine.

        A location by its name depends on nothing, also if a pointer leads to it elsewhere.
        """
        static = self._static(node)
        if static is not None:
            if self._built.kinds[static] != "p":
                self._builder.bad(line, f"{static} is a lock: only functions for locks take it")
            step.at = place = self._places[static]
            return lambda _registers, places: places[place]
        value, step.led = self._expression(node)
        step.pointer = value
        spelt = node[1] if node[0] == "name" else "an address"

        def leads(registers: Registers, places: Places) -> Any:
            found = value(registers, places)
            if not isinstance(found, Location):
                fail(Failure(Kind.BUG_ON, f"BUG: kernel NULL pointer dereference: {spelt} is {found}"))
            return found

        return leads

    def _static(self, node: Node) -> str | None:
        if node[0] == "address":
            node = node[1]
        if node[0] == "name" and self._is_place(node[1]):
            return str(node[1])
        return None

    def _load(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, address, line = node
        self._built.plain = True
        step = Step(line, act=Act.READ, plain=True, into=self._fresh())
        into = step.into
        at = self._address(address, step, line)

        def does(registers: Registers, places: Places) -> None:
            registers[into] = at(registers, places).v

        step.does = does
        self._add(step)
        return self._of(into)

    def _call(self, node: Node) -> tuple[Value, tuple[int, ...]]:
        _, name, given, line = node
        call = CALLS.get(name)
        if call is None:
            self._builder.bad(line, f"{name}() is not known here")
        if len(given) != len(call.arguments):
            self._builder.bad(line, f"{name}() takes {len(call.arguments)} arguments, not {len(given)}")
        main = Step(line, order=call.order, change=call.change, silent=call.silent)
        main.down = name == "srcu_down_read"
        arguments: list[Value] = []
        values: list[Value] = []
        fed: tuple[int, ...] = ()
        for want, argument in zip(call.arguments, given, strict=True):
            part = argument
            if want in "*p":
                if want == "*":
                    if part[0] != "load":
                        self._builder.bad(line, f"{name}() takes a location, as in {name}(*x)")
                    part = part[1]
                arguments.append(self._address(part, main, line))
            elif want in "ls":
                static = self._static(part)
                if static is None or self._built.kinds[static] != want:
                    what = "spinlock" if want == "l" else "srcu_struct"
                    self._builder.bad(line, f"{name}() takes a {what}")
                main.at = main.domain = self._places[static]
                place = main.at
                arguments.append(lambda _registers, places, place=place: places[place])  # type: ignore[misc]
            else:
                value, depends = self._expression(part)
                arguments.append(value)
                values.append(value)
                fed = union(fed, depends)
        return self._acts(call, main, arguments, values, fed)

    def _acts(
        self, call: Call, main: Step, arguments: list[Value], values: list[Value], fed: tuple[int, ...]
    ) -> tuple[Value, tuple[int, ...]]:
        """Add the actions of a call."""
        into = self._fresh()
        builder, line = self._builder, main.line

        def does(registers: Registers, places: Places) -> None:
            try:
                registers[into] = call.does(*[argument(registers, places) for argument in arguments])
            except NotANumber:
                builder.bad(line, "an address is no number to compute with")

        main.values, main.fed, main.into = tuple(values), fed, into
        if call.change is not None:
            main.change = self._checked(call.change, line)
        if "s" not in call.arguments:
            # Plain RCU is no location.
            main.domain = -1
        steps: list[Step] = []
        for act in call.acts:
            if act is Act.MB:
                steps.append(Step(line, act=act, implied=len(call.acts) > 2))
            else:
                copy = copied(main)
                copy.act = act
                copy.must = act is Act.MODIFY and call.acts[0] is Act.LOOK
                copy.implied = act is Act.LOOK
                steps.append(copy)
        if steps:
            steps[0].does = does
        for step in steps:
            self._add(step)
            step.completes, step.ahead = call.completes, call.ahead
        # A compare-and-exchange that fails goes on behind the call: past both barriers and the exchange.
        if call.acts[:1] == (Act.LOOK,):
            steps[0].target = len(self.code.steps)
        return self._of(into)

    def _checked(self, change: Change, line: int) -> Change:
        builder = self._builder

        def checked(*values: Any) -> Changed:
            try:
                return change(*values)
            except NotANumber:
                builder.bad(line, "an address is no number to compute with")

        return checked
