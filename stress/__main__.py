"""`sugarbush`, also as `python -m sugarbush`: worker processes load this module as well, so it imports nothing
early.
"""

import sys


def main() -> None:
    """The console script; with several jobs the server of worker processes starts beside our own imports."""
    try:
        if sys.argv[1:3] == ["lockdep", "run"]:
            # Before anything else is loaded: the program is to find the interpreter as it would be.
            from sugarbush.lockdep.cli import run_program

            sys.exit(run_program(sys.argv[3:]))
        if any(word.partition("=")[0] == "--jobs" for word in sys.argv[1:]):
            _start_server()
        from sugarbush.stress.cli import main as run
    except SystemExit:
        raise
    except BaseException as error:
        # Nothing of ours is loaded that could say more; but 1, Python's status for this, says that a bug was found.
        if isinstance(error, KeyboardInterrupt):
            sys.exit(130)
        print(f"sugarbush: it cannot start: {type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(70)
    run()


def _start_server() -> None:
    """Start what our workers are forked from (`concurrency.search.Processes`), with the scenarios loaded."""
    import multiprocessing

    if "forkserver" in multiprocessing.get_all_start_methods():
        from multiprocessing import forkserver

        forkserver.set_forkserver_preload(["sugarbush.stress.cli.built_in"])
        forkserver.ensure_running()


if __name__ == "__main__":
    main()
