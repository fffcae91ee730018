"""The front door: version, help, and exit statuses."""

from __future__ import annotations

import tomllib
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dataplane.errors import ConfigError, KernelError
from datastore.errors import StoreError
from labs.errors import LabError
from podwire import VERSION
from podwire.__main__ import main

PYPROJECT = Path(__file__).parent.parent.parent.parent / "pyproject.toml"


def test_the_version_is_the_distributions() -> None:
    assert tomllib.loads(PYPROJECT.read_text())["project"]["version"] == VERSION
    assert VERSION in CliRunner().invoke(main, ["--version"]).output


def commands(group: click.Group, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """The paths of all commands below a group."""
    found = []
    for name, command in group.commands.items():
        found.append((*path, name))
        if isinstance(command, click.Group):
            found += commands(command, (*path, name))
    return found


@pytest.mark.parametrize("path", commands(main))
def test_every_command_and_every_option_of_it_says_what_it_is_for(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ConfigError("--nodes", 0, "must be more"), 2),
        (KernelError("add route", "refused", 1), 1),
        (StoreError("gone"), 1),
        (LabError("broken"), 1),
    ],
)
def test_errors_become_exit_statuses_and_one_line(error: Exception, status: int) -> None:
    @click.command("fail")
    def fail() -> None:
        raise error

    main.add_command(fail)
    try:
        result = CliRunner().invoke(main, ["fail"])
    finally:
        del main.commands["fail"]
    assert result.exit_code == status
    assert result.output == f"Error: {error}\n"


def test_an_unknown_option_is_bad_usage() -> None:
    assert CliRunner().invoke(main, ["lab", "up", "flannel", "--colour", "red"]).exit_code == 2
