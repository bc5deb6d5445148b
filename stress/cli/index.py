"""What `sugarbush list` says of the scenarios, kept beside them: to list them needs no model, and takes no time.

The index is made from the scenarios themselves, and holds a digest of every file that its words come from. Where one of
these differs, the index is not believed and the scenarios are loaded: it may be useless, but never wrong. Made anew by

    python -m sugarbush.stress.cli.index
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

_STRESS = Path(__file__).parents[1]
INDEX = Path(__file__).with_name("scenarios.json")
# Whatever registers a scenario, and what turns the registration into words. `Kind` gives a bug without a check the word
# that is expected of it.
_SOURCES = (
    "catalogue/*.py",
    "torture/*.py",
    "workloads/*.py",
    "cli/built_in.py",
    "cli/index.py",
    "kit/bugs.py",
    "kit/check_table.py",
    "kit/scenarios.py",
)
_KINDS = _STRESS.parent / "concurrency" / "core" / "failure.py"


class Row(NamedTuple):
    """What is said of one scenario."""

    name: str
    era: str
    expected: str
    summary: str


class Listing(NamedTuple):
    """All scenarios, by name, and all checks with what each says."""

    scenarios: list[Row]
    checks: dict[str, str]


def sources() -> list[Path]:
    """All files that the words of the index come from."""
    return [*(path for pattern in _SOURCES for path in sorted(_STRESS.glob(pattern))), _KINDS]


def digest() -> int:
    """Of these files, with their names."""
    known = 0
    for path in sources():
        known = crc32(path.read_bytes(), crc32(path.name.encode(), known))
    return known


def indexed() -> Listing | None:
    """What the index says; None if it is not of these sources, or cannot be read."""
    try:
        kept = json.loads(INDEX.read_bytes())
        if kept["digest"] != digest():
            return None
        return Listing([Row(*row) for row in kept["scenarios"]], kept["checks"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def listed() -> Listing:
    """What the scenarios say that are registered."""
    from sugarbush.stress.kit import CHECKS, all_scenarios

    rows = [Row(one.name, one.era, one.expect or "clean", one.summary) for one in all_scenarios()]
    return Listing(rows, dict(CHECKS))


def _write() -> None:
    from sugarbush.stress.kit import registry

    registry.load()
    found = listed()
    text = json.dumps({"digest": digest(), **found._asdict()}, indent=1, ensure_ascii=False)
    INDEX.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    _write()
