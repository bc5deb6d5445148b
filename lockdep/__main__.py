"""Runs the command line."""

import sys

if sys.argv[1:2] == ["run"]:
    from sugarbush.lockdep.cli import run_program

    sys.exit(run_program(sys.argv[2:]))

from sugarbush.lockdep.cli import main

sys.exit(main())
