"""The validator against a full interleaving search of small programs: no deadlock missed, no false alarm.

A cycle that cannot deadlock may be reported, but only as guarded.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import islice

import pytest
from lockdep_search import Program, can_deadlock, programs, stacks, verdict

from sugarbush.lockdep import ReportKind

SHARDS = 8
SAMPLE = [
    shard if shard % 4 == 1 else pytest.param(shard, marks=pytest.mark.exhaustive) for shard in range(SHARDS)
]
"""A quarter of all programs, spread evenly; the others are for who has the time."""


def compare(program: Program) -> tuple[bool, bool]:
    """Checks one program; gives whether it deadlocks, and whether it was reported as guarded."""
    truth, said = can_deadlock(program), verdict(program)
    assert said <= {ReportKind.CIRCULAR, ReportKind.GUARDED}
    assert (ReportKind.CIRCULAR in said) == truth, program
    return truth, not truth and ReportKind.GUARDED in said


@pytest.mark.parametrize("shard", range(SHARDS))
def test_all_two_task_programs_over_three_locks_to_depth_three(shard: int) -> None:
    seen = Counter(map(compare, islice(programs(2, 3, 3), shard, None, SHARDS)))
    assert min(seen[True, False], seen[False, True], seen[False, False]) > 20


@pytest.mark.parametrize("shard", SAMPLE)
def test_all_three_task_programs_over_three_locks_to_depth_two(shard: int) -> None:
    seen = Counter(map(compare, islice(programs(3, 3, 2), shard, None, SHARDS)))
    assert min(seen[True, False], seen[False, False]) > 20


@pytest.mark.parametrize("shard", SAMPLE)
def test_a_seeded_sample_of_deeper_three_task_programs(shard: int) -> None:
    chance = random.Random(shard)
    deep = {locks: stacks(locks, 4) for locks in (3, 4)}
    seen: Counter[tuple[bool, bool]] = Counter()
    for _ in range(1_250):
        locks = chance.choice((3, 4))
        seen[compare(tuple(chance.choices(deep[locks], k=3)))] += 1
    assert min(seen[True, False], seen[False, True], seen[False, False]) > 20
