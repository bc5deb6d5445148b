"""Programs as data: tasks of statements, which are printed as Python, shrunk, and run.

A statement is one of a kind (`adversary_kinds.KINDS`), whose text is a template. What is run is what is printed: the
text of a program is compiled, so a failing one can be pasted into a test as it stands. Its meaning for the model
(`adversary_model`) is written a second time, from the documentation, not from the engine.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

from declared_in_tests import statements


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement; `kind` is a name in the table, `body` and `orelse` are blocks inside."""

    kind: str
    args: tuple[Any, ...] = ()
    body: Block = ()
    orelse: Block = ()


Block = tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """Tasks that run side by side. `main` is what the first task does when it has started the others.

    `faults` and `spurious` are those of `Settings`. `note` says where it comes from.
    """

    tasks: tuple[Block, ...]
    main: Block = ()
    faults: int = 0
    spurious: int = 0
    note: str = ""

    def __str__(self) -> str:
        return source(self)


PRELUDE = '''\
from threading import BrokenBarrierError
from typing import Any

from sugarbush.concurrency import *
from sugarbush.concurrency.lowlevel import *
from sugarbush.lockdep.model.gfp import GFP_ATOMIC, GFP_KERNEL

SEEN: dict[str, list] = {}
"""What each task has read, by its name."""
PLACES: dict[str, Any] = {}
"""What is looked at in the end."""


class Cell(Shared):
    a: Once[int] = 0
    b: Once[int] = 0
    p: Plain[int] = 0
    n: Atomic[int] = 0


class Root(Shared):
    ptr: RcuPtr[Any] = None


class Node(Shared):
    """An object of a slab cache; `tag` and `lock` are ordinary attributes."""

    v: Once[int] = 0
    w: Plain[int] = 0
    tag: Unshared[Any] = 0
    lock: Unshared[Any] = None

    def __init__(self):
        super().__init__(lock=Spinlock("node.lock"))


class Named(Node):
    @property
    def name(self):
        return f"node with tag {self.tag}"


class Holder:
    """Leads to an object, as an ordinary attribute does."""


class Tap(OwnedLock):
    """A lock of one's own."""

    __slots__ = ()
    _lock, _trylock, _unlock = owned_operations("tap", atomic=False)
    _sleeps = True


def last(r):
    return r[-1] if r else 0


class Meter:
    """An object of one's own, with operations of one's own."""

    name = "meter"
    level = 0


def grow(obj, task, by):
    obj.level += by or 1
    return obj.level


def look(obj, task, arg):
    return obj.level


def is_set(obj, task):
    return obj.level != 0


GROW = Operation("grow", effect=grow, wakes=True, local=True, releases=("level",))
LOOK = Operation("look", Access.READ_ONCE, effect=look, local=True)
AWAIT = Operation("await", Access.READ_ONCE, ready=is_set, effect=look, local=True, acquires=("level",))
REACH = Operation("reach", effect=lambda obj, task, to: setattr(to, "_b", 5))


def move(one, task, other):
    there = peek(one, "a")
    poke(one, "a", 0)
    poke(other, "b", peek(other, "b") + there)
    return there


def pick(one, task, other):
    field = "a" if peek(one, "a") else "b"
    poke(other, field, 3)
    return field


def picks(one, task, other):
    return [(one, "a", False), (other, "a" if peek(one, "a") else "b", True)]


MOVE = Operation("move", effect=move, touches=lambda one, task, other: [(one, "a", True), (other, "b", True)])
PICK = Operation("pick", effect=pick, touches=picks)

'''

