"""Trace one ping through a lab: listen everywhere, send, decode, tell."""

from __future__ import annotations

from dataplane.drivers.netlink import NetlinkDriver
from dataplane.errors import ConfigError
from dataplane.inet import IP
from dataplane.ownership import Scope
from dataplane.state import Object
from labs.check import read_addresses
from labs.layout import Layout
from labs.trace.capture import frames_of, taps
from labs.trace.decode import decode
from labs.trace.hop import Trace
from labs.trace.ping import ping
from labs.trace.story import NODE, OUTSIDE, POD, SWITCH, Step, in_order, tell

_ATTEMPTS = 3  # the first one may be lost while addresses are being resolved
_TIMEOUT_S = 1.0
_EVERYTHING = Scope(links=frozenset({"*"}), devices=frozenset({"*"}), routes=frozenset({4}))


def trace(layout: Layout, source: str, target: str) -> Trace:
    """The way of one ping from `source` to `target` (names of pods, nodes or the outside host) and back.

    Raises:
        ConfigError: no such place, or it has no address.
        KernelError: a namespace is gone.
    """
    kinds = _kinds(layout)
    for option, name in (("SRC", source), ("DST", target)):
        if kinds.get(name, SWITCH) == SWITCH:
            raise ConfigError(option, name, f"must be one of: {', '.join(n for n, kind in kinds.items() if kind != SWITCH)}")
    address = _address(layout, target)
    watched = {name: layout.netns(name) for name, kind in kinds.items() if kind != POD or name in (source, target)}
    with taps(watched) as sockets:
        for seq in range(1, _ATTEMPTS + 1):
            echo = ping(layout.netns(source), address, seq, _TIMEOUT_S)
            frames = in_order(frames_of(place, tap, echo.marker) for place, tap in sockets.items())
            if echo.rtt_ms is not None:
                break
    tables = {name: _table(path) for name, path in watched.items()}
    steps = [(frame, decode(frame.octets, frame.ethernet)) for frame in frames]
    request = tell([step for step in steps if _is_request(step)], kinds, tables)
    reply = tell([step for step in steps if not _is_request(step)], kinds, tables)
    network = layout.topology.network
    return Trace(layout.name, network.backend or network.plugin, source, target, address, echo.rtt_ms, request, reply, echo.error)


def _is_request(step: Step) -> bool:
    return any(layer.get("type") == "echo-request" for layer in step[1])


def _kinds(layout: Layout) -> dict[str, str]:
    topology = layout.topology
    pods_and_nodes = {**{pod.name: POD for pod in layout.pods}, **{node.name: NODE for node in topology.nodes}}
    return {**pods_and_nodes, topology.outside.name: OUTSIDE, topology.switch.name: SWITCH}


def _address(layout: Layout, name: str) -> IP:
    if name == layout.topology.outside.name:
        return layout.topology.outside.address
    if layout.pod(name) is None:
        return layout.address_of(name).address
    addresses = read_addresses(layout)[name]
    if not addresses:
        raise ConfigError("DST", name, "has no address; `podwire lab status` says what is wrong")
    return addresses[0]


def _table(netns: str) -> frozenset[Object]:
    driver = NetlinkDriver(netns)
    try:
        return driver.read(_EVERYTHING)
    finally:
        driver.close()
