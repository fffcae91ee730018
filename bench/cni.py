"""Our CNI plugins against the packaged Go ones: whole processes, started as a runtime starts them, cold but for the page cache.

Each side has a host and pods of its own, in network namespaces that are gone afterwards. A pod stays attached all the time, so
that the bridge is as on a node at work. An ADD is measured and then undone by a DEL that is not, and the other way round.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from bench.report import Case, options, run, seconds
from cni.install import install
from dataplane.drivers import netns
from dataplane.drivers.run import SYSTEM_PATH
from dataplane.drivers.run import run as execute
from dataplane.inet import parse_ip

GO_PLUGINS = "/usr/lib/cni"
PEER = "Go plugins"
VERSION = "1.0.0"  # the newest that Debian's Go plugins know
FAMILIES = {"v4": ["10.77.0.0/16"], "dual": ["10.77.0.0/16", "fd77::/64"]}
RESERVATIONS = 10_000
REPEATS = 15


class Side:
    """One implementation with a host, two pods and a folder of reservations."""

    def __init__(self, stack: ExitStack, folder: str, name: str, plugins: str) -> None:
        self.plugins, self.data = plugins, os.path.join(folder, name)
        self.host, self.resident, self.pod = (self._namespace(stack, f"{name}-{role}") for role in ("host", "resident", "pod"))

    @staticmethod
    def _namespace(stack: ExitStack, name: str) -> str:
        path = f"/run/netns/podwire-bench-{os.getpid()}-{name}"
        netns.create(path)
        stack.callback(netns.delete, path)
        return path

    def network(self, family: str, masquerade: bool) -> dict[str, Any]:
        """A network with a bridge of its own, on which a pod lives."""
        name = f"{family}{'masq' if masquerade else ''}"
        conf = {
            **{"cniVersion": VERSION, "name": name, "type": "bridge", "bridge": f"bench{name}", "isGateway": True},
            "ipMasq": masquerade,
            "ipam": self._ipam(FAMILIES[family], [{"dst": "0.0.0.0/0"}]),
        }
        self.call("ADD", conf, "resident", self.resident, name)
        return conf

    def crowded(self) -> dict[str, Any]:
        """host-local alone, in a range with many reservations."""
        conf = {"cniVersion": VERSION, "name": "crowd", "type": "host-local", "ipam": self._ipam(FAMILIES["v4"], [])}
        folder = Path(self.data) / "crowd"
        folder.mkdir(parents=True)
        first = parse_ip("10.77.0.2")
        for number in range(RESERVATIONS):
            (folder / str(first + number)).write_text(f"container-{number}\r\neth0")
        (folder / "last_reserved_ip.0").write_text(str(first + (RESERVATIONS - 1)))
        return conf

    def _ipam(self, subnets: list[str], routes: list[dict[str, str]]) -> dict[str, Any]:
        ranges = [[{"subnet": subnet}] for subnet in subnets]
        return {"type": "host-local", "dataDir": self.data, "ranges": ranges, "routes": routes}

    def call(self, command: str, conf: dict[str, Any], container_id: str, pod: str, ifname: str = "eth0") -> None:
        """Execute the plugin that the configuration names."""
        given = {
            **{"CNI_COMMAND": command, "CNI_CONTAINERID": container_id, "CNI_NETNS": pod, "CNI_IFNAME": ifname},
            **{"CNI_PATH": self.plugins, "PATH": SYSTEM_PATH},
        }
        ran = execute([f"{self.plugins}/{conf['type']}"], json.dumps(conf).encode(), self.host, given)
        if ran.status:
            raise RuntimeError(f"{self.plugins}/{conf['type']} {command}: {ran.stdout.decode()}{ran.stderr.decode()}")

    def timed(self, measured: str, conf: dict[str, Any]) -> Callable[[], float]:
        """Milliseconds of the ADD or of the DEL of one attachment."""

        def once() -> float:
            cost = {"ADD": self._milliseconds("ADD", conf), "DEL": self._milliseconds("DEL", conf)}
            return cost[measured]

        return once

    def _milliseconds(self, command: str, conf: dict[str, Any]) -> float:
        return seconds(lambda: self.call(command, conf, "c1", self.pod)) * 1e3


# Name, configuration, verb, must, goal
_CASES: tuple[tuple[str, Callable[[Side], dict[str, Any]], tuple[tuple[str, float | None, float | None], ...]], ...] = (
    ("bridge v4", lambda side: side.network("v4", False), (("ADD", 1.5, 1.0), ("DEL", 0.7, None))),
    ("bridge v4 + ipMasq", lambda side: side.network("v4", True), (("ADD", 0.7, None), ("DEL", 0.4, None))),
    ("bridge dual + ipMasq", lambda side: side.network("dual", True), (("ADD", 0.35, None), ("DEL", 0.3, None))),
    (f"host-local, {RESERVATIONS} reservations", lambda side: side.crowded(), (("ADD", None, None),)),
)


def _cases(ours: Side, peer: Side, only: str | None) -> list[Case]:
    """Only what is asked for is set up."""
    made = []
    for name, conf_of, verbs in _CASES:
        wanted = [row for row in verbs if only in (None, f"{name} {row[0]}")]
        if wanted:
            our_conf, peer_conf = conf_of(ours), conf_of(peer)
        for verb, must, goal in wanted:
            work = ours.timed(verb, our_conf), peer.timed(verb, peer_conf)
            made.append(Case(f"{name} {verb}", *work, PEER, "ms", must, goal, REPEATS))
    return made


@click.command()
@options
def main(as_json: bool, quick: bool, only: str | None) -> None:
    """Compare podwire's CNI plugins with the Go ones of Debian's containernetworking-plugins."""
    if not os.path.exists(f"{GO_PLUGINS}/bridge"):
        raise click.UsageError(f"no Go plugins in {GO_PLUGINS}: apt-get install containernetworking-plugins")
    names = [f"{name} {verb}" for name, _, verbs in _CASES for verb, _, _ in verbs]
    if only is not None and only not in names:
        raise click.UsageError(f"no case {only!r}; cases are: {', '.join(names)}")
    folder = tempfile.mkdtemp(prefix="podwire-bench-")
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder)
        install(f"{folder}/bin")
        sides = Side(stack, folder, "ours", f"{folder}/bin"), Side(stack, folder, "peer", GO_PLUGINS)
        status = run("cni", _cases(*sides, only), as_json=as_json, quick=quick, only=only)
    sys.exit(status)


if __name__ == "__main__":
    main()
