"""Lets these tests import their helpers, and the axioms of weak memory beside them, by name."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
for folder in (HERE.parent / "concurrency", HERE):
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
