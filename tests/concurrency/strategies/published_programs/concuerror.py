"""Concuerror's own tests."""

from __future__ import annotations

from published_programs.base import CONCUERROR, Place, claim, do, look, places, published, put
from sugarbush.concurrency import join, spawn


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
