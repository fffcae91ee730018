"""The `podwire` command. Errors become exit statuses here and nowhere else: 2 for what the operator must change, else 1."""

from __future__ import annotations

import click

from dataplane.errors import ConfigError, KernelError
from datastore.errors import StoreError
from labs.errors import LabError
from podwire import VERSION
from podwire.lab_command import lab


class _Refusal(click.ClickException):
    """What click prints after `Error: `, with the exit status of our own."""

    def __init__(self, error: Exception, exit_code: int) -> None:
        super().__init__(str(error))
        self.exit_code = exit_code


class _FrontDoor(click.Group):
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise _Refusal(error, 2) from error
        except (LabError, KernelError, StoreError) as error:
            raise _Refusal(error, 1) from error


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

if __name__ == "__main__":
    main()
