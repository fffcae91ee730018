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


def load(folder: str, container_id: str, ifname: str) -> Section | None:
    """The configuration of an attachment; None if there is none that can be read.

    An interface other than eth0 without a file of its own may have one that the Go plugin wrote.
    """
    for path in dict.fromkeys((path_of(folder, container_id, ifname), f"{folder}/{container_id}")):
        found = _read(path)
        if found is not None:
            return found
    return None


def remove(folder: str, container_id: str, ifname: str) -> None:
    try:
        os.unlink(path_of(folder, container_id, ifname))
    except FileNotFoundError:
        return


def attachments(folder: str) -> tuple[tuple[str, str], ...]:
    """(container ID, ifname) of all files; the ifname is empty where the name has none."""
    if not os.path.isdir(folder):
        return ()
    pairs = (name.partition(":") for name in sorted(os.listdir(folder)) if not name.startswith("."))
    return tuple((container_id, ifname) for container_id, _, ifname in pairs)


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
