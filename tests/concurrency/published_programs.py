"""Published benchmark programs of stateless model checking, written anew, each with its exact number of traces.

What counts as one trace is what docs/exploration.md says: accesses to one variable conflict if one of them is a
write, an atomic read-modify-write counts as a write also where it leaves the value as it was, all operations on one
mutex conflict, and waiting for it is no event. Concuerror counts so (but for equal writes, which commute there),
Nidhugg does with ``-sc -optimal``, and for programs without failing read-modify-writes and without assumptions GenMC
does with ``-sc -mo``: its execution graphs (which write each read sees, and the order of the writes to each variable)
are then in bijection with traces. `stated` says that the source itself gives this number for this program and size.
Where a source counts something else (reads-from classes, equal writes that commute, failed compare-and-swaps as reads)
`stated` is false, and the docstring says how the number is derived, where a hand can derive it. All numbers are
checked by `trace_counting`, which knows neither them nor the engine's relation.

The programs are facts of the papers and suites that `source` names; their code is not taken over. Loops are bounded.
What a program asserts is a `claim`, so that it can be counted although a claim is broken: a failure would end the
execution before the other tasks have shown what they would do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import comb, factorial
from typing import Any

from sugarbush.concurrency import (
    Atomic,
    Barrier,
    Condition,
    Mutex,
    Once,
    RwLock,
    Semaphore,
    Shared,
    Spinlock,
    Task,
    atomic_add_return,
    atomic_fetch_add,
    atomic_inc,
    check,
    cmpxchg,
    join,
    rcu_reader,
    spawn,
    synchronize_rcu,
    xchg,
)

Program = Callable[[], Any]

CONCUERROR = "parapluu/Concuerror 0cbd2fc, tests/suites/dpor_tests/src/"
GENMC = "MPI-SWS/genmc b03f01e, tests/correct/"
NIDHUGG = "nidhugg/nidhugg 0aea4d2, "
SCTBENCH = "mc-imperial/sctbench d59ab26, benchmarks/concurrent-software-benchmarks/"
POPL = "Abdulla, Aronis, Jonsson, Sagonas, Optimal Dynamic Partial Order Reduction, POPL 2014, "
FLANAGAN = "Flanagan, Godefroid, Dynamic Partial-Order Reduction for Model Checking Software, POPL 2005, "
LITMUS = "Linux v6.6, Documentation/litmus-tests/rcu/"


@dataclass(frozen=True)
class Published:
    """One program of one size."""

    name: str
    source: str
    program: Program
    traces: int
    stated: bool
    """The source gives this number."""
    slow: bool
    """Too many traces for the quick part of the suite."""
    broken: str | None
    """The claim that some schedule breaks, if there is one."""
    deadlocks: bool
    """Some schedule ends in a deadlock."""


PROGRAMS: list[Published] = []


def published(
    source: str,
    counts: dict[tuple[Any, ...], int] | int,
    *,
    slow: dict[tuple[Any, ...], int] | None = None,
    stated: tuple[tuple[Any, ...], ...] | bool = False,
    broken: str | None = None,
    broken_by: tuple[tuple[Any, ...], ...] | None = None,
    deadlocks: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Enter a program into `PROGRAMS`, with its numbers of traces by its arguments.

    `stated` says for which arguments the source gives the number; True stands for all. `broken` is a claim that some
    schedule breaks, with the arguments in `broken_by` only, if there are any.
    """

    def enter(program: Callable[..., None]) -> Callable[..., None]:
        sizes = {(): counts} if isinstance(counts, int) else counts
        for quick, some in ((True, sizes), (False, slow or {})):
            for args, traces in some.items():
                label = program.__name__ + "".join(f"-{arg}" for arg in args)
                said = stated if isinstance(stated, bool) else args in stated
                PROGRAMS.append(
                    Published(
                        label,
                        source,
                        partial(program, *args),
                        traces,
                        said,
                        not quick,
                        broken if broken_by is None or args in broken_by else None,
                        deadlocks,
                    )
                )
        return program

    return enter


_noted: set[str] | None = None


def claim(holds: object, words: str) -> None:
    """What the program asserts."""
    if _noted is None:
        check(bool(holds), words)
    elif not holds:
        _noted.add(words)


@contextmanager
def claims_noted() -> Iterator[set[str]]:
    """While this lasts a broken claim is no failure but put into this set."""
    global _noted
    found: set[str] = set()
    _noted = found
    try:
        yield found
    finally:
        _noted = None


class Place(Shared):
    """One variable of a program."""

    v: Once[Any] = 0


class Counter(Shared):
    """One variable that is also changed atomically."""

    v: Atomic[Any] = 0


def places(n: int, value: object = 0) -> list[Place]:
    """So many variables."""
    return [Place(v=value) for _ in range(n)]


def look(place: Place) -> Any:
    """Read a variable and do nothing with what is there."""
    return place.v


def put(place: Place, value: object) -> None:
    """Write a variable."""
    place.v = value


def do(*steps: tuple[Any, ...]) -> Task:
    """A task that takes these steps, each a function and its arguments, one after the other."""

    def body() -> None:
        for step, *args in steps:
            step(*args)

    return spawn(body)


# -- the programs of the paper -----------------------------------------------------------------------------------------


@published(
    POPL
    + "figure 1 and the benchmark readers; Concuerror's readers.erl says 64 for 6, GenMC's 4, 256 for 2, 8",
    {(n,): 2**n for n in (1, 2, 3, 6)},
    slow={(n,): 2**n for n in (8, 10)},
    stated=((2,), (6,), (8,)),
)
def readers(n: int) -> None:
    """Each reader looks at a variable of its own, and then at the one that the writer writes: before or after it."""
    x = Place()
    spawn(put, x, 1)
    for own in places(n):
        do((look, own), (look, x))


@published(
    POPL
    + "the benchmark lastzero; Concuerror's last_zero.erl says 64 for 5, Nidhugg's suite 28 for 4, GenMC's 3328 for 10",
    {(n,): (n + 3) * 2 ** (n - 2) for n in (2, 3, 4, 5, 6)},
    slow={(n,): (n + 3) * 2 ** (n - 2) for n in (7, 8, 9, 10)},
    stated=((2,), (3,), (4,), (5,), (10,)),
)
def lastzero(n: int) -> None:
    """n tasks set a[j] = a[j-1] + 1, one looks for the last zero from the end: (n + 3) 2^(n-2) traces.

    The writers of a[j] and a[j+1] meet at a[j], in either order: n - 1 pairs. The look that finds zero is at a[n], with
    2^(n-1) ways for the pairs; or at a[0], the same; or at a[k] between them: then a[k+1] was written before a[k], so
    that pair is settled, and the others have 2^(n-2) ways, for each of the n - 1 places k.
    """
    a = places(n + 1)

    def seek() -> None:
        at = n
        while a[at].v:
            at -= 1

    def write(j: int) -> None:
        a[j].v = a[j - 1].v + 1

    spawn(seek)
    for j in range(1, n + 1):
        spawn(write, j)


@published(
    FLANAGAN
    + "the benchmark file system; SCTBench fsbench; Concuerror file_system_example.erl says 8 for 16",
    {(n,): 2 ** (n - 13) for n in (14, 16, 18, 19)},
    slow={(22,): 2**9},
    stated=((14,), (16,), (18,), (19,)),
)
def filesystem(n: int) -> None:
    """Task t looks for a free block from 2t mod 26 on for its inode t: it meets task t + 13, and nobody else.

    Whichever of the two comes second finds the block busy and takes the next one, which nobody else wants. So each of
    the n - 13 pairs has two orders.
    """
    blocks, inodes = 26, 32
    inode, busy = places(inodes), places(blocks, value=False)
    lock_inode = [Mutex(f"inode {i}") for i in range(inodes)]
    lock_block = [Mutex(f"block {b}") for b in range(blocks)]

    def create(tid: int) -> None:
        i = tid % inodes
        with lock_inode[i]:
            if inode[i].v == 0:
                b = i * 2 % blocks
                while True:
                    with lock_block[b]:
                        if not busy[b].v:
                            busy[b].v = True
                            inode[i].v = b + 1
                            return
                    b = (b + 1) % blocks

    for tid in range(n):
        spawn(create, tid)


@published(
    FLANAGAN + "the benchmark indexer; GenMC synthetic/indexer says 8 for 12, 4096 for 15",
    {(11,): 1, (12,): 8, (13,): 64},
    slow={(14,): 512, (15,): 4096},
    stated=((11,), (12,), (15,)),
)
def indexer(n: int) -> None:
    """Each task puts four messages into a hash table of 128 places by compare-and-swap.

    Message i of task t goes to 7 (11 i + t) mod 128: message i of task t + 11 and message i + 1 of task t want one
    place, three times for each of the n - 11 pairs of tasks. Whoever is late goes one further, where nobody is.
    """
    table = [Counter() for _ in range(128)]

    def insert(tid: int) -> None:
        for i in range(4):
            w = i * 11 + tid
            h = w * 7 % 128
            while cmpxchg(table[h], "v", 0, w) != 0:
                h = (h + 1) % 128

    # The first task inserts 0 as its first message, which leaves the place as it is; so does the original.
    for tid in range(n):
        spawn(insert, tid)


@published(CONCUERROR + "POPL_optimal_example.erl", 5, stated=True)
def why_source_sets_are_not_enough() -> None:
    """The paper's example for wakeup trees: source sets alone begin executions that sleep sets stop.

    Writers of x and of y; one writes z if y is 0; one, if z is 1 and y is 0, writes x. y comes before the look of the
    third task: 1 way. Else z is written; the fourth looks at it before: 1, or after it, and then at y: after y was
    written: 1, or before it, so that it writes x before or after the first task: 2.
    """
    x, y, z = places(3)

    def third() -> None:
        if y.v == 0:
            z.v = 1

    def fourth() -> None:
        if z.v == 1 and y.v == 0:
            x.v = 2

    spawn(put, x, 1)
    spawn(put, y, 1)
    spawn(third)
    spawn(fourth)


# -- Concuerror's own tests --------------------------------------------------------------------------------------------


@published(CONCUERROR + "combination_lock_1.erl", 6, stated=True)
def combination_lock() -> None:
    """A chain of tasks: each does its part only if it sees that of the one before."""
    v, w, x, y, z, a, b, c, d = places(9)

    def second() -> None:
        x.v = 1
        a.v = 1
        if y.v == 1:
            w.v = 1
            b.v = 0

    def third() -> None:
        if x.v == 1:
            y.v = 1
            c.v = 0
            if v.v == 1:
                look(z)

    def fourth() -> None:
        if w.v == 1:
            v.v = 1
            d.v = 0

    spawn(put, z, 1)
    spawn(second)
    spawn(third)
    spawn(fourth)


