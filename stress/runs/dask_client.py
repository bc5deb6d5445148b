"""The client of a Dask scheduler, in a process of its own: ``python -m sugarbush.stress.runs.dask_client ADDRESS``,
for `executors`.

Dask's client unpickles what a scheduler sends it, and has no switch against that; TLS says who the scheduler is, not
that it is harmless. So it runs where nothing can be unpickled but plain data, and hands on text, a line a message:

    in:   {"do": 3, "text": WORK}
    out:  {"ready": 8} or {"refused": WHY}, then {"done": 3, "text": ANSWER} or {"failed": 3}, and {"gone": WHY} at last

`ANSWER` is what `sugarbush.concurrency.search.answers.run_text` gave in a worker, or what somebody else says that it
did; whoever reads it checks it. This process ends with the one that started it, which is when standard input ends.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    import asyncio

PATIENCE = 2.0
"""Seconds until a scheduler that does not answer, or answers no more, is given up."""
_LOOK = 0.5


class _Plain(pickle.Unpickler):
    """Makes numbers, text and containers, and nothing that has a name: a name is what runs."""

    def find_class(self, module: str, name: str, /) -> NoReturn:
        """Refuse every name, so that nothing which another machine has pickled can be called."""
        # Of the errors that a pickle may raise Dask expects this one wherever it unpickles.
        raise AttributeError(f"{module}.{name} of another machine is not unpickled")


def _loads(data: Any, /, **_options: Any) -> Any:
    return _Plain(io.BytesIO(data)).load()


def _load(file: Any, **_options: Any) -> Any:
    return _Plain(file).load()


def forbid_pickles() -> None:
    """From here on no pickle in this process runs anything, whichever module of Dask reads it."""
    assert "distributed" not in sys.modules, "it may have kept what is replaced here"
    for module in ("pickle", "_pickle"):
        place: Any = sys.modules[module]
        place.loads, place.load, place.Unpickler = _loads, _load, _Plain


def _main(address: str) -> None:
    # What Dask, or a library that it loads, prints must not stand between the messages.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    lock = threading.Lock()

    def say(**message: Any) -> None:
        with lock:
            out.write(json.dumps(message) + "\n")
            out.flush()

    forbid_pickles()
    try:
        import distributed
    except ImportError:
        say(refused="--executor needs the package distributed: install 'sugarbush[dask]'")
        return
    say(started=True)
    # Not above: the command line imports this module for a number, and starts with every command.
    import asyncio

    asyncio.run(_serve(distributed, address, say))


async def _serve(distributed: Any, address: str, say: Any) -> None:
    import asyncio

    from sugarbush.concurrency.search import run_text

    try:
        # A time-out of Dask's own does not end every wait, for one who speaks another protocol, say.
        async with asyncio.timeout(PATIENCE):
            client = await distributed.Client(
                address, asynchronous=True, timeout=PATIENCE, set_as_default=False
            )
            threads = sum((await client.nthreads()).values())
    except Exception as error:
        say(refused=f"no Dask scheduler answers at {address}: {type(error).__name__}: {error}")
        _end()
    if not threads:
        say(refused=f"the Dask scheduler at {address} has no workers: start some, `dask worker {address}`")
        _end()
    say(ready=threads)
    loop = asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    async def do(number: int, text: str) -> None:
        try:
            say(done=number, text=await client.submit(run_text, text, pure=False))
        except BaseException:
            # Its words would be those of another machine, pickled; that it failed is all that is needed.
            say(failed=number)

    def begin(number: int, text: str) -> None:
        tasks.add(task := loop.create_task(do(number, text)))
        task.add_done_callback(tasks.discard)

    def hear() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            loop.call_soon_threadsafe(begin, message["do"], message["text"])
        _end()

    threading.Thread(target=hear, daemon=True).start()
    silent = 0.0
    while silent < PATIENCE:
        await asyncio.sleep(_LOOK)
        silent = 0.0 if client.status == "running" else silent + _LOOK
    say(gone="the scheduler has gone")
    _end()


def _end() -> NoReturn:
    """At once: to say goodbye to a scheduler that does not answer takes as long as it likes."""
    os._exit(0)


if __name__ == "__main__":
    _main(sys.argv[1])
