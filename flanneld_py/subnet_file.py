"""subnet.env: what the CNI plugin `flannel`, Docker and people read to learn the node's subnet (flannel pkg/subnet/subnet.go).

No quotes, ever: the CNI plugin's reader splits at the first `=` and takes the rest as it is.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dataplane.inet import Prefix, parse_prefix

if TYPE_CHECKING:
    from collections.abc import Mapping

FILE_MODE, FOLDER_MODE = 0o644, 0o755


def render(network: Prefix, subnet: Prefix, mtu: int, ip_masq: bool) -> str:
    """The file's text. FLANNEL_SUBNET carries the first host's address, which becomes the bridge's."""
    return (
        f"FLANNEL_NETWORK={network}\n"
        f"FLANNEL_SUBNET={subnet.first + 1}/{subnet.length}\n"
        f"FLANNEL_MTU={mtu}\n"
        f"FLANNEL_IPMASQ={str(ip_masq).lower()}\n"
    )


def write(path: str, text: str) -> None:
    """Replace the file in one step, readable by everybody whatever the umask.

    Raises:
        OSError: the file or its folder cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(path))
    os.makedirs(folder, FOLDER_MODE, exist_ok=True)
    draft = os.path.join(folder, f".{os.path.basename(path)}.{os.getpid()}")
    try:
        with open(draft, "w", encoding="ascii") as file:
            os.fchmod(file.fileno(), FILE_MODE)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError:
        if os.path.exists(draft):
            os.unlink(draft)
        raise


def read(path: str) -> str:
    """The file's text, or nothing when it is not there or not text."""
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except (OSError, UnicodeDecodeError):
        return ""


def previous_subnet(text: str) -> Prefix | None:
    """The subnet that this node had when the file was written. A list of several says nothing, as with flannel."""
    value = parse_env(text).get("FLANNEL_SUBNET", "")
    try:
        return parse_prefix(value).network
    except ValueError:
        return None


def parse_env(text: str) -> Mapping[str, str]:
    """NAME=value lines as shells and env files write them: comments, `export`, blanks and quotes around values."""
    found = {}
    for line in text.splitlines():
        name, equals, value = line.strip().removeprefix("export ").partition("=")
        if equals and not name.lstrip().startswith("#"):
            found[name.strip()] = value.strip().strip("\"'")
    return found
