"""Runs one tool inside its own interpreter: `worker.py TOOL`, one request and one answer a line, as JSON.

Requests: {"do": "speed", "program", "strategy", "seconds"}, or {"do": "hunt", "program", "strategy", "seed",
"seconds"}. What the tool prints goes to standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import sys

from tool import Inexpressible

ANSWERS = os.fdopen(os.dup(1), "w", buffering=1)
os.dup2(2, 1)


def main() -> None:
    tool = importlib.import_module(f"run_{sys.argv[1]}")
    print(json.dumps({"version": tool.VERSION, "strategies": list(tool.STRATEGIES)}), file=ANSWERS)
    for line in sys.stdin:
        ask = json.loads(line)
        answer: dict[str, object]
        try:
            if ask["do"] == "speed":
                executions, seconds = tool.speed(ask["program"], ask["strategy"], ask["seconds"])
                answer = {"executions": executions, "seconds": seconds}
            else:
                found = tool.hunt(ask["program"], ask["strategy"], ask["seed"], ask["seconds"])
                answer = found._asdict()
        except Inexpressible as error:
            answer = {"inexpressible": str(error)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(answer), file=ANSWERS)


main()
