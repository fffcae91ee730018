"""Reservations on disk, as the Go host-local keeps them, so that both can work on one folder at once (reference: backend/disk).

    <dataDir>/<network>/lock                 flock(2) while anything is read or written
    <dataDir>/<network>/10.1.0.5             "<container ID>\\r\\n<ifname>"; very old ones have the container ID alone
    <dataDir>/<network>/last_reserved_ip.0   the address given out last from range set 0

A reservation is written whole under another name and then linked to its own: it is there with its owner or not there at all. Go
creates it first and writes it then; what a crash or a power cut in between leaves is an empty file, which nobody can ever release.
Under the lock an empty file is no reservation in the making, so it counts as free here and is replaced. That also makes fsync
needless: what a power cut empties belonged to a container that did not survive it either.
"""

from __future__ import annotations

import os

from cni.filelock import Locked
from dataplane.inet import IP, parse_ip
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection

LOCK_NAME = "lock"
_LAST = "last_reserved_ip."
_NEW = ".reservation"  # one name for all: only the holder of the lock writes
_MAX_BYTES = 1 << 18  # more than CNI_CONTAINERID and CNI_IFNAME can be: the kernel limits a variable to 128 KiB
_FILE_MODE = 0o600
_DIR_MODE = 0o755


@record
class Holder:
    """Who an address is reserved for. `ifname` is empty in files of very old versions: then the container's name decides."""

    container_id: str
    ifname: str

    def is_for(self, container_id: str, ifname: str) -> bool:
        return self.container_id == container_id and self.ifname in ("", ifname)


class Store:
    """The folder of one network. All but `lock` and `exists` want the lock to be held."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def exists(self) -> bool:
        return os.path.isdir(self.folder)

    def create(self) -> None:
        os.makedirs(self.folder, _DIR_MODE, exist_ok=True)

    def lock(self) -> Locked:
        return Locked(f"{self.folder}/{LOCK_NAME}", create=True)

    def reservations(self) -> dict[IP, Holder]:
        """Every address that is taken, and by whom."""
        found = {}
        for name in os.listdir(self.folder):
            address = _address_of(name)
            text = self._read(name) if address is not None else ""
            if address is not None and text:
                container_id, _, ifname = text.partition("\n")
                found[address] = Holder(container_id.strip(), ifname.strip())
        return found

    def reserve(self, address: IP, container_id: str, ifname: str, range_index: int) -> bool:
        """Take an address that `reservations` did not list; False if it is taken all the same."""
        new, name = f"{self.folder}/{_NEW}", f"{self.folder}/{address}"
        _write(new, f"{container_id}\r\n{ifname}")
        try:
            _link(new, name)
        except FileExistsError:
            return False
        finally:
            os.unlink(new)
        self._put(f"{_LAST}{range_index}", str(address))
        return True

    def release(self, addresses: Collection[IP]) -> None:
        """Give addresses back; those that are free already are no error."""
        for address in addresses:
            try:
                os.unlink(f"{self.folder}/{address}")
            except FileNotFoundError:
                continue

    def last_reserved(self, range_index: int) -> IP | None:
        """The address given out last from a range set; None if there was none or the file makes no sense."""
        return _address_of(self._read(f"{_LAST}{range_index}").strip())

    def _put(self, name: str, text: str) -> None:
        new = f"{self.folder}/{_NEW}"
        _write(new, text)
        os.replace(new, f"{self.folder}/{name}")

    def _read(self, name: str) -> str:
        try:
            file = os.open(f"{self.folder}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return ""
        try:
            return os.read(file, _MAX_BYTES).decode(errors="replace").strip()
        except IsADirectoryError:
            return ""
        finally:
            os.close(file)


def _address_of(name: str) -> IP | None:
    """The address that a file is named after; None for the lock, the last address, and anything else."""
    if not name or name[0] == "." or name == LOCK_NAME or name.startswith(_LAST):
        return None
    try:
        return parse_ip(name)
    except ValueError:
        return None


def _write(path: str, text: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, _FILE_MODE)
    try:
        os.write(file, text.encode())
    finally:
        os.close(file)


def _link(new: str, name: str) -> None:
    """link(2), over an empty file that a crash has left."""
    try:
        os.link(new, name)
    except FileExistsError:
        if os.stat(name).st_size:
            raise
        os.unlink(name)
        os.link(new, name)