@published(CONCUERROR + "conditional_readers.erl (equal writes commute there: 8)", 12)
def conditional_readers() -> None:
    """Two tasks that look at x, and then write y, if y is still 0; one writes x.

    One is done before the other looks at y: 2 orders, and 2 ways of its look at x. Or both see 0: 2 orders of their
    writes, and 4 ways of their looks at x.
    """
    x, y = places(2)

    def reads() -> None:
        if y.v == 0:
            look(x)
            y.v = 1

    spawn(put, x, 1)
    spawn(reads)
    spawn(reads)


@published(CONCUERROR + "conditional_readers_2.erl (equal writes commute there: 6)", 7)
def conditional_readers_2() -> None:
    """As before, and y is written only if x was seen.

    Nobody writes y: 1 way. One of the two does, and the other comes after it, or was there before and missed x: 2 * 2.
    Both do: 2 orders of their writes.
    """
    x, y = places(2)

    def reads() -> None:
        if y.v == 0 and x.v == 1:
            y.v = 1

    spawn(put, x, 1)
    spawn(reads)
    spawn(reads)


@published(CONCUERROR + "conditional_readers_3.erl", 6, stated=True)
def conditional_readers_3() -> None:
    """A look at x that takes place only before y is written."""
    x, y = places(2)

    def reads() -> None:
        if y.v == 0:
            look(x)

    spawn(put, x, 1)
    spawn(reads)
    do((look, x), (put, y, 1))


def _chain(x: Place, y: Place, z: Place) -> None:
    if x.v and y.v:
        look(z)


def _short_chain(y: Place, z: Place) -> None:
    if y.v:
        look(z)


@published(CONCUERROR + "depend_1.erl", 12, stated=True)
def depend_1() -> None:
    """Looks that depend on earlier looks: at x, then y, then z, and at y, then z. Three writers."""
    x, y, z = places(3)
    for place in (z, x, y):
        spawn(put, place, 1)
    spawn(_chain, x, y, z)
    spawn(_short_chain, y, z)


@published(CONCUERROR + "depend_2.erl", 12, stated=True)
def depend_2() -> None:
    """`depend_1` with its tasks in another order: the number is the same."""
    x, y, z = places(3)
    spawn(put, z, 1)
    spawn(put, y, 1)
    spawn(_short_chain, y, z)
    spawn(put, x, 1)
    spawn(_chain, x, y, z)


@published(CONCUERROR + "depend_3.erl", 30, stated=True)
def depend_3() -> None:
    """y is written twice."""
    x, y, z = places(3)
    spawn(put, z, 1)
    spawn(put, x, 1)
    do((put, y, 1), (put, y, 2))
    spawn(_chain, x, y, z)
    spawn(_short_chain, y, z)


@published(CONCUERROR + "depend_4.erl", 30, stated=True)
def depend_4() -> None:
    """x is written by two tasks, and only the value of one of them lets the chain go on."""
    x, y, z = places(3)

    def chain() -> None:
        if x.v == 1 and y.v == 1:
            look(z)

    for place in (z, x, y):
        spawn(put, place, 1)
    spawn(chain)
    spawn(_short_chain, y, z)
    spawn(put, x, 2)


@published(CONCUERROR + "depend_5.erl", 12, stated=True)
def depend_5() -> None:
    """y is written twice, and one more task looks at x."""
    x, y, z = places(3)
    spawn(put, z, 1)
    spawn(put, x, 1)
    do((put, y, 1), (put, y, 2))
    spawn(_chain, x, y, z)
    spawn(look, x)


@published(CONCUERROR + "depend_6.erl", 18, stated=True)
def depend_6() -> None:
    """Two looks at y among two writes, 3 ways each, and one look at z: 3 * 3 * 2."""
    y, z = places(2)
    do((look, y), (look, z))
    spawn(look, y)
    spawn(put, z, 1)
    do((put, y, 1), (put, y, 2))


def _if_set(first: Place, then: Place) -> None:
    if first.v:
        look(then)


@published(CONCUERROR + "diff_dep_1.erl", 9, stated=True)
def diff_dep_1() -> None:
    """Two tasks, each with a flag of its own, look at x if it is set: each has 3 ways."""
    x, y, z = places(3)
    for place in (x, y, z):
        spawn(put, place, 1)
    spawn(_if_set, z, x)
    spawn(_if_set, y, x)


@published(CONCUERROR + "diff_dep_3.erl", 6, stated=True)
def diff_dep_3() -> None:
    """As before; one of the two looks at x in any case: 3 * 2 ways."""
    x, z = places(2)
    spawn(put, x, 1)
    spawn(put, z, 1)
    spawn(_if_set, z, x)
    spawn(look, x)


@published(CONCUERROR + "difficult_readers.erl", 18, stated=True)
def difficult_readers() -> None:
    """Two writers, 2 orders, and two readers among them: 2 * 3 * 3. Each does something of its own before."""
    x = Place()
    for own, step in zip(places(4), ((put, x, 1), (put, x, 2), (look, x), (look, x)), strict=True):
        do((put, own, 1), step)


@published(CONCUERROR + "ets_cross.erl; GenMC litmus/2+2W says 3, too", 3, stated=True)
def two_plus_two_w() -> None:
    """x and y written in opposite orders: of the four orders at the two places one is a circle."""
    x, y = places(2)
    do((put, x, 1), (put, y, 1))
    do((put, y, 2), (put, x, 2))


@published(CONCUERROR + "ets_dependencies_deeper_2.erl", 6, stated=True)
def ets_dependencies_deeper() -> None:
    """A look that only happens if another one came before its write; the results are looked at after the joins."""
    x, y, z, p2, p3 = places(5)

    def second() -> None:
        y.v = 2
        p2.v = x.v

    def third() -> None:
        z.v = 3
        p3.v = "none" if x.v else y.v

    join(spawn(put, x, 1), spawn(second), spawn(third))
    claim(p2.v in (0, 1) and p3.v in (0, 2, "none"), "the tasks saw what was there")


@published(CONCUERROR + "etsi.erl", 7, stated=True)
def etsi() -> None:
    """Three tasks in a circle, each looks at one place and writes the next or the one after it."""
    x, y, z = places(3)

    def turn(a: Place, b: Place, c: Place) -> None:
        if a.v == 0:
            b.v = 1
        else:
            c.v = 0

    spawn(turn, x, y, z)
    spawn(turn, y, z, x)
    spawn(turn, z, x, y)


@published(CONCUERROR + "etsi_2.erl", 5, stated=True)
def etsi_2() -> None:
    """One writes x, one writes y and looks at x, one looks at x and, if it is set, at y."""
    x, y = places(2)
    spawn(put, x, 1)
    do((put, y, 1), (look, x))
    spawn(_if_set, x, y)


@published(CONCUERROR + "etsi_3.erl; sleeping_races_1.erl is its mirror image", 3, stated=True)
def etsi_3() -> None:
    """A look at y that only happens if x is not set."""
    x, y, z = places(3)

    def looks() -> None:
        look(z)
        if x.v == 0:
            look(y)

    spawn(put, y, 1)
    spawn(looks)
    spawn(put, x, 1)


@published(CONCUERROR + "etsi_5.erl", 12, stated=True)
def etsi_5() -> None:
    """Five tasks over x, y and z, of which one writes z only if x is not set."""
    x, y, z, z5, xy = places(5)

    def third() -> None:
        if x.v == 0:
            z.v = 1

    def fourth() -> None:
        xy.v = (x.v, y.v)

    def fifth() -> None:
        z5.v = z.v

    join(spawn(put, y, 1), spawn(put, x, 1), spawn(third), spawn(fourth), spawn(fifth))
    claim(not (z.v == 0 and z5.v == 1), "nobody sees a write that never was")


@published(CONCUERROR + "etsi_8.erl", 10, stated=True)
def etsi_8() -> None:
    """`etsi_2` and one more look at x: twice as many."""
    etsi_2_places = places(2)
    x, y = etsi_2_places
    spawn(put, x, 1)
    do((put, y, 1), (look, x))
    spawn(_if_set, x, y)
    spawn(look, x)


@published(CONCUERROR + "hairbrush_teeth_2.erl says 20 for 3", {(2,): 6, (3,): 20, (4,): 70}, stated=((3,),))
def hairbrush_teeth(n: int) -> None:
    """n writes of one task and n looks of another: any merge of the two, (2n choose n)."""
    x = Place()
    do(*((put, x, k + 1) for k in range(n)))
    do(*((look, x) for _ in range(n)))


@published(CONCUERROR + "long_chain.erl", 20, stated=True)
def long_chain() -> None:
    """Five links, each set if the one before is, and two looks at w from the middle and the end of the chain."""
    x, y, z, a, b, c, w = places(7)

    def link(one: Place, other: Place, own: Place) -> None:
        own.v = 1
        if one.v == 1:
            other.v = 1

    def end(one: Place, own: Place) -> None:
        own.v = 1
        _if_set(one, w)

    do((put, x, 1), (put, w, 1))
    for one, other in ((x, y), (y, a), (a, b), (b, c), (c, z)):
        spawn(link, one, other, Place())
    spawn(end, a, Place())
    spawn(end, z, Place())


@published(CONCUERROR + "many_initials.erl", 5, stated=True)
def many_initials() -> None:
    """A look at x after y and z were both seen: 3 ways without it, 2 with it."""
    x, y, z = places(3)

    def looks() -> None:
        one, two = y.v, z.v
        if one and two:
            look(x)

    for place in (x, y, z):
        spawn(put, place, 1)
    spawn(looks)


@published(
    CONCUERROR + "manywrite.erl, manywrite_2.erl say 4, 16 for 2, 4",
    {(n,): 2**n for n in (2, 4)},
    stated=True,
)
def manywrite(n: int) -> None:
    """Two writers for each of n places."""
    cells = places(n)
    for value in (1, 2):
        for place in cells:
            do((put, Place(), 1), (put, place, value))


@published(CONCUERROR + "not_prerequisite_1.erl (equal writes commute there: 5)", 7)
def not_prerequisite() -> None:
    """y is written by two, and x is looked at if y is set: it need not be so by the one that wrote x.

    The look at y comes first: 2 orders of the writes. It comes later than the write of the task that wrote x: so does
    the look at x; 2 orders have it last, 1 has it between. It comes only after the other write: 2 ways at x.
    """
    x, y = places(2)
    do((put, x, 1), (put, y, 1))
    spawn(_if_set, y, x)
    spawn(put, y, 1)


@published(CONCUERROR + "sleeping_races_2.erl", 5, stated=True)
def sleeping_races_2() -> None:
    """y is written by the task that looks at it later."""
    x, y = places(2)

    def third() -> None:
        y.v = 2
        _if_set(x, y)

    spawn(put, y, 1)
    spawn(put, x, 1)
    spawn(third)


