"""A process as code: its statements, in order, and the barriers that complete nothing."""

from __future__ import annotations

from sugarbush.stress.litmus.calls import CALLS, Act, Call
from sugarbush.stress.litmus.code.expressions import ExpressionCode
from sugarbush.stress.litmus.code.registers import Refuses
from sugarbush.stress.litmus.code.steps import Places, Registers, Step
from sugarbush.stress.litmus.syntax import Node, ProcessTree


class ProcessCode(ExpressionCode):
    """One process as code, in which the names of locations are their addresses."""

    def __init__(self, builder: Refuses, process: ProcessTree, first: dict[str, int | str]) -> None:
        super().__init__(builder, process, first)
        self._statement(process.body)
        self._spare_fences()

    def _spare_fences(self) -> None:
        """Barriers that complete an operation are none where it is missing.

        ``smp_mb__before_atomic()`` orders what is before it against an atomic operation after it (linux-kernel.cat:
        ``[M] ; fencerel(Before-atomic) ; [RMW] ; po? ; [M]``), the others likewise.
        """
        steps = self.code.steps
        for at, step in enumerate(steps):
            completes = step.completes
            if completes is None:
                continue
            acts = (Act.LOCK, Act.TRYLOCK) if completes is Act.LOCK else (completes,)
            near = [other for other in (steps[at:] if step.ahead else steps[:at]) if other.act in acts]
            if completes is Act.READER_ENDS:
                # smp_mb__after_srcu_read_unlock() says nothing of plain RCU.
                near = [other for other in near if other.domain >= 0]
            if not near:
                # A jump to the next step, not a removal: targets of other jumps are indices.
                steps[at] = Step(step.line, step.number, target=at + 1)

    # -- statements -----------------------------------------------------------------------------------------------

    def _statement(self, node: Node) -> None:
        kind = node[0]
        if kind == "block":
            for inner in node[1]:
                self._statement(inner)
        elif kind == "declare":
            for name, value, line, text in node[1]:
                if name in self._passed:
                    self._builder.bad(line, f"{name} is a parameter already")
                made = None if value is None else self._expression(value)
                self._own.add(name)
                register = self._register(name)
                if made is not None:
                    self._set(register, made, line)
                    self._told(line, text, self._of(register))
        elif kind == "assign":
            self._assign(node)
        elif kind == "do":
            _, expression, line, text = node
            value = self._expression(expression)
            given = None if expression[0] == "call" and self._gives_nothing(expression) else value
            self._told(line, text, given)
        else:
            self._if(node)

    @staticmethod
    def _gives_nothing(node: Node) -> bool:
        call = CALLS.get(node[1])
        return call is not None and (call.silent or not _gives(call))

    def _assign(self, node: Node) -> None:
        _, place, value, line, text = node
        made = self._expression(value)
        if place[0] == "name":
            name = place[1]
            if self._is_place(name):
                self._builder.bad(line, f"{name} is a location: *{name} writes to it")
            register = self._register(name)
            self._set(register, made, line)
            self._told(line, text, self._of(register))
            return
        self._built.plain = True
        step = Step(line, act=Act.WRITE, plain=True, values=(made[0],), fed=made[1])
        address = self._address(place[1], step, line)

        def does(registers: Registers, places: Places) -> None:
            address(registers, places).v = made[0](registers, places)

        step.does = does
        self._add(step)
        self._told(line, text, None)

    def _if(self, node: Node) -> None:
        _, condition, then, otherwise, line = node
        skips = self._jump(self._expression(condition), line)
        self._statement(then)
        if otherwise is None:
            skips.target = len(self.code.steps)
            return
        over = Step(line)
        self._add(over)
        skips.target = len(self.code.steps)
        self._statement(otherwise)
        over.target = len(self.code.steps)


def _gives(call: Call) -> bool:
    return any(act in (Act.READ, Act.MODIFY, Act.TRYLOCK, Act.IS_LOCKED) for act in call.acts) or (
        call.acts == (Act.READER,) and call.arguments == "s"
    )
