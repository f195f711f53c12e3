"""The command line: `ringmill COMMAND`. Commands import what they need when they run, so that --help is quick."""

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer
from typer.exceptions import TyperException

from ringmill.cli import console
from ringmill.cli.commands import (
    bench,
    certs,
    chaos,
    check,
    demo,
    envoy,
    loadtest,
    look,
    move,
    send,
    serve,
    up,
    version,
)
from ringmill.core.errors import RingmillError

DEBUG_VARIABLE = "RINGMILL_DEBUG"

app = typer.Typer(
    name="ringmill",
    help="Keyed real-time compute over gRPC: per-key Python functions, compiled, served as one Protobuf stream.",
    epilog="Start here: ringmill demo",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command("up")(up.up)
app.command("send")(send.send)
app.command("check")(check.check)
app.command("demo")(demo.demo)
app.command("workers")(look.workers)
app.command("scale")(move.scale)
app.command("drain")(move.drain)
app.command("restart")(move.restart)
app.command("explain")(look.explain)
app.command("ledger")(look.ledger)
app.command("bench")(bench.bench)
app.command("loadtest")(loadtest.loadtest)
app.command("chaos")(chaos.chaos)
app.command("worker")(serve.worker)
app.command("balancer")(serve.balancer)
app.add_typer(envoy.envoy, name="envoy")
app.add_typer(certs.certs, name="certs")
app.command("version")(version.version)


def _tell_version(asked: bool) -> None:
    if asked:
        version.version()
        raise typer.Exit


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the versions and leave.", callback=_tell_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
) -> None:
    if debug:
        os.environ[DEBUG_VARIABLE] = "1"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command and returns the exit status: 0, 1 for a failure, 2 for a command that was not understood."""
    try:
        status = app(args=None if arguments is None else list(arguments), prog_name="ringmill", standalone_mode=False)
    except TyperException as problem:
        if not problem.format_message():
            return 2  # no words at all: the help has been shown
        # Typer draws a box of five lines; scripts and people are better served by one.
        console.error(f"{problem.format_message()} ({_command_of(problem)} --help lists what there is)")
        return 2
    except (RingmillError, OSError) as problem:
        if os.environ.get(DEBUG_VARIABLE):
            raise
        console.error(_message(problem))
        return 1
    except typer.Abort:
        return 130
    return status if isinstance(status, int) else 0


def _command_of(problem: TyperException) -> str:
    """The command that did not understand its words."""
    context = getattr(problem, "ctx", None)
    return context.command_path if context is not None else "ringmill"


def _message(problem: RingmillError | OSError) -> str:
    if isinstance(problem, RingmillError):
        return problem.message
    return f"{problem.filename}: {problem.strerror}" if problem.filename else str(problem)


if __name__ == "__main__":
    sys.exit(main())