@published(CONCUERROR + "sleeping_races_3_read.erl", 6, stated=True)
def sleeping_races_3_read() -> None:
    """3 ways of the conditional look, and 2 of another one."""
    x, y = places(2)
    spawn(put, y, 1)
    spawn(put, x, 1)
    spawn(look, x)
    spawn(_if_set, x, y)


@published(CONCUERROR + "sleeping_races_3_write.erl", 10, stated=True)
def sleeping_races_3_write() -> None:
    """Two orders of the writers of x; the look at x comes first (1 way), in the middle or last (2 each): 2 * 5."""
    x, y = places(2)
    spawn(put, y, 1)
    spawn(put, x, 1)
    spawn(put, x, 2)
    spawn(_if_set, x, y)


@published(CONCUERROR + "sleeping_races_4.erl", 12, stated=True)
def sleeping_races_4() -> None:
    """3 ways of the conditional look, 2 of each of two others; everybody does something of its own before."""
    x, y = places(2)

    def looks() -> None:
        Place().v = 1
        _if_set(x, y)

    do((put, Place(), 1), (put, y, 1))
    do((put, Place(), 1), (put, x, 1))
    do((put, Place(), 1), (look, x))
    spawn(looks)
    do((put, Place(), 1), (look, y))


@published(CONCUERROR + "sleeping_races_5.erl", 24, stated=True)
def sleeping_races_5() -> None:
    """3 ways of the conditional look, 2 of a look, 4 of a task that looks at both places."""
    x, y = places(2)
    spawn(put, y, 1)
    spawn(put, x, 1)
    do((look, x), (put, Place(), 1), (look, y))
    spawn(_if_set, x, y)
    spawn(look, y)


@published(CONCUERROR + "sleeping_races_6.erl", 10, stated=True)
def sleeping_races_6() -> None:
    """Four looks, each only if the one before saw a write; the source sets of 2014 begin 18 executions in vain."""
    w, x, y, z = places(4)

    def fifth() -> None:
        if y.v and z.v and x.v:
            look(w)

    for place in (w, x, y):
        do((put, Place(), 1), (put, place, 1))
    do((look, y), (put, Place(), 1), (put, z, 1))
    spawn(fifth)


@published(CONCUERROR + "tricky_predecessors.erl; 124 interleavings", 124, stated=True)
def tricky_predecessors() -> None:
    """Three locks are opened; three tasks look at x if they find the two locks before them open. One writes x.

    A task has 3 ways in which it misses a lock, and 2 in which it looks at x: 5^3, but for the circle in which each
    finds its first lock open and its second one not yet.
    """
    x, *locks = places(4)
    seen = places(3)

    def reads(k: int) -> None:
        one, two = locks[k].v, locks[(k + 1) % 3].v
        seen[k].v = x.v if one and two else "irrelevant"

    tasks = [spawn(put, lock, 1) for lock in locks] + [spawn(reads, k) for k in range(3)]
    x.v = 1
    join(*tasks)
    claim(all(place.v in (0, 1, "irrelevant") for place in seen), "x is 0 or 1")


@published(CONCUERROR + "two_writers_readers_1.erl", 9, stated=True)
def two_writes_two_readers() -> None:
    """Two writes of one task, two readers: 3 * 3."""
    x, y = places(2)
    do((put, x, 1), (put, x, 2))
    for _ in range(2):
        do((look, y), (look, x))


# -- GenMC's tests: programs of two to five tasks over few places ------------------------------------------------------


@published(
    GENMC + "synthetic/CoA says 4, 15, 130, 2028 for 1 to 4",
    {(1,): 4, (2,): 15, (3,): 130},
    slow={(4,): 2028},
    stated=True,
)
def coherence_a(n: int) -> None:
    """Two tasks write x, look at y or z, and look at x; n - 1 tasks write both y and z."""
    x, y, z = places(3)
    do((put, x, 1), (look, y), (look, x))
    do((put, x, 2), (look, z), (look, x))
    for k in range(n - 1):
        do((put, y, k), (put, z, k))


@published(
    GENMC
    + "synthetic/N-writers says 720 for 5; from_TRACER/n_writers_a_reader.c, from_OBSERVERS/floating_read.c of Nidhugg",
    {(n,): factorial(n + 1) for n in (2, 3, 4)},
    slow={(5,): 720},
    stated=((5,),),
)
def writers_and_a_reader(n: int) -> None:
    """n writers and one reader of one place: all (n + 1)! orders, the reader's place in the order included."""
    x = Place()
    spawn(look, x)
    for k in range(n):
        spawn(put, x, k)


@published(
    GENMC + "synthetic/ainc says n!",
    {(n,): factorial(n) for n in (2, 3, 4, 5)},
    slow={(6,): 720},
    stated=True,
)
def atomic_increments(n: int) -> None:
    """n fetch_adds: each sees how many were before it."""
    x = Counter()
    for _ in range(n):
        spawn(atomic_inc, x, "v")


@published(
    GENMC + "synthetic/binc, cinc say (n!)^k",
    {(2, 2): 4, (3, 2): 36, (2, 3): 8},
    slow={(4, 2): 576, (3, 3): 216},
    stated=True,
)
def atomic_increments_of_several(n: int, k: int) -> None:
    """n tasks increment k places one after the other: n! orders at each, (n!)^k.

    All of them are possible: since all tasks go through the places in the same order, no orders make a circle.
    """
    cells = [Counter() for _ in range(k)]
    for _ in range(n):
        do(*((atomic_inc, cell, "v") for cell in cells))


@published(GENMC + "synthetic/cas (it counts failures as reads: n)", {(n,): factorial(n) for n in (2, 3, 4)})
def compare_and_swaps(n: int) -> None:
    """n compare-and-swaps of one place from 0: one succeeds, and the others fail in any order: n!."""
    x = Counter()
    wins = places(n, value=False)

    def swap(k: int) -> None:
        wins[k].v = cmpxchg(x, "v", 0, k + 1) == 0

    join(*[spawn(swap, k) for k in range(n)])
    claim(sum(place.v for place in wins) == 1, "exactly one succeeds")


@published(
    GENMC + "synthetic/casrot; Nidhugg from_RCMC/casrot.c", {(2,): 2, (3,): 6, (4,): 24}, slow={(5,): 120}
)
def rotating_compare_and_swaps(n: int) -> None:
    """Task k turns k - 1 into k, so how many succeed depends on the order: n! orders, the failures' among them."""
    x = Counter()
    for k in range(1, n + 1):
        spawn(cmpxchg, x, "v", k - 1, k)


@published(
    GENMC + "synthetic/casw says 6 for 2 (and 66 for 3, failures being reads)",
    {(2,): 6, (3,): 90},
    slow={(4,): 2520},
    stated=((2,),),
)
def compare_and_swap_then_write(n: int) -> None:
    """Each swaps, and then writes: everything conflicts, (2n)! / 2^n merges."""
    x = Counter()

    def body(k: int) -> None:
        cmpxchg(x, "v", 0, 1)
        x.v = k + 3

    for k in range(n):
        spawn(body, k)


@published(GENMC + "synthetic/wainc says (n + 1)!", {(2,): 6, (3,): 24}, slow={(4,): 120}, stated=True)
def write_and_increments(n: int) -> None:
    """A write and n fetch_adds."""
    x = Counter()
    spawn(setattr, x, "v", 42)
    for _ in range(n):
        spawn(atomic_inc, x, "v")


@published(GENMC + "synthetic/wcas (it counts failures as reads: 5, 13)", {(2,): 6, (3,): 24})
def write_and_compare_and_swaps(n: int) -> None:
    """A write of 2 and n swaps from 2 to 3: (n + 1)!."""
    x = Counter()
    spawn(setattr, x, "v", 2)
    for _ in range(n):
        spawn(cmpxchg, x, "v", 2, 3)


@published(
    GENMC + "synthetic/rw says 4, 36 for 2, 3 (its sizes)", {(2,): 4, (3,): 36}, slow={(4,): 576}, stated=True
)
def read_then_write(n: int) -> None:
    """Each looks at x and then writes it: (n!)^2 ways.

    In an order of the n writes the look of the k-th writer is before it, in one of k gaps: n! times n!.
    """
    x = Place()
    for k in range(n):
        do((look, x), (put, x, k))


@published(GENMC + "litmus/wrw says 22, 300 for 2, 3", {(2,): 22}, slow={(3,): 300}, stated=True)
def write_and_read_writes(n: int) -> None:
    """`read_then_write` and one write more."""
    x = Place()
    spawn(put, x, 1)
    for k in range(n):
        do((look, x), (put, x, k))


@published(GENMC + "synthetic/publish says 42 for 41 looks", {(4,): 5, (41,): 42}, stated=((41,),))
def publish(tries: int) -> None:
    """A reader looks at a flag so many times and, as soon as it is set, at x: set before look 1, 2, ..., or never."""
    x, flag = places(2)

    def reads() -> None:
        for _ in range(tries):
            if flag.v:
                claim(x.v == 42, "what was published is there")
                return

    do((put, x, 42), (put, flag, 1))
    spawn(reads)


@published(
    GENMC + "synthetic/par_length says 4; Nidhugg synthetic/length_parametric.c",
    {(1,): 4, (20,): 4},
    stated=True,
)
def length_parametric(n: int) -> None:
    """Two tasks that write and look at x at the end of a long stretch of their own: 4, whatever its length."""
    x = Place()

    def body(tid: int, own: Place) -> None:
        for k in range(n):
            own.v = k
            look(own)
        x.v = tid
        look(x)

    for tid in range(2):
        spawn(body, tid, Place())


@published(
    GENMC + "synthetic/lockinc, lock2inc say n!; Nidhugg's mutex_order_3 6",
    {(2,): 2, (3,): 6, (4,): 24},
    slow={(5,): 120},
    stated=True,
)
def lock_and_increment(n: int) -> None:
    """n tasks increment two variables under one mutex: n! orders of it, and the variables add none."""
    x, y = places(2)
    mutex = Mutex("m")

    def body() -> None:
        with mutex:
            x.v += 1
            y.v += 1

    join(*[spawn(body) for _ in range(n)])
    claim(x.v == y.v == n, "no increment is lost")


