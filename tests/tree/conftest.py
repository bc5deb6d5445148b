"""Lets the tree's tests import their helpers by name."""

import sys
from pathlib import Path

# Helpers that one room needs lie in it, those of several here.
sys.path.extend(
    sorted(
        str(folder) for folder in (Path(__file__).parent, *Path(__file__).parent.iterdir()) if folder.is_dir()
    )
)
