"""`flanneld-py`: flanneld's command line. Exit status: 0 stopped, 1 the machine does not let us, 2 configuration, 3 lease lost."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import TYPE_CHECKING

from dataplane.errors import ConfigError, KernelError
from datastore.errors import BadStoreAddress
from flanneld_py.daemon import run
from flanneld_py.flags import command, parse_flags
from flanneld_py.registry import LeaseLost

if TYPE_CHECKING:
    from typing import Any

# What is raised, and the exit status that it means. systemd's Restart=on-failure starts again after each of them.
_STATUS: dict[type[Exception], int] = {ConfigError: 2, BadStoreAddress: 2, LeaseLost: 3, KernelError: 1}


def serve(**values: Any) -> None:
    """Run the daemon with the values of the command line."""
    try:
        flags = parse_flags(values)
        logging.basicConfig(
            level=logging.DEBUG if flags.verbosity else logging.INFO,
            format="%(asctime)s %(levelname)s %(name)s %(message)s",
            stream=sys.stderr,
        )
        for chatty in ("asyncio", "grpc"):
            logging.getLogger(chatty).setLevel(logging.WARNING)
        asyncio.run(run(flags))
    except tuple(_STATUS) as error:
        print(f"flanneld-py: {error}", file=sys.stderr)
        sys.exit(next(status for kind, status in _STATUS.items() if isinstance(error, kind)))


main = command(serve)

if __name__ == "__main__":
    main()