@published(GENMC + "synthetic/dekker2-fixed says 6", {(2,): 6, (4,): 6}, stated=True)
def dekker_fixed(n: int) -> None:
    """Two tasks set flags, and each notes whether it saw the other's; two more write or look at x only if neither did.

    Under sequential consistency that never happens: whatever their loops, the number is the same.
    """
    x, y, z1, z2 = places(4)

    def first(mine: Place, other: Place, note: Place) -> None:
        mine.v = 1
        if not other.v:
            note.v = 1

    def writes() -> None:
        if z1.v and z2.v:
            for k in range(n):
                x.v = k

    def looks() -> None:
        if z1.v and z2.v:
            claim(False, "both are alone")
            for _ in range(n):
                look(x)

    spawn(first, y, x, z1)
    spawn(first, x, y, z2)
    spawn(writes)
    spawn(looks)


@published(GENMC + "synthetic/dekker_f says 3", 3, stated=True)
def dekker() -> None:
    """Two flags; who does not see the other's goes into the critical section."""
    x, y, c = places(3)

    def body(mine: Place, other: Place, mark: int) -> None:
        mine.v = 1
        if not other.v:
            c.v = mark
            claim(c.v == mark, "alone in the critical section")

    spawn(body, y, x, 1)
    spawn(body, x, y, 2)


@published(
    GENMC + "synthetic/eratosthenes says 398 for 5", {(3,): 34, (4,): 136}, slow={(5,): 398}, stated=((5,),)
)
def eratosthenes(n: int) -> None:
    """Two tasks sieve one table; what one crosses out the other does not look for."""
    naturals = places(n)

    def sieve() -> None:
        for i in range(n):
            if not naturals[i].v:
                naturals[i].v = 1
                for j in range(2 * i + 2, n, i + 2):
                    naturals[j].v = 2

    spawn(sieve)
    spawn(sieve)


@published(
    GENMC + "synthetic/SharedPtr says 410 for 100", {(0,): 10, (3,): 22}, slow={(100,): 410}, stated=((100,),)
)
def shared_pointer(n: int) -> None:
    """Each sets a pointer to a variable and adds 3 to what the pointer points to then: the places depend on the data.

    10 traces, and 4 more for each look that the write of the other one may come between.
    """
    x, y, pointer = Place(v=3), Place(v=4), Place(v=None)

    def body(target: Place, other: Place) -> None:
        pointer.v = target
        for _ in range(n):
            look(other)
        found = pointer.v
        found.v = found.v + 3

    join(spawn(body, y, x), spawn(body, x, y))
    claim(3 <= x.v <= 9 and 3 <= y.v <= 10, "what was added is 3 or 6 or 0")


@published(
    GENMC + "litmus/CoRR1, CoRR2 say 36, 72; default 12", {(2,): 12, (2, 1): 36, (2, 2): 72}, stated=True
)
def coherent_reads(*looks: int) -> None:
    """Two writers of x and readers that look so many times: 2 orders, and C(looks + 2, 2) ways for each reader."""
    x = Place()
    spawn(put, x, 1)
    spawn(put, x, 2)
    for n in looks:
        do(*((look, x) for _ in range(n)))


@published(
    GENMC + "litmus/fr+w+w+w+reads says 210, W+RRR+W 20", {(2, 3): 20}, slow={(3, 4): 210}, stated=True
)
def writers_and_reads(writers: int, looks: int) -> None:
    """One reader, more often: writers! * C(looks + writers, writers) is 2 * 10 and 6 * 35."""
    x = Place()
    for k in range(writers):
        spawn(put, x, k + 1)
    do(*((look, x) for _ in range(looks)))


@published(GENMC + "litmus/inc+inc+RR+W+RR says 600", {}, slow={(): 600}, stated=True)
def increments_and_reads() -> None:
    """Two fetch_adds and a write, 3! orders, and two readers of two looks each: 6 * C(5, 2)^2 = 6 * 100."""
    x = Counter()
    spawn(atomic_inc, x, "v")
    spawn(atomic_inc, x, "v")
    do((_look, x), (_look, x))
    spawn(setattr, x, "v", 42)
    do((_look, x), (_look, x))


def _look(counter: Counter) -> Any:
    return counter.v


@published(GENMC + "litmus/IRIW-acq-sc says 15", 15, stated=True)
def iriw() -> None:
    """Independent reads of independent writes: 16 ways of four looks, one of which is a circle."""
    x, y = places(2)
    spawn(put, x, 1)
    do((look, x), (look, y))
    do((look, y), (look, x))
    spawn(put, y, 1)


@published(GENMC + "litmus/IRIWish says 27", 27, stated=True)
def iriwish() -> None:
    """The second writer writes what it has seen of the first."""
    x, y = places(2)

    def copy() -> None:
        y.v = x.v

    spawn(put, x, 1)
    spawn(copy)
    do((look, x), (look, y))
    do((look, y), (look, x))


@published(GENMC + "litmus/LB+incMPs says 15", 15, stated=True)
def load_buffering_with_increments() -> None:
    """Four tasks in a circle x, z, y, w of four links, each with two orders: 2^4, but for the circle."""
    x, y = places(2)
    w, z = Counter(), Counter()
    do((look, x), (atomic_inc, z, "v"))
    do((atomic_inc, z, "v"), (put, y, 1))
    do((look, y), (atomic_inc, w, "v"))
    do((atomic_inc, w, "v"), (put, x, 1))


@published(GENMC + "litmus/LB+fr-fr-data+data says 16", 16, stated=True)
def load_buffering_twice() -> None:
    """Load buffering with two looks in a row, and another writer of y."""
    x, y = places(2)
    do((look, x), (put, y, 1))
    do((look, y), (look, y), (put, x, 1))
    spawn(put, y, 2)


@published(GENMC + "litmus/LB3 says 7", {(2,): 3, (3,): 7, (5,): 31}, stated=((2,), (3,)))
def load_buffering(n: int) -> None:
    """A ring of n tasks, each looks at its place and sets the next: 2^n ways, but that all see what is set."""
    cells = places(n)
    for k in range(n):
        do((look, cells[k]), (put, cells[(k + 1) % n], 1))


@published(GENMC + "litmus/MP2 says 9", 9, stated=True)
def message_passing_twice() -> None:
    """One task sets four places, and two look at two of them each, in the opposite order: 3 ways each."""
    a, b, c, d = places(4)
    do((put, a, 1), (put, c, 1), (put, b, 1), (put, d, 1))
    do((look, b), (look, a))
    do((look, d), (look, c))


@published(GENMC + "litmus/WWmerge1 says 15", 15, stated=True)
def write_write_merge() -> None:
    """Two writes of x; one looks at x and y, one writes y and looks at x."""
    x, y = places(2)
    do((look, x), (look, y))
    do((put, x, 1), (put, x, 2))
    do((put, y, 1), (look, x))


@published(GENMC + "litmus/Z6.U says 18", 18, stated=True)
def z6_with_an_increment() -> None:
    """Z6 with a fetch_add in its middle."""
    x, y = Place(), Counter()
    do((put, x, 1), (setattr, y, "v", 1))
    do((atomic_inc, y, "v"), (_look, y))
    do((setattr, y, "v", 3), (look, x))


@published(GENMC + "litmus/MPU+rels+acq says 12", 12, stated=True)
def message_passing_with_an_increment() -> None:
    """x is written again only by who sees that y was incremented."""
    x, y = Place(), Counter()

    def third() -> None:
        if y.v > 1:
            x.v = 2

    do((put, x, 1), (setattr, y, "v", 0), (setattr, y, "v", 1))
    spawn(atomic_inc, y, "v")
    spawn(third)


@published(GENMC + "litmus/relseq says 16", 16, stated=True)
def release_sequence() -> None:
    """Two writes of y, an exchange of y, and a reader of y and x."""
    x, y = Place(), Counter()
    do((put, x, 1), (setattr, y, "v", 1), (setattr, y, "v", 2))
    spawn(xchg, y, "v", 3)
    do((_look, y), (look, x))


@published(
    GENMC + "litmus/viktor-relseq says 180", {(2, 2, 1, 1): 180, (2, 1, 1): 12}, stated=(((2, 2, 1, 1)),)
)
def rows_of_increments(*each: int) -> None:
    """Tasks of so many fetch_adds: their multinomial, 6! / (2! 2! 1! 1!)."""
    x = Counter()
    for n in each:
        do(*((atomic_inc, x, "v") for _ in range(n)))


@published(GENMC + "litmus/small0 says 9", 9, stated=True)
def small() -> None:
    """A look, a look before a write, and a write, each by a task of its own: 2 orders, of 3 * 2 and 3 * 1 ways."""
    x = Place()
    spawn(look, x)
    do((look, x), (put, x, 1))
    spawn(put, x, 2)


@published(GENMC + "litmus/detour says 9", 9, stated=True)
def detour() -> None:
    """Values that travel in a circle: z to x to y to z, with another writer of x."""
    x, y, z = places(3)

    def second() -> None:
        x.v = z.v - 1
        y.v = x.v

    def third() -> None:
        z.v = y.v

    spawn(put, x, 1)
    spawn(second)
    spawn(third)


@published(GENMC + "litmus/JLT says 8", 8, stated=True)
def jlt() -> None:
    """Two writers of x that look at it again."""
    x, y = places(2)
    do((put, x, 1), (look, y), (look, x))
    do((put, x, 2), (look, x))
    spawn(put, y, 3)


@published(GENMC + "litmus/rel-B-cumul-acq says 14", 14, stated=True)
def cumulative_release() -> None:
    """Message passing by way of a third task, and one that only looks."""
    x, y, z = places(3)

    def copy() -> None:
        z.v = y.v

    do((put, x, 1), (put, y, 1))
    spawn(copy)
    do((look, z), (look, x))
    spawn(look, y)


@published(GENMC + "litmus/RMWFix says 4", 4, stated=True)
def increments_if_set() -> None:
    """Two fetch_adds only if y is seen, and one in any case: 1 way without, 3 with them."""
    x, y = Counter(), Place()

    def first() -> None:
        if y.v:
            atomic_inc(x, "v")
            atomic_inc(x, "v")

    spawn(first)
    spawn(atomic_inc, x, "v")
    spawn(put, y, 42)


@published(GENMC + "litmus/peterZ says 7", 7, stated=True)
def peter_z() -> None:
    """A ring of three edges: 2^3 - 1."""
    x, y, z = places(3)
    do((put, x, 1), (look, y))
    do((put, y, 1), (put, z, 1))
    do((look, z), (look, x))


# -- Nidhugg's benchmarks and tests --------------------------------------------------------------------------------


@published(
    NIDHUGG + "benchmarks/from_TRACER/CO-2+2W.c (TracER: Abdulla et al., OOPSLA 2018)", {(2,): 6, (3,): 90}
)
def co_2_2w(n: int) -> None:
    """n tasks write x twice each: (2n)! / 2^n. The value n is never there."""
    x = Place()
    join(*[do((put, x, tid), (put, x, tid)) for tid in range(n)])
    claim(x.v != n, "nobody has written n")


