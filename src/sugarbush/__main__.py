"""`python -m sugarbush` is the command `sugarbush`."""

from sugarbush.stress.__main__ import main

if __name__ == "__main__":
    main()
