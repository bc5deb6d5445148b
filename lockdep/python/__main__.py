"""``python -m lockdep.python SCRIPT ...`` is ``sugarbush lockdep run SCRIPT ...``."""

import sys

from lockdep.python.runner import main

sys.exit(main(sys.argv[1:]))
