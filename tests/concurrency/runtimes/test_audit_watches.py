"""The audit sees the objects that operations are done to: of one that it does not watch it would find nothing wrong."""

from __future__ import annotations

from typing import Any

import pytest
from audit_programs import PROGRAMS
from declared_in_tests import audited

from sugarbush.concurrency.core import class_of
from sugarbush.concurrency.lowlevel import audit
from sugarbush.concurrency.runtimes.audit.watch import Watch


def test_every_object_of_an_operation_is_watched(monkeypatch: pytest.MonkeyPatch) -> None:
    unwatched: set[str] = set()
    met = Watch.meets

    def meets(self: Watch, op: Any, obj: Any, arg: Any) -> None:
        met(self, op, obj, arg)
        if id(obj) not in self._watched:
            unwatched.add(f"{class_of(obj).__module__}.{class_of(obj).__name__}")

    monkeypatch.setattr(Watch, "meets", meets)
    for program in (*PROGRAMS, *audited()):
        audit(program, executions=1, keep_going=True)
    assert unwatched == set()
