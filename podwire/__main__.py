"""The `podwire` command. Errors become exit statuses here and nowhere else: 2 for what the operator must change, else 1."""

from __future__ import annotations

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
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise _BadConfig(str(error)) from error
        except (LabError, KernelError, StoreError) as error:
            raise _Failed(str(error)) from error


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
