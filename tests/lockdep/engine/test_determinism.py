"""The same run gives the same reports, listings and pictures, whatever PYTHONHASHSEED and addresses are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PROGRAM = """
import json, sys
sys.path[:0] = [sys.argv[1], sys.argv[1] + "/engine"]
from lockdep_selftest import load, Machine
from sugarbush.lockdep.show.draw import to_dot, to_svg
from sugarbush.lockdep.show.snapshot import take
ballast = [object() for _ in range(int(sys.argv[2]))]
for case in load()[::7]:
    machine = Machine()
    machine.run(case.ops)
    snapshot = take(machine.lockdep)
    print(json.dumps(snapshot.to_json()), to_dot(snapshot), to_svg(snapshot))
"""


def test_output_does_not_depend_on_hash_seed_or_addresses() -> None:
    here = Path(__file__).parents[1]
    root = here.parents[1] / "src"
    outputs = set()
    for seed, ballast in (("0", "0"), ("1", "999"), ("12345", "31337")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        command = [sys.executable, "-c", PROGRAM, str(here), ballast]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        outputs.add(done.stdout)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 10_000
