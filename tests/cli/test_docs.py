"""docs/cli.md tells of every command and every flag."""

from pathlib import Path
from typing import cast

import pytest
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from ringmill.cli.main import app

DOCS = (Path(__file__).resolve().parents[2] / "docs" / "cli.md").read_text()
COMMANDS = cast(TyperGroup, get_command(app)).commands


def flags(command: TyperCommand | TyperGroup) -> set[str]:
    """Those of a command, and of its own commands if it has any."""
    own = {flag for option in command.params for flag in option.opts if flag.startswith("--")} - {"--help"}
    return own.union(*(flags(cast(TyperCommand, each)) for each in getattr(command, "commands", {}).values()))


SECTIONS = {title: text for title, _, text in (part.partition("\n") for part in DOCS.split("\n## ")[1:])}


def section(command: str) -> str:
    """The text about a command; two may share one."""
    return next((text for title, text in SECTIONS.items() if command in title.split()), "")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_command_has_its_section_and_an_example(name: str) -> None:
    assert f"$ ringmill {name}" in section(name)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_flag_is_named(name: str) -> None:
    command = cast(TyperCommand, COMMANDS[name])
    assert [flag for flag in sorted(flags(command)) if f"`{flag}" not in section(name)] == []


def test_every_section_is_about_a_command() -> None:
    assert [title for title in SECTIONS if not set(title.split()) <= {*COMMANDS, "and"}] == []
