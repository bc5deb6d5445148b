"""Commands that are loaded when they are called: what there is and what it is for can be said without the model.

`sugarbush --help` needs of each command only its name and a sentence. So a command stands here by these two, and its
module, which loads most of Sugarbush, is imported when the command is the one that was asked for. The sentence stands
in the docstring of its function, too; a test holds that both are the same.
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any, NamedTuple

import typer


class Command(NamedTuple):
    """One command: its name, its module among `cli.commands` being called the same."""

    name: str
    summary: str
    open_ended: bool = False
    """It takes options that it does not declare: the parameters of the scenario."""
    loads: bool = True
    """It needs the scenarios from the start."""


COMMANDS = (
    Command(
        "list",
        "List the scenarios, and the checks that --without takes; or say what there is to know of one scenario.",
        loads=False,
    ),
    Command(
        "run",
        "Run a scenario under many schedules; further options are its parameters, see `sugarbush list NAME`.",
        open_ended=True,
    ),
    Command(
        "prove",
        "Prove that a scenario passes under every schedule with at most 0, 1, 2 ... preemptions, all checks on.",
    ),
    Command("replay", "Run the schedule of an artifact again and show what happens."),
    Command(
        "minimise",
        "Reduce an artifact to the fewest context switches and say which orders matter; saved beside it.",
    ),
    Command(
        "catalogue",
        "Hunt the known bugs: each must be found in the patched kernel, and be absent in the fixed one.",
    ),
    Command(
        "report", "Draw executions: one page that needs no network, and a trace for the Perfetto viewer."
    ),
    Command(
        "lockdep",
        "Show lock reports: of kernel logs and other checkers, and what the lock validator saw of a run.",
    ),
    Command(
        "litmus",
        "Say of litmus tests whether what they ask for is allowed or forbidden; status 1 if a file says otherwise.",
    ),
)
"""In the order in which the help names them."""


class Once(typer.core.TyperCommand):
    """A command whose options stand once each: of two values one would be ignored, and nobody would know which."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Refuse an option that stands there twice, before click keeps the last of its values."""
        given = self.make_parser(ctx).parse_args(args=list(args))[2]
        for option in dict.fromkeys(given):
            if given.count(option) > 1 and not option.multiple and isinstance(option, typer.core.TyperOption):
                ctx.fail(f"{option.opts[0]} stands there twice: leave one of them out")
        return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Begin the command, unless what stands on its command line cannot be used."""
        # Imported here: the tables name all strategies and checks, and help needs none of them.
        from sugarbush.stress.cli.refusals import Asked, refuse

        refuse(str(self.name), Asked.of(ctx))
        return super().invoke(ctx)


class Group(typer.core.TyperGroup):
    """The commands by what is said of them; the one that is called is loaded then, and the scenarios with it."""

    def __init__(self, **how: Any) -> None:
        # What stands for a command until it is called is never run, and has no options.
        stubs = {one.name: typer.core.TyperCommand(one.name, help=one.summary) for one in COMMANDS}
        super().__init__(**{**how, "commands": stubs})

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Put the real command in the place of what stands for it, now that it is the one that was asked for."""
        name, stub, rest = super().resolve_command(ctx, args)
        return name, None if stub is None else loaded(str(name)), rest


def loaded(name: str) -> Any:
    """The command of this name, as click knows it."""
    command = next(one for one in COMMANDS if one.name == name)
    if command.loads:
        load_scenarios()
    function = getattr(import_module(f"sugarbush.stress.cli.commands.{name}"), f"{name}_command")
    one = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)
    further = {"allow_extra_args": True, "ignore_unknown_options": True} if command.open_ended else None
    one.command(name, cls=Once, context_settings=further)(function)
    made = typer.main.get_command(one)
    if "loguru" in sys.modules:
        from loguru import logger

        logger.remove()
        logger.add(sys.stderr, format="{time:HH:mm:ss} {message}")
    return made


def load_scenarios() -> None:
    """Register the scenarios that come with Sugarbush: those of the user's own files come after them."""
    from sugarbush.stress.kit import registry

    registry.load()