@published(NIDHUGG + "benchmarks/from_TRACER/CO-MP.c", {(1,): 6, (2,): 90})
def co_mp(n: int) -> None:
    """`co_2_2w` and a reader of two looks: 6 * C(2n + 2, 2) for n = 2."""
    x = Place()
    for tid in range(n):
        do((put, x, tid), (put, x, tid))
    do((look, x), (look, x))


@published(NIDHUGG + "benchmarks/from_TRACER/CO-R.c", {(1,): 6, (2,): 90})
def co_r(n: int) -> None:
    """n tasks write twice; one writes and looks: (2n + 2)! / 2^(n + 1)."""
    x = Place()
    tasks = [do((put, x, tid), (put, x, tid)) for tid in range(n)]
    join(*tasks, do((put, x, n), (look, x)))
    look(x)


@published(NIDHUGG + "benchmarks/from_TRACER/CO-S.c", {(1,): 6, (2,): 90})
def co_s(n: int) -> None:
    """n tasks write twice; one looks and writes: (2n + 2)! / 2^(n + 1)."""
    x = Place()
    tasks = [do((put, x, tid), (put, x, tid)) for tid in range(n)]
    join(*tasks, do((look, x), (put, x, n)))
    look(x)


@published(
    NIDHUGG + "benchmarks/from_TRACER/alpha1.c, co1.c; CoRR2.c",
    {(n,): factorial(n) * comb(n + 2, 2) for n in (1, 2, 3)},
    slow={(4,): 24 * 15},
)
def alpha1(n: int) -> None:
    """n writers, n! orders, and two looks among them."""
    x = Place(v=1)
    for tid in range(n):
        spawn(put, x, tid)
    do((look, x), (look, x))


@published(
    NIDHUGG + "benchmarks/from_TRACER/alpha2.c", {(n,): factorial(n) * comb(n + 3, 3) for n in (1, 2, 3)}
)
def alpha2(n: int) -> None:
    """n writers, and one that writes and looks twice.

    With k writers before its write the looks stand in n - k + 1 gaps, in C(n - k + 2, 2) ways; the sum over k is
    C(n + 3, 3), for each of the n! orders of the others.
    """
    x = Place(v=1)
    for tid in range(n):
        spawn(put, x, tid)
    do((put, x, n), (look, x), (look, x))


@published(NIDHUGG + "benchmarks/from_TRACER/myexample.c", {(2,): 4, (3,): 36}, slow={(4,): 576})
def write_then_look(n: int) -> None:
    """Each writes x and looks at it: the k-th writer from the end has k gaps: (n!)^2."""
    x = Place()
    for tid in range(n):
        do((put, x, tid), (look, x))


@published(
    NIDHUGG + "benchmarks/from_TRACER/n_writes_a_read_two_threads.c",
    {(n,): comb(2 * n + 2, n + 1) - comb(2 * n, n) for n in (1, 2, 3)},
)
def writes_and_a_look(n: int) -> None:
    """Two tasks write n times and look once: C(2n + 2, n + 1) merges; those that end with both looks are pairs."""
    x = Place()
    for tid in range(2):
        do(*((put, x, tid) for _ in range(n)), (look, x))


@published(
    NIDHUGG + "benchmarks/from_TRACER/redundant_co.c",
    {(n,): comb(2 * n, n) * comb(2 * n + 2, 2) for n in (1, 2)},
    slow={(3,): comb(6, 3) * comb(8, 2)},
)
def redundant_coherence(n: int) -> None:
    """Two tasks of n writes, merged in C(2n, n) ways, and two looks among them."""
    x = Place()
    do(*((put, x, 1) for _ in range(n)))
    do(*((put, x, 2) for _ in range(n)))
    do((look, x), (look, x))


@published(NIDHUGG + "benchmarks/from_TRACER/control_flow.c", {(1,): 5}, slow={(2,): 1124})
def control_flow(n: int) -> None:
    """n times four tasks: whether x is written depends on z and y, and z on y."""
    x, y, z = places(3)

    def r() -> None:
        if y.v == 0:
            z.v = 1

    def s() -> None:
        if z.v == 1 and y.v == 0:
            x.v = 1

    for _ in range(n):
        spawn(look, x)
        spawn(put, y, 1)
        spawn(r)
        spawn(s)


@published(
    NIDHUGG + "benchmarks/from_TRACER/exponential_bug.c",
    {(1, 1): 20},
    slow={(2, 1): 1959},
    broken="y is not 3",
    broken_by=((2, 1),),
)
def exponential_bug(rounds: int, writes: int) -> None:
    """Locks on one side and none on the other: y is 3 in few of the schedules, and with two rounds only."""
    x, y = places(2)
    mutex = Mutex("m")

    def first() -> None:
        for _ in range(rounds):
            with mutex:
                x.v = 1
                for _ in range(writes):
                    y.v = 1

    def second() -> None:
        for _ in range(rounds):
            with mutex:
                x.v = 0
            if x.v > 0:
                y.v = y.v + 1
                x.v = 2

    def third() -> None:
        for _ in range(rounds):
            if x.v > 1:
                seen = y.v
                claim(seen != 3, "y is not 3")
                if seen != 3:
                    y.v = 2

    spawn(first)
    spawn(second)
    spawn(third)


@published(NIDHUGG + "benchmarks/from_TRACER/fib_one_variable.c", {(1,): 6, (2,): 102})
def fib_one_variable(n: int) -> None:
    """Two numbers in one variable, each task looks twice and writes: what one writes in between is lost."""
    ij = Place(v=(1, 1))

    def first() -> None:
        for _ in range(n):
            j = ij.v[1]
            i = ij.v[0]
            ij.v = (i + j, j)

    def second() -> None:
        for _ in range(n):
            i = ij.v[0]
            j = ij.v[1]
            ij.v = (i, i + j)

    join(spawn(first), spawn(second))
    i, j = ij.v
    claim(max(i, j) <= _fibonacci(2 + 2 * n), "no number is above the last Fibonacci number")


def _fibonacci(n: int) -> int:
    current, previous = 1, 0
    for _ in range(n):
        previous, current = current, previous + current
    return previous


@published(NIDHUGG + "benchmarks/from_OBSERVERS/fib_bench.c (SV-COMP fib_bench)", {(1,): 3, (2,): 19})
def fib_bench(n: int) -> None:
    """i += j in one task and j += i in the other, n times: the numbers stay below a Fibonacci number."""
    i, j = places(2, value=1)

    def first() -> None:
        for _ in range(n):
            i.v = i.v + j.v

    def second() -> None:
        for _ in range(n):
            j.v = j.v + i.v

    join(spawn(first), spawn(second))
    claim(max(i.v, j.v) <= _fibonacci(2 + 2 * n), "no number is above the last Fibonacci number")


@published(
    NIDHUGG + "tests/smoke fib_true_too_few, of SV-COMP fib_bench_false",
    3,
    broken="the bound is above what can be",
)
def fib_bench_false() -> None:
    """The bound is one too low: it is reached in one schedule of the values."""
    i, j = places(2, value=1)

    def first() -> None:
        i.v = i.v + j.v

    def second() -> None:
        j.v = j.v + i.v

    join(spawn(first), spawn(second))
    claim(i.v < _fibonacci(4) and j.v < _fibonacci(4), "the bound is above what can be")


@published(
    NIDHUGG + "benchmarks/from_OBSERVERS/lastwrite.c (Aronis et al., TACAS 2018)",
    {(3,): 6, (4,): 24},
    slow={(5,): 120},
)
def last_write(n: int) -> None:
    """n writers, and one look when all are done; without observers n! traces, with them n."""
    x = Place()
    join(*[spawn(put, x, k) for k in range(n)])
    claim(0 <= x.v < n, "one of the writes is the last")


@published(NIDHUGG + "benchmarks/from_DCDPOR/opt_lock.c (Chalupa et al., POPL 2018)", {(1,): 10, (2,): 42})
def optimistic_lock(n: int) -> None:
    """Two tasks set x to their number and try again, at most n times, if it is no longer there."""
    x, y = places(2)

    def body(tid: int) -> None:
        for _ in range(n):
            x.v = tid
            y.v = 1
            if x.v == tid:
                look(y)
                break

    for tid in range(2):
        spawn(body, tid)


@published(NIDHUGG + "benchmarks/synthetic/race_parametric.c", {(1, 2): 4, (2, 2): 34, (1, 3): 36})
def race_parametric(n: int, tasks: int) -> None:
    """Each task writes and looks at a place of its own, and then n times at the one place of all."""
    x = Place()
    for tid in range(tasks):
        do(*[(put, Place(), 1)] * 2, *[(put, x, tid), (look, x)] * n)


@published(NIDHUGG + "benchmarks/synthetic/sat-example.c", {(False,): 93}, slow={(True,): 2476})
def sat_example(whole: bool) -> None:
    """The program that a formula is turned into in the proof that deciding a trace's reads-from is NP-hard.

    The small one is without its last task.
    """
    x, y, z = places(3)
    spawn(put, z, 1)
    do((look, z), (put, y, 1))
    do((look, y), (put, x, 1))
    spawn(put, x, 2)
    do((look, x), (put, y, 2), (look, z))
    if whole:
        do((look, x), (put, z, 2), (look, y))


@published(NIDHUGG + "benchmarks/other/approxds_append.c", {(2,): 6, (3,): 90})
def approximate_append(n: int) -> None:
    """Appends without a lock: two may take one place; one task takes everything out at the end."""
    size = n
    elements, following = places(size), Place()

    def append(value: int) -> None:
        at = following.v
        if at < size:
            elements[at].v = value
            following.v = at + 1

    join(*[spawn(append, k + 1) for k in range(n)])
    found = following.v
    claim(1 <= found <= n and all(elements[at].v for at in range(found)), "what was appended is there")


@published(
    NIDHUGG + "tests/smoke mutex_trylock_unlock says 24 for 3",
    {(2,): 4, (3,): 24},
    slow={(4,): 192},
    stated=((3,),),
)
def trylocks(n: int) -> None:
    """n! orders of the attempts; those behind one that succeeded come before or after the unlock: n! 2^(n-1)."""
    mutex, x = Mutex("m"), Place()

    def body() -> None:
        if mutex.trylock():
            x.v += 1
            mutex.unlock()

    for _ in range(n):
        spawn(body)


@published(NIDHUGG + "tests/smoke mutex_vs_trylock says 3, 16 for 1, 2", {(1,): 3, (2,): 16}, stated=True)
def lock_against_trylocks(n: int) -> None:
    """One locks, n try."""
    mutex, x = Mutex("m"), Place()

    def body() -> None:
        if mutex.trylock():
            x.v += 1
            mutex.unlock()

    for _ in range(n):
        spawn(body)
    with mutex:
        x.v += 1


