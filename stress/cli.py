"""The command line: ``sugarbush``.

Exit status: 0 nothing found, 1 a failure was found, 2 unusable input or nothing explored (one line on standard error),
70 a mistake of Sugarbush's own, 130 interrupted, 141 nobody reads what is printed.
"""

from __future__ import annotations

import signal
import sys
import threading
import traceback
from pathlib import Path
from typing import Annotated

import typer
from loguru import logger

import stress.scenarios  # noqa: F401 - registers them
from concurrency import BadSchedule, ConcurrencyError
from stress.artifact import BadArtifact
from stress.bug import UnknownBug
from stress.commands.catalogue import catalogue_command
from stress.commands.list import list_command
from stress.commands.litmus import litmus_command
from stress.commands.lockdep import lockdep_command
from stress.commands.minimise import minimise_command
from stress.commands.replay import replay_command
from stress.commands.report import report_command
from stress.commands.run import run_command
from stress.console import Unusable
from stress.executors import NoExecutor
from stress.litmus import BadLitmus
from stress.load import BadFile, load_file, place_of
from stress.patch import PatchError
from stress.scenario import BadParameter, BadScenario, UnknownScenario
from stress.state import BadState

_UsageError: type[Exception] = next(
    base for base in typer.BadParameter.__mro__ if base.__name__ == "ClickException"
)
"""What typer raises for wrong arguments: click's base exception, of which some versions carry their own copy."""

INTERNAL = 70
"""EX_SOFTWARE of sysexits.h."""
_REFUSALS = (
    Unusable,
    NoExecutor,
    BadFile,
    BadState,
    UnknownScenario,
    BadParameter,
    BadScenario,
    UnknownBug,
    BadArtifact,
    BadLitmus,
    BadSchedule,
    ConcurrencyError,
    PatchError,
)

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.callback()
def sugarbush(
    load: Annotated[
        list[Path] | None, typer.Option(help="A file with scenarios of your own; repeatable.")
    ] = None,
) -> None:
    """A correctness harness for locks and RCU: every interleaving that matters, replayable from one line."""
    for path in load or ():
        load_file(path)


app.command("list")(list_command)
app.command("run", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(run_command)
app.command("replay")(replay_command)
app.command("minimise")(minimise_command)
app.command("catalogue")(catalogue_command)
app.command("report")(report_command)
app.command("lockdep")(lockdep_command)
app.command("litmus")(litmus_command)


def main(arguments: list[str] | None = None) -> None:
    """The console script: run a command and exit with its status."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    logger.remove()
    logger.add(sys.stderr, format="{time:HH:mm:ss} {message}")
    try:
        status = typer.main.get_command(app).main(arguments, prog_name="sugarbush", standalone_mode=False)
    except _REFUSALS as error:
        status = _complain(str(error))
    except _UsageError as error:
        status = _complain(error.format_message())  # type: ignore[attr-defined]
    except (KeyboardInterrupt, typer.Abort):
        status = 130
    except (BrokenPipeError, SystemExit) as error:
        # Rich, which prints tables, turns the one into the other.
        if not isinstance(error, BrokenPipeError) and not isinstance(error.__context__, BrokenPipeError):
            sys.exit(_unexpected(error))
        sys.stderr.close()
        status = 128 + signal.SIGPIPE
    except BaseException as error:
        status = _unexpected(error)
    sys.exit(status)


def _unexpected(error: BaseException) -> int:
    """What nobody has foreseen: a mistake in a file of the user's own, or one of ours. 1 would say: a bug was found."""
    place = place_of(error)
    if place is not None:
        return _complain(f"{place}: {type(error).__name__}: {error}")
    traceback.print_exception(error)
    print("sugarbush: this is a mistake of Sugarbush's own: please report it", file=sys.stderr)
    return INTERNAL


def _interrupt(_signal: int, _frame: object) -> None:
    """To be asked to end is to be interrupted: what was found is kept, and said."""
    raise KeyboardInterrupt


def _complain(message: str) -> int:
    print("sugarbush: " + " ".join(message.split()), file=sys.stderr)
    return 2
