"""What the flannel plugin remembers of an attachment: the configuration that it gave to the delegate, as the Go plugin keeps it.

    <dataDir>/<container ID>            of eth0, the name that the Go plugin gives it whatever the interface is called
    <dataDir>/<container ID>:<ifname>   of any other; a colon can stand in neither

In Go two attachments of a container overwrite each other's file, and a power cut leaves an empty one, which it then keeps forever.
Here a file appears whole, by rename after fsync.
"""

from __future__ import annotations

import os

from cni.jsontext import Section, parse

_FIRST_IFNAME = "eth0"
_NEW = ".new-"


def path_of(folder: str, container_id: str, ifname: str) -> str:
    return f"{folder}/{container_id}" if ifname == _FIRST_IFNAME else f"{folder}/{container_id}:{ifname}"


def save(folder: str, container_id: str, ifname: str, conf: bytes) -> None:
    """Write the file of an attachment, in place of one that is there."""
    os.makedirs(folder, 0o700, exist_ok=True)
    path = path_of(folder, container_id, ifname)
    new = f"{folder}/{_NEW}{os.path.basename(path)}"
    file = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(file, conf)
        os.fsync(file)
    finally:
        os.close(file)
    os.replace(new, path)


def load(folder: str, network: str, container_id: str, ifname: str) -> Section | None:
    """The configuration of an attachment; None if there is none that can be used for this network.

    An interface other than eth0 without a file of its own may have one that the Go plugin wrote. The file's name does not tell
    the network: a file of another one would have the delegate remove what is not ours, and keep what is.
    """
    for path in dict.fromkeys((path_of(folder, container_id, ifname), f"{folder}/{container_id}")):
        found = _read(path)
        if _network_of(found) == network:
            return found
    return None


def remove(folder: str, network: str, container_id: str, ifname: str) -> None:
    """Remove the file of an attachment, also one that makes no sense, but not that of another network."""
    if _network_of(_read(path_of(folder, container_id, ifname))) not in (None, network):
        return
    try:
        os.unlink(path_of(folder, container_id, ifname))
    except FileNotFoundError:
        return


def attachments(folder: str, network: str) -> tuple[tuple[str, str], ...]:
    """(container ID, ifname) of the files of one network; the ifname is empty where the file's name has none.

    All networks share the folder, and somebody may have named one that holds other things: what a file says decides.
    """
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    ours = [name for name in names if _network_of(_read(f"{folder}/{name}")) == network]
    return tuple((container_id, ifname) for container_id, _, ifname in (name.partition(":") for name in ours))


def _network_of(saved: Section | None) -> str | None:
    """The network of a delegate's configuration as ADD writes it; None for anything else."""
    if saved is None or not isinstance(saved.value("type"), str) or not isinstance(saved.value("ipam"), dict):
        return None
    name: str | None = saved.value("name")
    return name


def remove_name(folder: str, container_id: str, ifname: str) -> None:
    """Remove the file that `attachments` listed as this pair."""
    os.unlink(f"{folder}/{container_id}:{ifname}" if ifname else f"{folder}/{container_id}")


def _read(path: str) -> Section | None:
    try:
        with open(path, "rb") as file:
            value = parse(file.read())
    except (OSError, ValueError):
        return None
    return Section(value) if isinstance(value, dict) else None
