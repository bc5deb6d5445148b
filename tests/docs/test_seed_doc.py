"""docs/seed.md has a section for each claim of the mail, and each names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "seed.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## \((\w)\) [^\n]+\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))


def test_each_claim_has_its_section() -> None:
    assert "".join(SECTIONS) == "abcdefghi"
    assert re.findall(r"^\| \((\w)\) \|", PAGE, re.MULTILINE) == list(SECTIONS)


@pytest.mark.parametrize("claim", "abcdefghi")
def test_its_tests_exist(claim: str) -> None:
    named = re.search(r"^Tests: (.*)\.$", SECTIONS[claim], re.MULTILINE)
    assert named
    for path in re.findall(r"`([^`]+)`", named[1]):
        assert (ROOT / path).is_file()
