"""GenMC's tests: programs of two to five tasks over few places."""

from __future__ import annotations

from math import factorial
from typing import Any

from published_programs.base import GENMC, Counter, Place, claim, do, look, places, published, put
from sugarbush.concurrency import Mutex, atomic_inc, cmpxchg, join, spawn, xchg


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
