"""The front door: version, help, and exit statuses."""

from __future__ import annotations

import os
import subprocess
import sys
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
        (OSError(28, "No space left on device"), 1),
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
    assert result.output == f"Error: {error.strerror if isinstance(error, OSError) else error}\n"


def test_an_unknown_option_is_bad_usage() -> None:
    assert CliRunner().invoke(main, ["lab", "up", "flannel", "--colour", "red"]).exit_code == 2


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_stream_is_no_reason_to_fail(closed: str) -> None:
    done = subprocess.run(
        ["sh", "-c", f'"{sys.executable}" -m podwire lab list {closed}'], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_cannot_be_written_is_an_error_of_one_line(unbuffered: str) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w", encoding="utf-8") as full:
        command = [sys.executable, "-m", "podwire", "lab", "list"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


@pytest.mark.parametrize(("directory", "words"), [("", "must be the path of a folder"), ("/proc/none", "cannot be written to")])
def test_a_folder_that_plugins_cannot_be_written_to_is_named(directory: str, words: str) -> None:
    result = CliRunner().invoke(main, ["cni", "install", directory])
    assert (result.exit_code, f"Error: DIRECTORY: {directory!r}: {words}" in result.output) == (2, True)
