"""The code of a litmus test: what it is made of, and what both the search and the engine go through.

Steps are a flat list with jumps forward, and not a tree: a state of the search is then one number for each process.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from sugarbush.concurrency.lowlevel import Order
from sugarbush.stress.litmus.calls import Act, Change

Registers = list[Any]
Places = list[Any]
Value = Callable[[Registers, Places], Any]
"""The value of an expression, from the registers of its process and all locations."""
ValueOf = Callable[[int | None, str], Any]
"""The final value of a location (``None, name``) or of a register (process, name)."""
Question = Callable[[ValueOf], bool | None]
"""Whether a proposition holds; None if that is open, since values may still change (`ValueOf` gives `OPEN`)."""
OPEN: Any = object()


@dataclass(slots=True, eq=False)
class Step:
    """A step of a process.

    An action has `act`; `at` is the number of its location, or -1 if `pointer` leads there, and `led` the registers
    that the address depends on. `values` are its other arguments, `fed` the registers that they depend on, `into` the
    register of its result (-1: nobody wants it). `domain` is that of a grace period or reader. `does` has the engine
    make the whole call that begins with this action. An `implied` action is part of an operation under sequential
    consistency. A step without an action sets a register (`into`, `pointer`), jumps to `target` if `pointer` says 0, or
    jumps there always (`pointer` None); `told` is a statement that is over, and its value if `pointer` has one.
    """

    line: int
    number: int = 0
    act: Act | None = None
    at: int = -1
    pointer: Value | None = None
    led: tuple[int, ...] = ()
    values: tuple[Value, ...] = ()
    fed: tuple[int, ...] = ()
    into: int = -1
    order: Order = Order.RELAXED
    plain: bool = False
    change: Change | None = None
    silent: bool = False
    must: bool = False
    """The cmpxchg() has not failed before its barrier."""
    down: bool = False
    """The reader may be ended by another process: srcu_down_read()."""
    domain: int = 0
    does: Callable[[Registers, Places], Any] | None = None
    implied: bool = False
    completes: Act | None = None
    """It is a barrier if this comes before it, or after it (`ahead`)."""
    ahead: bool = False
    target: int = -1
    told: str = ""


@dataclass(slots=True)
class Code:
    """A process: its steps, the names of its registers, and what those hold at the start."""

    number: int
    steps: list[Step] = field(default_factory=list)
    names: dict[str, int] = field(default_factory=dict)
    first: dict[str, int | str] = field(default_factory=dict)
    size: int = 0


@dataclass(slots=True)
class Built:
    """A litmus test as code.

    `kinds` has for each location what it is (``p`` memory, ``l`` spinlock, ``s`` srcu_struct), in the order of their
    numbers; `initial` the values that are not 0: a number, or the name of a location whose address it is. `plain` says
    that there are accesses without a mark. `asks` is the proposition of the question, `quantifier` what it is asked of.
    """

    kinds: dict[str, str] = field(default_factory=dict)
    initial: dict[str, int | str] = field(default_factory=dict)
    processes: list[Code] = field(default_factory=list)
    asked: list[tuple[int | None, str]] = field(default_factory=list)
    asks: Question | None = None
    quantifier: str = "exists"
    spelt: str = ""
    filtered: Question | None = None
    plain: bool = False
    steps: int = 0

    def index(self, name: str) -> int:
        """The number of a location."""
        return list(self.kinds).index(name)

    def registers(self, code: Code, places: Places) -> Registers:
        """What the registers of a process hold at the start."""
        made: Registers = [0] * code.size
        for name, value in code.first.items():
            made[code.names[name]] = places[self.index(value)] if isinstance(value, str) else value
        return made


def copied(step: Step) -> Step:
    return Step(
        step.line,
        at=step.at,
        pointer=step.pointer,
        led=step.led,
        values=step.values,
        fed=step.fed,
        into=step.into,
        order=step.order,
        change=step.change,
        silent=step.silent,
        down=step.down,
        domain=step.domain,
    )
