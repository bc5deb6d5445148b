"""The lower tier: what primitives, strategies, observers and runtimes are written with.

`sugarbush.concurrency` is for programs; no name is in both. docs/primitives.md and CONTRIBUTING.md say how the names of
this tier are used. Example, a counter whose only operation is one that other tasks can see:

>>> from sugarbush.concurrency.lowlevel import Access, Operation, perform
>>> def _count(tally, task, arg):
...     tally.total += 1
>>> COUNT = Operation("count", Access.ACQ_REL, effect=_count, local=True)
>>> class Tally:
...     def __init__(self):
...         self.total = 0
...     def count(self):
...         perform(COUNT, self)

Outside a program an operation takes effect at once:

>>> tally = Tally()
>>> tally.count()
>>> tally.total
1
"""

from sugarbush.concurrency.checks import Event, LockValidator, RaceDetector, Recorder
from sugarbush.concurrency.core import (
    Access,
    Datum,
    Dep,
    Excluding,
    Execution,
    Explaining,
    Fence,
    Footprint,
    Hold,
    Holdable,
    Mapped,
    Moment,
    Named,
    Observer,
    Operation,
    Runtime,
    Seen,
    Segment,
    Sight,
    TaskKilled,
    Timed,
    Waitable,
    active,
    checked,
    domain,
    fail,
    if_it_succeeds,
    look_at,
    perform,
    quiet,
    step,
)
from sugarbush.concurrency.locks import Lock, OwnedLock, lock_class_key, owned_operations
from sugarbush.concurrency.memory import LeakCheck, Order, Pressure, peek, poke
from sugarbush.concurrency.rcu import RcuCheck
from sugarbush.concurrency.runtimes import Audit, Simulated, Threaded, WrongDeclaration
from sugarbush.concurrency.search import Sampler, audit
from sugarbush.concurrency.strategies import (
    DPOR,
    PCT,
    POS,
    SURW,
    DepthFirst,
    RandomWalk,
    Replay,
    Search,
    Strategy,
)

__all__ = [
    "DPOR",
    "PCT",
    "POS",
    "SURW",
    "Access",
    "Audit",
    "Datum",
    "Dep",
    "DepthFirst",
    "Event",
    "Excluding",
    "Execution",
    "Explaining",
    "Fence",
    "Footprint",
    "Hold",
    "Holdable",
    "LeakCheck",
    "Lock",
    "LockValidator",
    "Mapped",
    "Moment",
    "Named",
    "Observer",
    "Operation",
    "Order",
    "OwnedLock",
    "Pressure",
    "RaceDetector",
    "RandomWalk",
    "RcuCheck",
    "Recorder",
    "Replay",
    "Runtime",
    "Sampler",
    "Search",
    "Seen",
    "Segment",
    "Sight",
    "Simulated",
    "Strategy",
    "TaskKilled",
    "Threaded",
    "Timed",
    "Waitable",
    "WrongDeclaration",
    "active",
    "audit",
    "checked",
    "domain",
    "fail",
    "if_it_succeeds",
    "lock_class_key",
    "look_at",
    "owned_operations",
    "peek",
    "perform",
    "poke",
    "quiet",
    "step",
]