OBJECTS: dict[str, str] = {
    "x": "Cell()",
    "y": "Cell()",
    "m0": 'Mutex("m0")',
    "m1": 'Mutex("m1")',
    "s0": 'Spinlock("s0")',
    "s1": 'Spinlock("s1")',
    "tap": 'Tap("tap", lock_class_key("taps"))',
    "sem": 'RwSemaphore("sem")',
    "rw": 'RwLock("rw")',
    "room": 'Semaphore(1, "room")',
    "gate": 'Semaphore(0, "gate")',
    "done": 'Completion("done")',
    "flag": 'Flag("flag")',
    "meet": 'Barrier(2, "meet")',
    "cond": 'Condition(name="cond")',
    "queue": 'WaitQueue("queue")',
    "seq": 'SeqLock("seq")',
    "count": 'SeqCount("count")',
    "srcu": 'SrcuStruct("srcu")',
    "head": 'RcuHead("head")',
    "timer": 'Timer(lambda timer: setattr(y, "b", 7), "timer")',
    "ticker": 'Timer(lambda timer: setattr(y, "p", 1), "ticker")',
    "nodes": 'KmemCache("node", Node)',
    "nameds": 'KmemCache("named", Named)',
    "steppeds": 'KmemCache("stepped", Node, stepped=True)',
    "reused": 'KmemCache("reused", Node, typesafe_by_rcu=True)',
    "root": "Root(ptr=nodes.alloc(GFP_KERNEL))",
    "holder": "Holder(); holder.node = nodes.alloc(GFP_KERNEL)",
    "named": "Holder(); named.node = nameds.alloc(GFP_KERNEL)",
    "stepped": "Holder(); stepped.node = steppeds.alloc(GFP_KERNEL)",
    "meter": "Meter()",
    "pressure": 'domain(Pressure); pressure.reclaim, pressure.chances = lambda: setattr(y, "a", 8), 1',
}
"""What programs share, and how it is made; the order is that of the declarations."""
for _declared in statements():
    # The old statements of a name that is taken would be made on the new object.
    if _taken := sorted(OBJECTS.keys() & _declared["objects"].keys()):
        raise ValueError(
            f"STATEMENTS of a test file: another object is called {_taken[0]!r}, so call it otherwise"
        )
    OBJECTS.update(_declared["objects"])

_NAMES = re.compile(r"\b[a-z]\w*\b")
_CELLS = ("x", "y")


def used(text: str) -> list[str]:
    """The objects that a text needs, in the order in which they are made."""
    wanted = {name for name in _NAMES.findall(text) if name in OBJECTS}
    left = list(wanted)
    while left:
        more = {name for name in _NAMES.findall(OBJECTS[left.pop()]) if name in OBJECTS} - wanted
        wanted |= more
        left += more
    return [name for name in OBJECTS if name in wanted]


def lines(block: Block, path: str) -> list[str]:
    """The Python of a block; a statement is called after its place, as ``t0.1.0``."""
    from adversary_kinds import KINDS

    found: list[str] = []
    for number, statement in enumerate(block):
        here = f"{path}.{number}"
        values = {"path": here, "ident": here.replace(".", "_")}
        for line in KINDS[statement.kind].text.strip("\n").split("\n"):
            bare = line.strip()
            if bare in ("{body}", "{else}"):
                inner = statement.body if bare == "{body}" else statement.orelse
                made = lines(inner, here if bare == "{body}" else f"{here}e") or ["pass"]
                indent = line[: len(line) - len(bare)]
                found += [indent + one for one in made]
            else:
                found.append(line.format(*statement.args, **values))
    return found


def text_of(program: Program) -> str:
    """The function that is explored, without what all programs have before it."""
    tasks = [lines(block, f"t{number}") for number, block in enumerate(program.tasks)]
    main = lines(program.main, "main")
    objects = used("\n".join(["\n".join(task) for task in tasks] + main))
    text = ["def program():", "    SEEN.clear()", "    PLACES.clear()"]
    text += [f"    {name} = {OBJECTS[name]}" for name in objects]
    cells = [name for name in objects if name in _CELLS]
    if cells:
        text.append(f"    PLACES.update({', '.join(f'{name}={name}' for name in cells)})")
    for number, task in enumerate(tasks):
        text += ["", f"    def t{number}():", f'        r = SEEN["t{number}"] = []']
        text += [f"        {line}" for line in task or ["pass"]]
    text.append("")
    text += [f'    t{number} = spawn(t{number}, name="t{number}")' for number in range(len(tasks))]
    if main:
        text += ['    r = SEEN["main"] = []', *[f"    {line}" for line in main]]
    return "\n".join(text) + "\n"


