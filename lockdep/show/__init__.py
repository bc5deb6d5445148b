"""What it looks like from outside: snapshots, statistics, listings, graphs, and the merge of several."""

from sugarbush.lockdep.show.draw import to_dot, to_svg
from sugarbush.lockdep.show.listings import (
    chains_text,
    held_text,
    lock_stat_text,
    lockdep_text,
    reports_text,
    stats_text,
)
from sugarbush.lockdep.show.lockstat import LockStat
from sugarbush.lockdep.show.merging import merge
from sugarbush.lockdep.show.snapshot import (
    FORMAT,
    ChainRow,
    ClassRow,
    EdgeRow,
    HeldRow,
    ReportRow,
    Snapshot,
    from_json,
    load,
    take,
)

__all__ = [
    "FORMAT",
    "ChainRow",
    "ClassRow",
    "EdgeRow",
    "HeldRow",
    "LockStat",
    "ReportRow",
    "Snapshot",
    "chains_text",
    "from_json",
    "held_text",
    "load",
    "lock_stat_text",
    "lockdep_text",
    "merge",
    "reports_text",
    "stats_text",
    "take",
    "to_dot",
    "to_svg",
]
