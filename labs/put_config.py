"""Write the network configuration into a lab's store: `python -m labs.put_config STORE FILE`.

A program of its own, since the client of etcd keeps threads: they must be born in the namespace that reaches the server.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path

from datastore.errors import KeyExists, StoreError
from datastore.open import open_store
from labs.programs import CONFIG_KEY

PATIENCE_S = 30.0  # etcd needs a second or two until it elects itself
_PAUSE_S = 0.1


async def put_config(address: str, config: bytes, deadline: float) -> None:
    """Write the configuration, waiting for the store until `deadline` (monotonic seconds). One that is there is left.

    Raises:
        StoreError: the store did not answer in time.
    """
    while True:
        try:
            store = await open_store(address)
            try:
                await store.create(CONFIG_KEY, config)
            finally:
                await store.close()
        except KeyExists:
            return
        except StoreError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(_PAUSE_S)
        else:
            return


def main(argv: list[str]) -> int:
    address, path = argv
    try:
        asyncio.run(put_config(address, Path(path).read_bytes(), time.monotonic() + PATIENCE_S))
    except StoreError as error:
        print(f"store {address}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