def source(program: Program) -> str:
    """The whole of it, ready to be pasted: `program` is what `explore` takes."""
    how = f"faults={program.faults}, spurious={program.spurious}"
    return f"# {program.note or 'a program'}; Settings({how})\n{PRELUDE}\n{text_of(program)}"


_shared: dict[str, Any] = {"__name__": "program"}


@dataclass(slots=True)
class Compiled:
    """A program that can be run; `outcome` is what its last execution has left."""

    run: Callable[[], Any]
    seen: dict[str, list[Any]]
    places: dict[str, Any]

    @property
    def outcome(self) -> tuple[Any, ...]:
        """The values of all fields, and what each task has read."""
        values = tuple((name, cell._a, cell._b, cell._p, cell._n) for name, cell in self.places.items())
        return values, tuple(sorted((name, tuple(read)) for name, read in self.seen.items()))


def compiled(program: Program) -> Compiled:
    """The program as Python; what all programs share is made once, since classes take long to make."""
    if "Cell" not in _shared:
        exec(compile(PRELUDE, "program.py", "exec"), _shared)
    scope = _shared
    exec(compile(text_of(program), "program.py", "exec"), scope)
    return Compiled(scope["program"], scope["SEEN"], scope["PLACES"])


def names_in(text: str) -> set[str]:
    """All names and attributes in a text: what a program makes use of."""
    return set(re.findall(r"\b[A-Za-z_]\w*\b", text))


# -- smaller programs -----------------------------------------------------------------------------------------------


def size(program: Program) -> int:
    """How many statements there are."""
    return sum(_size(block) for block in (*program.tasks, program.main))


def _size(block: Block) -> int:
    return sum(1 + _size(one.body) + _size(one.orelse) for one in block)


def smaller_blocks(block: Block) -> Iterator[Block]:
    """Without one statement; with its body in its place; with something smaller inside; with smaller numbers."""
    for at, one in enumerate(block):
        before, after = block[:at], block[at + 1 :]
        yield (*before, *after)
        if one.body or one.orelse:
            yield (*before, *one.body, *after)
            yield (*before, *one.orelse, *after)
        for body in smaller_blocks(one.body):
            yield (*before, replace(one, body=body), *after)
        for orelse in smaller_blocks(one.orelse):
            yield (*before, replace(one, orelse=orelse), *after)
        for place, value in enumerate(one.args):
            if type(value) is int and value > 1:
                args = (*one.args[:place], value - 1, *one.args[place + 1 :])
                yield (*before, replace(one, args=args), *after)


def smaller(program: Program) -> Iterator[Program]:
    """All programs that are a little smaller, those with a task less first."""
    tasks = program.tasks
    for at in range(len(tasks)):
        yield replace(program, tasks=(*tasks[:at], *tasks[at + 1 :]))
    if program.main:
        yield replace(program, main=())
    for at, block in enumerate(tasks):
        for body in smaller_blocks(block):
            yield replace(program, tasks=(*tasks[:at], body, *tasks[at + 1 :]))
    for body in smaller_blocks(program.main):
        yield replace(program, main=body)
    if program.faults:
        yield replace(program, faults=program.faults - 1)
    if program.spurious:
        yield replace(program, spurious=program.spurious - 1)


def shrunk(program: Program, differs: Callable[[Program], object], tries: int = 400) -> Program:
    """The smallest program that still `differs`, going down greedily; `tries` are shared by all steps."""
    left = tries
    goes_on = True
    while goes_on:
        goes_on = False
        for one in smaller(program):
            if left == 0:
                return program
            left -= 1
            if _still(differs, one):
                program, goes_on = one, True
                break
    return program


def _still(differs: Callable[[Program], object], program: Program) -> bool:
    """Whether the comparison still fails. A smaller program may make no sense any more, then it does not count."""
    try:
        return bool(differs(program))
    except (NameError, UnboundLocalError, SyntaxError, AttributeError, TypeError):
        return False
