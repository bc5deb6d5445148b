"""The model does to a process's VMAs what the running kernel does; `real_kernel.py` makes more calls by hand."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from later_rules import LATER, release
from real_kernel import Real, compare, supported

from sugarbush.vm.vmas import merge, munmap
from sugarbush.vm.vmas.era import ERAS

CALLS = 1200


@pytest.fixture
def real() -> Iterator[Real]:
    why = supported()
    if why is not None:
        pytest.skip(why)
    beside = Real()
    if not beside.ready:
        beside.close()
        pytest.skip("this process may not move its heap")
    yield beside
    beside.close()


@pytest.mark.parametrize("era", ERAS)
def test_the_same_calls_give_the_same_answers_and_the_same_vmas(real: Real, era: str) -> None:
    """mmap, munmap, mprotect, mremap, brk, madvise and fork, whatever holds the VMAs."""
    made, wrong = compare(real, CALLS, seed=sum(map(ord, era)), era=era)
    assert made >= CALLS
    assert wrong is None, wrong


@pytest.mark.parametrize("without", ["merging", "cutting"])
def test_a_model_that_is_wrong_is_found_out(
    real: Real, monkeypatch: pytest.MonkeyPatch, without: str
) -> None:
    if without == "merging":
        monkeypatch.setattr(merge, "can_vma_merge_before", lambda *_: False)
    else:
        monkeypatch.setattr(munmap, "split_vma", lambda vma, _address, *, new_below: -12)
    _, wrong = compare(real, CALLS, seed=1)
    assert wrong is not None
    assert "kernel:" in wrong


def test_the_rules_that_have_changed_since_are_really_others(
    real: Real, monkeypatch: pytest.MonkeyPatch
) -> None:
    if release() < min(LATER):
        pytest.skip("this kernel has the rules of v6.1")
    monkeypatch.setattr("later_rules.LATER", {})
    _, wrong = compare(real, 4 * CALLS, seed=3)
    assert wrong is not None