@published(NIDHUGG + "src/SC_test.cpp Mutex_trylock_2 names the 10 traces", 10, stated=True)
def two_locks_and_a_trylock() -> None:
    """Six orders of three, and four in which the trylock fails, while one of the others holds the lock."""
    mutex = Mutex("m")

    def lock() -> None:
        with mutex:
            pass

    def attempt() -> None:
        if mutex.trylock():
            mutex.unlock()

    spawn(lock)
    spawn(attempt)
    spawn(lock)


@published(NIDHUGG + "tests/smoke mutex_trylock_deadlock says 6 for 3", {(2,): 2, (3,): 6}, stated=((3,),))
def trylocks_without_unlock(n: int) -> None:
    """Whoever comes first keeps the lock, and the others fail, in any order."""
    mutex = Mutex("m")
    for _ in range(n):
        spawn(mutex.trylock)


@published(
    NIDHUGG + "tests/smoke mutex_deadlock_2, _3 say 2, 3", {(2,): 2, (3,): 3}, stated=True, deadlocks=True
)
def locks_without_unlock(n: int) -> None:
    """Whoever comes first keeps the lock, the others wait for ever: n ways, each of them a deadlock."""
    mutex = Mutex("m")
    for _ in range(n):
        spawn(mutex.lock)


@published(NIDHUGG + "tests/smoke mutex_hard", 4, deadlocks=True)
def unlock_if_it_is_my_turn() -> None:
    """Three tasks lock, and only one whose number is that of those before it gives the lock back."""
    mutex, x = Mutex("m"), Counter()

    def body(tid: int) -> None:
        mutex.lock()
        if atomic_fetch_add(x, "v", 1) == tid:
            mutex.unlock()

    join(*[spawn(body, tid) for tid in range(3)])


@published(NIDHUGG + "src/SC_test.cpp Condvar_1, Condvar_5 name the 2 traces", 2, stated=True)
def condition_broadcast() -> None:
    """One sets x and wakes all, one waits if x is not set yet."""
    _condition_program(1, everybody=True)


@published(NIDHUGG + "src/SC_test.cpp Condvar_7 names the 2 traces", 2, stated=True)
def condition_signal() -> None:
    """The same with one notification."""
    _condition_program(1, everybody=False)


@published(NIDHUGG + "src/SC_test.cpp Condvar_6 (10 traces, waking up being no event there)", 14)
def condition_broadcast_to_two() -> None:
    """Two that wait. None does: 2 orders; one of them does, 2 ways, and has its lock before or after the other: 4.

    Both do: 2 orders of the waits, 2 of waking up (an operation on the condition here), 2 of locking again: 8.
    """
    _condition_program(2, everybody=True)


def _condition_program(n: int, *, everybody: bool) -> None:
    x, condition = Place(), Condition(name="v")

    def waits() -> None:
        with condition:
            if not x.v:
                condition.wait()
            claim(x.v, "x is set")

    for _ in range(n):
        spawn(waits)
    with condition:
        x.v = 1
        if everybody:
            condition.notify_all()
        else:
            condition.notify()


# -- data structures and protocols: SV-COMP, dpu, MCR, GenMC -----------------------------------------------------------


@published(NIDHUGG + "benchmarks/SV-COMP/sigma.c", {(2,): 9, (3,): 55}, broken="every place is marked")
def sigma(n: int) -> None:
    """n tasks mark the place that an index points to, which the main task moves on meanwhile."""
    array, index = places(n), Place(v=-1)

    def body() -> None:
        array[index.v].v = 1

    tasks = []
    for _ in range(n):
        tasks.append(spawn(body))
        index.v = index.v + 1
    join(*tasks)
    claim(all(place.v == 1 for place in array), "every place is marked")


@published(
    NIDHUGG + "benchmarks/SV-COMP/pthread_demo.c", {(2, 2): 6, (2, 3): 20, (3, 2): 90}, slow={(2, 4): 70}
)
def pthread_demo(tasks: int, rounds: int) -> None:
    """Increments under a lock, in several rounds: the multinomials."""
    mutex, x = Mutex("m"), Place()

    def body() -> None:
        for _ in range(rounds):
            with mutex:
                x.v += 1

    join(*[spawn(body) for _ in range(tasks)])
    claim(x.v == tasks * rounds, "no increment is lost")


@published(NIDHUGG + "benchmarks/SV-COMP/stack_true.c", {(1,): 2, (2,): 6, (3,): 20})
def stack(size: int) -> None:
    """One pushes, one pops what there is, each under the lock, `size` times: C(2 size, size) merges."""
    mutex, top, cells = Mutex("m"), Place(), places(size)

    def pushes() -> None:
        for k in range(size):
            with mutex:
                claim(top.v < size, "no overflow")
                cells[top.v].v = k
                top.v = top.v + 1

    def pops() -> None:
        for _ in range(size):
            with mutex:
                if top.v > 0:
                    top.v = top.v - 1
                    look(cells[top.v])

    spawn(pushes)
    spawn(pops)


@published(NIDHUGG + "benchmarks/SV-COMP/queue_ok.c", {(1, 1): 2, (2, 1): 6, (2, 2): 24})
def queue(producers: int, consumers: int) -> None:
    """All is done under one lock and flags say whose turn it is: the orders of the tasks, of which most do nothing."""
    mutex, size = Mutex("m"), 2
    cells, stored = places(size), places(size)
    head, tail, amount, may_enqueue, may_dequeue = Place(), Place(), Place(), Place(v=True), Place(v=False)

    def enqueues(value: int) -> None:
        with mutex:
            if may_enqueue.v:
                for k in range(size):
                    cells[tail.v].v = value + k
                    amount.v = amount.v + 1
                    tail.v = (tail.v + 1) % size
                    stored[k].v = value + k
                may_enqueue.v, may_dequeue.v = False, True

    def dequeues() -> None:
        with mutex:
            if may_dequeue.v:
                for k in range(size):
                    found = cells[head.v].v
                    amount.v = amount.v - 1
                    head.v = (head.v + 1) % size
                    claim(found == stored[k].v, "what comes out is what went in")
                may_dequeue.v, may_enqueue.v = False, True

    for k in range(producers):
        spawn(enqueues, k)
    for _ in range(consumers):
        spawn(dequeues)


@published(NIDHUGG + "benchmarks/SV-COMP/gcd.c", {(1, 4, 2): 3, (2, 4, 6): 13})
def gcd(rounds: int, start_a: int, start_b: int) -> None:
    """Euclid by two tasks, which look at both numbers without the lock first."""
    a, b, mutex = Place(v=start_a), Place(v=start_b), Mutex("m")

    def shrink(one: Place, other: Place) -> None:
        for _ in range(rounds):
            if one.v != other.v:
                with mutex:
                    if one.v > other.v:
                        one.v = one.v - other.v

    join(spawn(shrink, a, b), spawn(shrink, b, a))
    claim(a.v > 0 and b.v > 0, "the numbers stay above 0")


@published(
    NIDHUGG + "benchmarks/from_TRACER/peterson.c (SV-COMP pthread-atomic/peterson)",
    {(1,): 32, (2,): 52},
    broken="alone in the critical section",
)
def peterson_that_gives_up(looks: int) -> None:
    """Peterson's algorithm, but who has looked so often goes in all the same."""
    flags, turn, x = places(2), Place(), Place()

    def body(me: int) -> None:
        flags[me].v = 1
        turn.v = 1 - me
        for _ in range(looks):
            if flags[1 - me].v != 1 or turn.v != 1 - me:
                break
        x.v = me + 1
        claim(x.v == me + 1, "alone in the critical section")
        flags[me].v = 0

    spawn(body, 0)
    spawn(body, 1)


@published(
    NIDHUGG + "benchmarks/from_TRACER/peterson.c, of which who has looked in vain does not go in",
    {(1,): 14, (2,): 28},
)
def peterson(looks: int) -> None:
    """Peterson's algorithm, correct: after so many looks in vain the task leaves."""
    flags, turn, x = places(2), Place(), Place()

    def body(me: int) -> None:
        flags[me].v = 1
        turn.v = 1 - me
        for _ in range(looks):
            if flags[1 - me].v != 1 or turn.v != 1 - me:
                x.v = me + 1
                claim(x.v == me + 1, "alone in the critical section")
                break
        flags[me].v = 0

    spawn(body, 0)
    spawn(body, 1)


@published(NIDHUGG + "benchmarks/from_OBSERVERS/lamport.c, the fast path (Lamport 1987)", 26)
def lamport_fast_mutex() -> None:
    """Lamport's fast mutual exclusion for two; who is not alone on the fast path leaves."""
    b, x, y, inside = places(2), Place(), Place(), Place()

    def body(me: int) -> None:
        b[me].v = 1
        x.v = me + 1
        if y.v != 0:
            b[me].v = 0
            return
        y.v = me + 1
        if x.v != me + 1:
            b[me].v = 0
            if b[1 - me].v or y.v != me + 1:
                return
        inside.v = me
        claim(inside.v == me, "alone in the critical section")
        y.v = 0
        b[me].v = 0

    spawn(body, 0)
    spawn(body, 1)


