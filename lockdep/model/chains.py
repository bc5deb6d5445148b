"""Chains: the tree of all stacks of held locks that were ever validated.

A `Chain` is one stack, of one irq context, from its oldest lock to its newest; its children are the stacks
with one lock more. A task stands on the chain of what it holds, so a lock taken in a way seen before costs
one look-up in the children. The key of a child holds everything that the checks depend on (class, read mode,
trylock, irq state), which makes a hit a proof that this very acquire was checked before. The kernel hashes
class and read mode and trusts the hash; here equal means equal.

The same two locks, twice: the second time nothing is checked, for a look-up answers. As a reader it is another stack:

>>> from sugarbush.lockdep import Lockdep, TaskContext
>>> task = TaskContext("worker", 1)
>>> lockdep = Lockdep(lambda: task)
>>> a, b = (LockMap(LockClassKey(name)) for name in "ab")
>>> for read in (0, 0, 1):
...     lockdep.acquire(a)
...     lockdep.acquire(b, read=read)
...     lockdep.release(b)
...     lockdep.release(a)
>>> only_a = next(iter(lockdep.roots[0].next.values()))
>>> [(chain, chain.read, chain.hits) for chain in only_a.next.values()]
[(<Chain a -> b>, 0, 1), (<Chain a -> b>, 1, 0)]

The keys of the two differ in the read mode and in nothing else:

>>> key, as_reader = only_a.next
>>> key ^ as_reader, key & READ_MASK, bool(key & HARDIRQS_ON), bool(key & TRYLOCK)
(1, 0, True, False)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from sugarbush.lockdep.model.classes import Family, LockClass
from sugarbush.lockdep.model.keys import LockClassKey, LockMap, WaitType
from sugarbush.lockdep.model.trace import Trace

if TYPE_CHECKING:
    from sugarbush.lockdep.model.contexts import Maker

# The key of a child, from the low bits up: read mode, then these flags, then subclass and class token. One integer,
# since it is made for each acquire: a map brings token and subclass as one number, the task its irq bits as another,
# and the rest is or-ed to it. The token is on top because Python's integers have no width that it could run over.
READ_MASK: Final = 3
TRYLOCK: Final = 1 << 2
UNCHECKED: Final = 1 << 3
SYNC: Final = 1 << 4
NESTED: Final = 1 << 5
"""Taken under a named nest lock: depends on instances, so it is checked each time."""
RECHECK: Final = 1 << 6
"""The class has an ordering function, or the context is NMI: checked each time."""
AGAIN: Final = 1 << 7
"""Put back after a lock below it went: nobody waited here."""
HARDIRQS_ON: Final = 1 << 8
SOFTIRQS_ON: Final = 1 << 9
NOT_THREADED: Final = 1 << 10
STATE_MASK: Final = HARDIRQS_ON | SOFTIRQS_ON | NOT_THREADED
SUBCLASS_SHIFT: Final = 11
SUBCLASS_BITS: Final = 6
SUBCLASS_LIMIT: Final = 1 << SUBCLASS_BITS
"""Subclasses of one key; the kernel has 8."""
SUBCLASS_MASK: Final = ((1 << SUBCLASS_BITS) - 1) << SUBCLASS_SHIFT
TOKEN_SHIFT: Final = SUBCLASS_SHIFT + SUBCLASS_BITS


class Chain:
    """One stack of held locks; `lock_class`, `key` and `trace` are those of its newest lock.

    A root is the empty stack of an irq context: its parent is itself. `spinning` counts the locks of the
    stack that forbid to sleep. `hits` counts how often the stack was taken again after the first time, which `by`
    did.
    """

    __slots__ = ("by", "context", "hits", "key", "lock_class", "next", "parent", "spinning", "trace")

    def __init__(
        self, parent: Chain, lock_class: LockClass, key: int, trace: Trace, by: Maker | None = None
    ) -> None:
        self.by = by
        self.parent: Chain = parent
        self.context: int = parent.context
        self.lock_class = lock_class
        self.key = key
        self.trace = trace
        self.next: dict[int, Chain] = {}
        self.hits = 0
        # CONFIG counts although it sleeps under PREEMPT_RT: might_sleep() is about the kernel without it, as
        # preempt_count is.
        spins = lock_class.wait_outer in (WaitType.SPIN, WaitType.CONFIG)
        self.spinning: int = parent.spinning + spins

    @classmethod
    def root(cls, context: int) -> Chain:
        """The empty stack of an irq context."""
        self = cls.__new__(cls)
        self.parent = self
        self.context = context
        self.lock_class = _NO_CLASS
        self.key = UNCHECKED
        self.trace = Trace(())
        self.next = {}
        self.hits = 0
        self.spinning = 0
        self.by = None
        return self

    @property
    def is_root(self) -> bool:
        """True for the empty stack."""
        return self.parent is self

    @property
    def read(self) -> int:
        """How the newest lock is held: 0 exclusively, 1 for read, 2 for recursive read."""
        return self.key & READ_MASK

    @property
    def brings_older(self) -> bool:
        """True when the newest lock has a strong dependency on it from every older lock that matters.

        A trylock has none, a nested lock may have none, and those on a recursive reader are weak.
        """
        return not self.key & (TRYLOCK | NESTED) and self.read != 2

    @property
    def checked(self) -> bool:
        """True when the newest lock takes part in dependencies."""
        return not self.key & UNCHECKED and self.lock_class.checked

    @property
    def waits(self) -> bool:
        """True when a task may block here: it wants the newest lock and holds the others."""
        return not self.key & (TRYLOCK | UNCHECKED | AGAIN) and self.lock_class.checked

    def held(self) -> Iterator[Chain]:
        """The entries below the newest one, from the top of the stack down."""
        at = self.parent
        while at.parent is not at:
            yield at
            at = at.parent

    def prune(self, gone: set[int]) -> None:
        """Drops all stacks above this one that mention a class of these numbers."""
        pending = [self]
        while pending:
            chain = pending.pop()
            kept = {key: up for key, up in chain.next.items() if up.lock_class.number not in gone}
            chain.next = kept
            pending.extend(kept.values())

    def __repr__(self) -> str:
        names = [entry.lock_class.title for entry in self.held()][::-1]
        return f"<Chain {' -> '.join((*names, self.lock_class.title))}>"


_NO_CLASS: Final = LockClass(0, LockMap(LockClassKey("none")), 0, 1, Family(0))
NO_CHAIN: Final = Chain.root(0)
"""Where a task stands that no validator has seen: nothing is ever known here."""
