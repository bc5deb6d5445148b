"""`python -m stress` is `sugarbush`."""

from stress.cli import main

if __name__ == "__main__":
    main()