@published(NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_TRACER/pgsql.cc", {(1,): 3, (2,): 7})
def pgsql(looks: int) -> None:
    """Three PostgreSQL workers that hand a latch round; each looks so often for its latch, and leaves."""
    latch, flag = places(3), places(3)

    def body(me: int) -> None:
        for _ in range(looks):
            if latch[me].v:
                break
        else:
            return
        claim(flag[me].v == 1, "who has the latch has the flag")
        latch[me].v = 0
        if flag[me].v:
            flag[me].v = 0
            flag[(me + 1) % 3].v = 1
            latch[(me + 1) % 3].v = 1

    latch[0].v = 1
    flag[0].v = 1
    for me in range(3):
        spawn(body, me)


@published(NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_SATCHECK/linuxrwlock", {(1,): 6, (2,): 70})
def linux_rwlock_trylock(rounds: int) -> None:
    """Two writers that try a rw-lock of one atomic word: subtract the bias, and add it again if that was too much."""
    bias = 0x00100000
    word, x = Counter(v=bias), Place()

    def body(me: int) -> None:
        for _ in range(rounds):
            if atomic_fetch_add(word, "v", -bias) == bias:
                x.v = me
                claim(x.v == me, "alone in the critical section")
            atomic_fetch_add(word, "v", bias)

    spawn(body, 1)
    spawn(body, 2)


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_DPU/multiprodcon.cc (Nguyen et al., CAV 2018)",
    {(2, 1): 8, (2, 2): 18},
)
def producers_and_workers(n: int, tasks: int) -> None:
    """Producers draw a number under one lock and leave a request with the worker that it picks."""
    workers = n
    requests, done, buffer = places(workers), places(workers), Place()
    mutex = [Mutex(f"worker {k}") for k in range(workers)]
    draw = Mutex("draw")

    def produce(me: int) -> None:
        with draw:
            buffer.v = number = buffer.v * n + me
        with mutex[number % workers]:
            requests[number % workers].v += 1

    def work(me: int) -> None:
        for _ in range(tasks):
            with mutex[me]:
                found = requests[me].v
                if found:
                    requests[me].v = found - 1
            if found:
                done[me].v = done[me].v + 1

    for k in range(n):
        spawn(produce, k)
    for k in range(workers):
        spawn(work, k)


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_DPU/poke.cc (CAV 2018)", {(2, 1): 4, (2, 2): 38}
)
def poke(n: int, readers: int) -> None:
    """One task moves an index under a lock, n set a place each, some take back what the index points to."""
    places_, index, taken = places(n), Place(), Place()
    choose = Mutex("index")
    mutex = [Mutex(f"place {k}") for k in range(n)]

    def choice() -> None:
        for k in range(1, n):
            with choose:
                index.v = k

    def sets(k: int) -> None:
        with mutex[k]:
            places_[k].v = 1

    def takes() -> None:
        with choose:
            at = index.v
        with mutex[at]:
            if places_[at].v:
                taken.v = taken.v + 1
                places_[at].v = 0

    tasks = [spawn(choice), *[spawn(sets, k) for k in range(n)], *[spawn(takes) for _ in range(readers)]]
    join(*tasks)
    claim(
        taken.v + sum(place.v for place in places_) == n or readers > 1, "what was set is there or was taken"
    )


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/asserts/from_DPU/dispatcher.cc (CAV 2018)",
    {(2, 1): 6, (2, 2): 20},
)
def dispatcher(servers: int, requests: int) -> None:
    """The main task sends each request to the server that was picked last, while another task goes on picking."""
    picked = Place()
    incoming, outgoing = places(servers), places(servers)
    pick = Mutex("pick")
    mutex = [Mutex(f"server {k}") for k in range(servers)]

    def picks() -> None:
        for k in range(servers):
            with pick:
                picked.v = k

    def serve(k: int) -> None:
        with mutex[k]:
            if incoming[k].v > 0:
                outgoing[k].v = incoming[k].v

    spawn(picks)
    for k in range(servers):
        spawn(serve, k)
    for _ in range(requests):
        with pick:
            at = picked.v
        with mutex[at]:
            incoming[at].v = incoming[at].v + 1


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/noasserts/from_MCR/account.c (Huang, PLDI 2015)",
    {(1,): 4, (2,): 36},
    slow={(3,): 576},
    broken="no deposit is lost",
)
def account(n: int) -> None:
    """n deposits and a withdrawal, each a look and a write: `read_then_write` for n + 1, ((n + 1)!)^2."""
    amount = Place(v=1000)

    def change(by: int) -> None:
        amount.v = amount.v + by

    join(*[spawn(change, 100) for _ in range(n)], spawn(change, -10))
    claim(amount.v == 1000 + n * 100 - 10, "no deposit is lost")


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/noasserts/from_MCR/airline.c",
    {(2,): 4, (3,): 36},
    broken="no more seats are sold than there are",
)
def airline(n: int) -> None:
    """n sellers, n - 1 seats: who finds none left stops the sale; two may sell one seat."""
    sold, stopped, capacity = Place(), Place(), n - 1
    tickets = places(n, value=False)

    def sell(me: int) -> None:
        if not stopped.v:
            at = sold.v
            if at >= capacity:
                stopped.v = 1
            else:
                sold.v = at + 1
                tickets[me].v = True

    join(*[spawn(sell, k) for k in range(n)])
    claim(sum(ticket.v for ticket in tickets) <= capacity, "no more seats are sold than there are")


@published(
    NIDHUGG + "benchmarks/from_RFSC/benchmarks/noasserts/from_MCR/bubblesort.c",
    {},
    slow={(3,): 178},
    broken="nothing is lost",
)
def bubble_sort(n: int) -> None:
    """Two tasks sort one array without a lock."""
    array = [Place(v=n - k) for k in range(n)]

    def sort() -> None:
        for k in range(n - 1):
            one, two = array[k].v, array[k + 1].v
            if one > two:
                array[k].v = two
                array[k + 1].v = one

    join(spawn(sort), spawn(sort))
    claim(sorted(place.v for place in array) == list(range(1, n + 1)), "nothing is lost")


@published(GENMC + "data-structures/ticketlock (its spins are assumptions)", {(2,): 4, (3,): 24})
def ticket_lock_by_order(n: int) -> None:
    """Tickets are drawn by fetch_add, and who has number k waits at the k-th semaphore: n! orders of drawing.

    Who is early waits, and who is late is let in at once: 2 ways for each number but 0, in all n! 2^(n-1).
    """
    ticket, x = Counter(), Place()
    gates = [Semaphore(1 if k == 0 else 0, f"gate {k}") for k in range(n + 1)]

    def body() -> None:
        mine = atomic_fetch_add(ticket, "v", 1)
        gates[mine].down()
        x.v += 1
        gates[mine + 1].up()

    for _ in range(n):
        spawn(body)


@published(
    GENMC + "data-structures/treiber-stack, with loops of at most one further try", {(2,): 4, (3,): 108}
)
def treiber_push(n: int) -> None:
    """n pushes onto a stack by compare-and-swap; who fails looks again, once for each other task."""
    top = Counter(v=None)

    def push(value: int) -> None:
        for _ in range(n):
            old = top.v
            if cmpxchg(top, "v", old, (value, old)) is old:
                return
        claim(False, "somebody else succeeds each time that one fails")

    join(*[spawn(push, k) for k in range(n)])
    found, at = [], top.v
    while at is not None:
        found.append(at[0])
        at = at[1]
    claim(sorted(found) == list(range(n)), "all that was pushed is there")


@published(GENMC + "data-structures/seqlock (a bounded number of tries)", {(1,): 11, (2,): 16})
def sequence_lock(tries: int) -> None:
    """A writer makes the number odd, writes two places, makes it even; the reader tries again if it has changed."""
    sequence, a, b = places(3)

    def writes() -> None:
        sequence.v = 1
        a.v = 1
        b.v = 1
        sequence.v = 2

    def reads() -> None:
        for _ in range(tries):
            start = sequence.v
            if start % 2:
                continue
            one, two = a.v, b.v
            if sequence.v == start:
                claim(one == two, "a consistent pair")
                return

    spawn(writes)
    spawn(reads)


# -- SCTBench (Thomson, Donaldson, Betts, TOPC 2016): bugs that are known ----------------------------------------------


@published(SCTBENCH + "account_bad.c", 6, broken="the balance is right")
def account_bad() -> None:
    """Deposit, withdrawal and check under one lock; the check expects the deposit with the wrong sign: 3! orders."""
    x, y, z = 1, 2, 4
    balance, deposited, withdrawn, mutex = Place(v=x), Place(), Place(), Mutex("m")

    def deposit() -> None:
        with mutex:
            balance.v = balance.v + y
            deposited.v = 1

    def withdraw() -> None:
        with mutex:
            balance.v = balance.v - z
            withdrawn.v = 1

    def checks() -> None:
        with mutex:
            if deposited.v and withdrawn.v:
                claim(balance.v == (x - y) - z, "the balance is right")

    spawn(deposit)
    spawn(withdraw)
    spawn(checks)


@published(
    SCTBENCH + "bluetooth_driver_bad.c (Qadeer, Wu, PLDI 2004)",
    10,
    broken="the driver is not stopped while it works",
)
def bluetooth_driver_bad() -> None:
    """The driver looks whether it is to stop, and then counts itself in: too late if it is stopped in between."""
    pending, stopping, event, stopped = Counter(v=1), Place(), Place(), Place()

    def leave() -> None:
        if atomic_add_return(pending, "v", -1) == 0:
            event.v = 1

    def stop() -> None:
        stopping.v = 1
        leave()
        if event.v:
            stopped.v = 1

    spawn(stop)
    if not stopping.v:
        atomic_inc(pending, "v")
        claim(not stopped.v, "the driver is not stopped while it works")
    leave()


@published(SCTBENCH + "carter01_bad.c", 4, deadlocks=True)
def carter_bad() -> None:
    """Two groups, each locks l for all its members under m; who waits for l keeps m from the others.

    One task after the other: 2 ways; else one has l and wants m, which the other one has, who wants l: 2 ways.
    """
    m, lock, a, b = Mutex("m"), Mutex("l"), Place(), Place()

    def body(count: Place) -> None:
        with m:
            count.v = count.v + 1
            if count.v == 1:
                lock.lock()
        with m:
            count.v = count.v - 1
            if count.v == 0:
                lock.unlock()

    spawn(body, a)
    spawn(body, b)


@published(SCTBENCH + "deadlock01_bad.c", 3, deadlocks=True)
def deadlock_bad() -> None:
    """Two locks in opposite orders: two orders of the tasks, and the deadlock."""
    a, b, counter = Mutex("a"), Mutex("b"), Place(v=1)

    def body(first: Mutex, second: Mutex, by: int) -> None:
        with first, second:
            counter.v = counter.v + by

    spawn(body, a, b, 1)
    spawn(body, b, a, -1)


@published(SCTBENCH + "phase01_bad.c", 6, deadlocks=True)
def phase_bad() -> None:
    """Two tasks lock and unlock x, and lock it again for good: whoever is second to do so waits for ever.

    With a the one that keeps it, b has not had it yet, or before a's first lock, or between a's two: 3 ways, times 2.
    """
    x, y = Mutex("x"), Mutex("y")

    def body() -> None:
        with x:
            pass
        x.lock()
        for _ in range(2):
            with y:
                pass

    spawn(body)
    spawn(body)


@published(SCTBENCH + "lazy01_bad.c", 6, broken="data is below 3")
def lazy_bad() -> None:
    """3! orders of three locked tasks, two of which break the claim."""
    data, mutex = Place(), Mutex("m")

    def add(n: int) -> None:
        with mutex:
            data.v = data.v + n

    def checks() -> None:
        with mutex:
            claim(data.v < 3, "data is below 3")

    spawn(add, 1)
    spawn(add, 2)
    spawn(checks)


@published(
    SCTBENCH + "reorder_3_bad.c",
    {(n,): factorial(n + 1) ** 2 for n in (1, 2)},
    slow={(3,): 576},
    broken="both are set, or none",
)
def reorder_bad(n: int) -> None:
    """n tasks set a and then b; one looks at both: (n + 1)! orders at each, in no circle since all begin with a."""
    a, b = places(2)

    def checks() -> None:
        one, two = a.v, b.v
        claim((one, two) in ((0, 0), (1, -1)), "both are set, or none")

    for _ in range(n):
        do((put, a, 1), (put, b, -1))
    spawn(checks)


