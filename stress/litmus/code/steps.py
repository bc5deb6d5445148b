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
"""The value of what may still change."""


@dataclass(slots=True, eq=False)
class Step:
    """A step of a process.

    With `act` it is an action, which other processes may notice. Without, it does one of four things: it sets a
    register (`into`, to what `pointer` gives), jumps to `target` if `pointer` gives 0, jumps there always (no
    `pointer`), or says that a statement is over (`told`, with its value if there is a `pointer`).
    """

    line: int
    number: int = 0
    """Of all steps of the test, from 1: the number of the write that it makes."""
    act: Act | None = None
    at: int = -1
    """The number of the location; -1 if `pointer` leads there."""
    pointer: Value | None = None
    led: tuple[int, ...] = ()
    """The registers that the address, or the condition of a jump, depends on."""
    values: tuple[Value, ...] = ()
    """The other arguments."""
    fed: tuple[int, ...] = ()
    """The registers that they depend on."""
    into: int = -1
    """The register of the result; -1 if there is none."""
    order: Order = Order.RELAXED
    plain: bool = False
    """An access without a mark, which may race."""
    change: Change | None = None
    """Of a read-modify-write: what it makes of the value."""
    silent: bool = False
    """It gives no result, so smp_rmb() does not order its read (linux-kernel.cat, v6.6: Noreturn)."""
    must: bool = False
    """The cmpxchg() has not failed before its barrier."""
    down: bool = False
    """The reader may be ended by another process: srcu_down_read()."""
    domain: int = 0
    """Of a reader or grace period: the location of its srcu_struct, -1 for plain RCU."""
    does: Callable[[Registers, Places], Any] | None = None
    """Makes the whole call in the engine. The first action of a call has it, and the others have none."""
    implied: bool = False
    """Under sequential consistency this is a part of another action, and no action of its own."""
    completes: Act | None = None
    """A barrier only if this action comes before it, or after it (`ahead`)."""
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
    """A litmus test as code."""

    kinds: dict[str, str] = field(default_factory=dict)
    """What each location is (``p`` memory, ``l`` spinlock, ``s`` srcu_struct), in the order of their numbers."""
    initial: dict[str, int | str] = field(default_factory=dict)
    """The initial values that are not 0: a number, or the name of a location whose address it is."""
    processes: list[Code] = field(default_factory=list)
    asked: list[tuple[int | None, str]] = field(default_factory=list)
    """Whose final values are shown: a location (``None, name``), or a register (process, name)."""
    asks: Question | None = None
    """The proposition of the question."""
    quantifier: str = "exists"
    spelt: str = ""
    """The question as the file has it."""
    filtered: Question | None = None
    """What a final state must satisfy to count."""
    plain: bool = False
    """There are accesses without a mark."""
    steps: int = 0
    """Of all processes together."""

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
