"""A cycle of readers and grace periods is forbidden exactly if it has at least as many grace periods as readers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from grace_period_cycles import MOST, cycles, forbidden, program, settings

from sugarbush.concurrency import Spinlock, Verdict, explore
from sugarbush.concurrency.rcu import RcuDomain

CYCLES = cycles()
SHORT = [cycle for cycle in CYCLES if len(cycle) <= 4]


def verdict(cycle: str, shape: str, memory: str) -> Verdict:
    """Of all executions, or of those up to the first that has the cycle."""
    return said(program(cycle, shape, reorder=memory == "sc"), memory)


def said(cycle: Callable[[], None], memory: str) -> Verdict:
    """As the law has it: where no process comes beyond its first read, no two of them meet, and no cycle is closed."""
    result = explore(cycle, strategy="dpor", executions=100_000, settings=settings(memory))
    return Verdict.PASSED if result.exhaustive and not result.failures else result.verdict


def law(cycle: str) -> Verdict:
    return Verdict.PASSED if forbidden(cycle) else Verdict.FAILED


def test_the_cycles_are_all_there() -> None:
    assert len(CYCLES) == 19
    assert {(cycle.count("G"), cycle.count("R")) for cycle in CYCLES} == {
        (g, r) for g in range(MOST + 1) for r in range(MOST + 1) if g + r >= 2
    }
    assert len({min(c[n:] + c[:n] for n in range(len(c))) for c in CYCLES}) == len(CYCLES)


@pytest.mark.parametrize("cycle", CYCLES)
def test_the_law_for_reads_from(cycle: str) -> None:
    """Under interleavings, with the accesses of a reader in either order: nothing orders them."""
    assert verdict(cycle, "RW", "sc") is law(cycle)


@pytest.mark.parametrize("shape", ["WR", "WW"])
@pytest.mark.parametrize("cycle", SHORT)
def test_the_law_for_from_reads_and_coherence(cycle: str, shape: str) -> None:
    assert verdict(cycle, shape, "sc") is law(cycle)


@pytest.mark.parametrize("shape", ["WR", "WW"])
@pytest.mark.parametrize("cycle", [c for c in CYCLES if len(c) <= 3 or (not forbidden(c))])
def test_the_law_under_weak_memory(cycle: str, shape: str) -> None:
    """The memory itself reorders what a reader does."""
    assert verdict(cycle, shape, "weak") is law(cycle)


@pytest.mark.exhaustive
def test_the_law_for_two_and_two_under_weak_memory() -> None:
    assert verdict("GRGR", "WR", "weak") is Verdict.PASSED


@pytest.mark.parametrize("memory", ["sc", "weak"])
@pytest.mark.parametrize("cycle", ["GR", "GRR", "GGR"])
def test_the_law_where_preemption_is_off(cycle: str, memory: str) -> None:
    """A stretch under a spinlock is a reader like any other."""
    result = explore(
        program(cycle, "WR", reorder=memory == "sc", section=lambda: Spinlock("s")),
        strategy="dpor",
        settings=settings(memory),
    )
    assert result.verdict is law(cycle)


def test_reads_from_alone_makes_no_cycle_under_weak_memory() -> None:
    """It would take a write that is done before an earlier read: load buffering, which is not modelled."""
    assert verdict("GRR", "RW", "weak") is Verdict.PASSED
    assert not forbidden("GRR")


def test_readers_in_program_order_have_no_cycle_under_interleavings() -> None:
    """What the choice of the order is for: without it sequential consistency forbids what RCU allows."""
    for cycle in ("RR", "GRR"):
        assert said(program(cycle, "RW", reorder=False), "sc") is Verdict.PASSED


def test_a_grace_period_that_ignores_a_reader_breaks_the_law(monkeypatch: pytest.MonkeyPatch) -> None:
    readers = RcuDomain.open_readers
    monkeypatch.setattr(RcuDomain, "open_readers", lambda rcu: list(readers(rcu))[1:])
    assert verdict("GR", "RW", "sc") is Verdict.FAILED
