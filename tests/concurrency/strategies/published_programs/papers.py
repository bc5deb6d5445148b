"""The programs of the paper."""

from __future__ import annotations

from published_programs.base import (
    CONCUERROR,
    FLANAGAN,
    POPL,
    Counter,
    Place,
    do,
    look,
    places,
    published,
    put,
)
from sugarbush.concurrency import Mutex, cmpxchg, spawn


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
