"""Runs the command line."""

import sys

from lockdep.cli import main

sys.exit(main())
