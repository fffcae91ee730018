"""The `podwire` command. Errors become exit statuses here and nowhere else: 2 for what the operator must change, else 1."""

from __future__ import annotations

import os
import sys
from errno import EPIPE
from typing import Any

import click

from dataplane.errors import ConfigError, KernelError
from datastore.errors import StoreError
from labs.errors import LabError
from podwire import VERSION
from podwire.cni_command import cni
from podwire.lab_command import lab


class _BadConfig(click.ClickException):
    """What click prints after `Error: `; the operator must change something."""

    exit_code = 2


class _Failed(click.ClickException):
    """The same for what did not work."""

    exit_code = 1


class _FrontDoor(click.Group):
    def main(self, *args: Any, **extra: Any) -> Any:
        for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
            if getattr(sys, name) is None:  # closed by the caller (`>&-`): else the next file we open would stand in its place
                setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115  for as long as we live
        return super().main(*args, **extra)

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise _BadConfig(str(error)) from error
        except (LabError, KernelError, StoreError) as error:
            raise _Failed(str(error)) from error
        except OSError as error:
            if error.errno == EPIPE:
                raise  # click ends quietly when the reader of our output has gone
            _let_go_of_output()
            where = f"{error.filename}: " if error.filename else ""
            raise _Failed(f"{where}{error.strerror or error}") from error


def _let_go_of_output() -> None:
    """What could not be written is still in stdout's buffer: Python would try again at its end, complain, and exit with 120."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@click.group(cls=_FrontDoor, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(VERSION, prog_name="podwire")
def main() -> None:
    """Container networking: CNI plugins, an overlay daemon, and labs that show every packet.

    \b
    podwire lab up flannel                      three nodes, two pods each
    podwire lab trace node1-pod1 node2-pod1     a ping on every device that it crosses
    podwire lab down                            and nothing is left
    """


main.add_command(lab)
main.add_command(cni)

if __name__ == "__main__":
    main()