@published(SCTBENCH + "twostage_bad.c", 3, broken="both stages are done, or none")
def two_stage_bad() -> None:
    """Two values under a lock each, set one after the other; the reader may come between."""
    one, two = places(2)
    first, second = Mutex("first"), Mutex("second")

    def sets() -> None:
        with first:
            one.v = 1
        with second:
            two.v = one.v + 1

    def checks() -> None:
        with first:
            found = one.v
        if found == 0:
            return
        with second:
            claim(two.v == found + 1, "both stages are done, or none")

    spawn(sets)
    spawn(checks)


@published(SCTBENCH + "wronglock_bad.c", {(1,): 7, (2,): 48}, broken="nobody else changes the value")
def wrong_lock_bad(n: int) -> None:
    """One task increments under one lock, n under another one."""
    data, right, wrong = Place(), Mutex("right"), Mutex("wrong")

    def first() -> None:
        with right:
            x = data.v
            data.v = data.v + 1
            claim(data.v == x + 1, "nobody else changes the value")

    def others() -> None:
        with wrong:
            data.v = data.v + 1

    spawn(first)
    for _ in range(n):
        spawn(others)


@published(SCTBENCH + "token_ring_bad.c", 24, broken="the three are equal")
def token_ring_bad() -> None:
    """Four atomic blocks: 4! orders."""
    x, flags, mutex = [Place(v=value) for value in (1, 2, 1)], places(3), Mutex("atomic")

    def step(k: int, change: Callable[[], int]) -> None:
        with mutex:
            x[k].v = change()
            flags[k].v = 1

    def checks() -> None:
        with mutex:
            if all(flag.v for flag in flags):
                claim(x[0].v == x[1].v == x[2].v, "the three are equal")

    spawn(step, 0, lambda: (x[2].v + 1) % 4)
    spawn(step, 1, lambda: x[0].v)
    spawn(step, 2, lambda: x[1].v)
    spawn(checks)


@published(
    SCTBENCH + "circular_buffer_bad.c", {(2,): 6, (3,): 20}, broken="what comes out is what is expected"
)
def circular_buffer_bad(n: int) -> None:
    """One inserts if it is its turn, one removes if it is its, n times each: C(2n, n) merges; a turn may be missed."""
    buffer, first, following = places(10), Place(), Place()
    send, receive, mutex = Place(v=True), Place(v=False), Mutex("m")

    def inserts() -> None:
        for k in range(n):
            with mutex:
                if send.v:
                    buffer[following.v].v = k
                    following.v = (following.v + 1) % 10
                    send.v, receive.v = False, True

    def removes() -> None:
        for k in range(n):
            with mutex:
                if receive.v:
                    found = buffer[first.v].v
                    first.v = first.v + 1
                    claim(found == k, "what comes out is what is expected")
                    receive.v, send.v = False, True

    spawn(inserts)
    spawn(removes)


@published(SCTBENCH + "stack_bad.c", {(2,): 6, (3,): 20}, broken="no underflow")
def stack_bad(n: int) -> None:
    """The flag says only that something was pushed once."""
    top, cells, flag, mutex = Place(), places(n), Place(v=False), Mutex("m")

    def pushes() -> None:
        for k in range(n):
            with mutex:
                cells[top.v].v = k
                top.v = top.v + 1
                flag.v = True

    def pops() -> None:
        for _ in range(n):
            with mutex:
                if flag.v:
                    claim(top.v > 0, "no underflow")
                    if top.v > 0:
                        top.v = top.v - 1
                        look(cells[top.v])

    spawn(pushes)
    spawn(pops)


@published(SCTBENCH + "sync01_bad.c", 2, deadlocks=True)
def sync01_bad() -> None:
    """The buffer is full, the one waits until it is empty, and the other one does not take anything out."""
    number = Place(v=1)
    mutex = Mutex("m")
    empty, full = Condition(mutex, "empty"), Condition(mutex, "full")

    def first() -> None:
        with mutex:
            while number.v > 0:
                empty.wait()
            number.v = number.v + 1
            full.notify()

    def second() -> None:
        with mutex:
            while number.v == 0:
                full.wait()
            empty.notify()

    join(spawn(first), spawn(second))


@published(
    SCTBENCH + "arithmetic_prog_bad.c", {(1,): 2, (2,): 8}, broken="the sum is not that of the program"
)
def arithmetic_program_bad(n: int) -> None:
    """A buffer of one place with two condition variables; the assertion denies the sum that comes out."""
    number, total = places(2)
    mutex = Mutex("m")
    empty, full = Condition(mutex, "empty"), Condition(mutex, "full")

    def first() -> None:
        for _ in range(n):
            with mutex:
                while number.v > 0:
                    empty.wait()
                number.v = number.v + 1
                full.notify()

    def second() -> None:
        for j in range(n):
            with mutex:
                while number.v == 0:
                    full.wait()
                total.v = total.v + j
                number.v = number.v - 1
                empty.notify()
        total.v = total.v + n

    join(spawn(first), spawn(second))
    claim(total.v != n * (n + 1) // 2, "the sum is not that of the program")


@published(SCTBENCH + "fanger01_ok.c, of one producer and consumer", {(1,): 2, (2,): 8})
def fanger(n: int) -> None:
    """The consumer looks once whether the queue is empty, where it should look again: with one of each it may."""
    size = Place()
    mutex = Mutex("m")
    may_produce, may_consume = Condition(mutex, "not full"), Condition(mutex, "not empty")

    def produces() -> None:
        for _ in range(n):
            with mutex:
                while size.v == 1:
                    may_produce.wait()
                may_consume.notify()
                size.v = size.v + 1

    def consumes() -> None:
        for _ in range(n):
            with mutex:
                if size.v == 0:
                    may_consume.wait()
                may_produce.notify()
                size.v = size.v - 1
                claim(size.v >= 0, "there was something to consume")

    spawn(produces)
    spawn(consumes)


@published(
    SCTBENCH + "din_phil2_sat.c to din_phil7_sat.c",
    {(n,): 2**n - 1 for n in (2, 3, 4, 5)},
    slow={(7,): 127},
    deadlocks=True,
)
def philosophers(n: int) -> None:
    """At each fork one of two is first: 2^n ways. That all are first at their left forks is the deadlock, and that all
    are first at their right forks cannot be.
    """
    forks = [Mutex(f"fork {k}") for k in range(n)]

    def dine(k: int) -> None:
        with forks[k], forks[(k + 1) % n]:
            pass

    for k in range(n):
        spawn(dine, k)


# -- RCU and reader-writer locks ---------------------------------------------------------------------------------------


def _rcu_sync_read(wait: Callable[[], None]) -> None:
    x, y = places(2)

    def reads() -> None:
        with rcu_reader():
            x.v = 1
            y.v = 1

    def update() -> None:
        one = x.v
        wait()
        two = y.v
        claim(not (one and not two), "no reader spans a grace period")

    spawn(reads)
    spawn(update)


@published(LITMUS + "RCU+sync+read.litmus", 5)
def rcu_sync_read() -> None:
    """A reader writes x and y; the updater looks at x, waits for a grace period, and looks at y: never x without y.

    The reader begins before the grace period: it has ended, and written y, when that ends; 2 ways at x. It begins
    later: x is not seen, and the reader ends before the grace period does, or after it, with 2 ways at y.
    """
    _rcu_sync_read(synchronize_rcu)


@published(
    LITMUS + "RCU+sync+read.litmus without the grace period", 4, broken="no reader spans a grace period"
)
def rcu_sync_read_without_waiting() -> None:
    """Without waiting the updater may come between the reader's two writes: 2 * 2 ways."""
    _rcu_sync_read(lambda: None)


@published(LITMUS + "RCU+sync+free.litmus", 4)
def rcu_sync_free() -> None:
    """The updater replaces what y points to, waits for a grace period, and marks the old one as freed.

    The reader finds the old one or the new one through y, and never one that is marked. It begins before the grace
    period: 2 ways at y. It begins later: it finds the new one, and ends before or after the grace period.
    """
    old, new = places(2, value="in use")
    y = Place(v=old)

    def reads() -> None:
        with rcu_reader():
            found = y.v
            claim(found.v == "in use", "what a reader finds is not freed")

    def update() -> None:
        y.v = new
        synchronize_rcu()
        old.v = "freed"

    spawn(reads)
    spawn(update)


@published(LITMUS + " (the synchronisation of both tests, for n readers)", {(1,): 3, (2,): 9, (3,): 27})
def rcu_readers_and_a_grace_period(n: int) -> None:
    """Each reader begins before the grace period, and ends before its end; or begins later, and ends before or after
    that: 3^n.
    """

    def reads() -> None:
        with rcu_reader():
            pass

    for _ in range(n):
        spawn(reads)
    spawn(synchronize_rcu)


@published(
    GENMC + "data-structures/linuxrwlocks, with a lock that waits",
    {(1, 1): 2, (2, 1): 4, (1, 2): 6, (2, 2): 18},
)
def reader_writer_lock(readers: int, writers: int) -> None:
    """Sections of a rw-lock: writers! orders, and each reader in one of writers + 1 gaps."""
    lock, x = RwLock("l"), Place()

    def reads() -> None:
        with lock.read():
            look(x)

    def writes() -> None:
        with lock.write():
            x.v += 1

    for _ in range(readers):
        spawn(reads)
    for _ in range(writers):
        spawn(writes)


@published(GENMC + "synthetic/barrier1 (a barrier as one primitive)", {(2,): 4, (3,): 36})
def barrier(n: int) -> None:
    """All arrive in any order and leave in any order: (n!)^2."""
    gate = Barrier(n, "gate")
    for _ in range(n):
        spawn(gate.wait)


@published(GENMC + "data-structures/spinlock (test-and-set as one primitive)", {(2,): 2, (3,): 6})
def spinlock(n: int) -> None:
    """Increments under a spinlock: n! orders."""
    lock, x = Spinlock("s"), Place()

    def body() -> None:
        with lock:
            x.v += 1

    join(*[spawn(body) for _ in range(n)])
    claim(x.v == n, "no increment is lost")


@published("sosy-lab/sv-benchmarks e3f389a, c/pthread/bigshot_p.c", 2, broken="the pointer was set")
def big_shot() -> None:
    """A pointer is set by one task and filled by another, which looks whether it is set; both may be late."""
    v = Place(v=None)

    def allocates() -> None:
        v.v = "allocated"

    def fills() -> None:
        if v.v:
            v.v = "filled"

    join(spawn(allocates), spawn(fills))
    claim(v.v == "filled", "the pointer was set")
