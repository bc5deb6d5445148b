"""The kernel's locking self-tests, one test each, under the kernel's names."""

from __future__ import annotations

import pytest
from lockdep_selftest import Case, complains, load, table

CASES = load()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_locking_selftest(case: Case) -> None:
    assert (complains(case) is not None) == case.must_complain


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_first_complaint_is_of_the_kind_that_the_case_is_about(case: Case) -> None:
    assert complains(case) == case.first_report


def test_summary_reads_like_the_kernels() -> None:
    lines = table(CASES, lambda case: (complains(case) is not None) == case.must_complain)
    print("\n".join(lines))
    assert lines[-1] == "Good, all 395 testcases passed! |"
