"""Masquerading and forwarding: flannel's rules, in flannel's order, in the text that iptables-save prints.

    nat     POSTROUTING -> FLANNEL-POSTRTG   pods reach the outside with the node's address, and one another with their own
    filter  FORWARD -> FLANNEL-FWD           lets pods through where Docker has set the policy of FORWARD to DROP

The reference is flannel's pkg/trafficmngr/iptables; its end-to-end tests grep for these texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dataplane.netfilter import Chain, Jump, comment

if TYPE_CHECKING:
    from dataplane.inet import Prefix
    from dataplane.state import Object

MASQ_CHAIN, FORWARD_CHAIN = "FLANNEL-POSTRTG", "FLANNEL-FWD"
MASQ_COMMENT, FORWARD_COMMENT = "flanneld masq", "flanneld forward"
TABLES = frozenset({(4, "nat"), (4, "filter")})
KUBE_MARK = "0x4000/0x4000"  # kube-proxy has marked the packet for its own masquerading


def masquerade(network: Prefix, subnet: Prefix, random_fully: bool) -> frozenset[Object]:
    """Masquerade what leaves the network, and what enters it from outside; leave alone what stays inside.

    Args:
        network: the whole overlay.
        subnet: this node's part.
        random_fully: choose source ports at random, against collisions of parallel connections.
    """
    said = comment(MASQ_COMMENT)
    masquerade_target = "-j MASQUERADE --random-fully" if random_fully else "-j MASQUERADE"
    rules = (
        f"-m mark --mark {KUBE_MARK} {said} -j RETURN",
        f"-s {subnet} -d {network} {said} -j RETURN",
        f"-s {network} -d {subnet} {said} -j RETURN",
        f"! -s {network} -d {subnet} {said} -j RETURN",
        f"-s {network} ! -d 224.0.0.0/4 {said} {masquerade_target}",
        f"! -s {network} -d {network} {said} {masquerade_target}",
    )
    return frozenset({Chain(4, "nat", MASQ_CHAIN, rules), Jump(4, "nat", "POSTROUTING", f"{said} -j {MASQ_CHAIN}")})


def forward(network: Prefix) -> frozenset[Object]:
    """Accept what comes from or goes to the network."""
    said = comment(FORWARD_COMMENT)
    rules = (f"-s {network} {said} -j ACCEPT", f"-d {network} {said} -j ACCEPT")
    return frozenset({Chain(4, "filter", FORWARD_CHAIN, rules), Jump(4, "filter", "FORWARD", f"{said} -j {FORWARD_CHAIN}")})
