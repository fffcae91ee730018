"""The plugins by the name of their executable, and the start of one: the process's edges meet `skel.run` here."""

from __future__ import annotations

import os

from cni.errors import as_cni_error
from cni.jsontext import render
from cni.version import CURRENT

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.skel import Plugin

NAMES: dict[str, str] = {
    "bridge": "cni.bridge.plugin",
    "ptp": "cni.ptp.plugin",
    "loopback": "cni.loopback.plugin",
    "host-local": "cni.host_local_ipam.plugin",
    "flannel": "cni.flannel.plugin",
}
_CHUNK_BYTES = 65536


def load(name: str) -> Plugin:
    """The plugin behind an executable's name. Only its own modules are imported."""
    plugin: Plugin = __import__(NAMES[name], fromlist=["PLUGIN"]).PLUGIN
    return plugin


def main(name: str) -> int:
    """Run plugin `name` on this process's environment, stdin and stdout; the exit status."""
    try:
        from cni.skel import run  # noqa: PLC0415  an installation that cannot be imported must say so as JSON, too

        plugin = load(name)
    except BaseException as error:  # noqa: BLE001
        _write(1, render(as_cni_error(error).document(CURRENT)))
        return 1
    return run(plugin, os.environ, _read_stdin, lambda text: _write(1, text), lambda text: _write(2, text))


def _read_stdin() -> bytes:
    parts = []
    while part := os.read(0, _CHUNK_BYTES):
        parts.append(part)
    return b"".join(parts)


def _write(file: int, text: str) -> None:
    left = text.encode()
    while left:
        left = left[os.write(file, left) :]
