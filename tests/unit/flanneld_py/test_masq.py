"""flannel's rules, word for word."""

from __future__ import annotations

from dataplane.inet import parse_prefix
from dataplane.netfilter import Chain, Jump
from flanneld_py.masq import forward, masquerade

NETWORK, SUBNET = parse_prefix("10.244.0.0/16"), parse_prefix("10.244.3.0/24")
MASQ, FORWARD = '-m comment --comment "flanneld masq"', '-m comment --comment "flanneld forward"'


def test_masquerading_is_flannels() -> None:
    assert masquerade(NETWORK, SUBNET, random_fully=True) == {
        Jump(4, "nat", "POSTROUTING", f"{MASQ} -j FLANNEL-POSTRTG"),
        Chain(
            4,
            "nat",
            "FLANNEL-POSTRTG",
            (
                f"-m mark --mark 0x4000/0x4000 {MASQ} -j RETURN",
                f"-s 10.244.3.0/24 -d 10.244.0.0/16 {MASQ} -j RETURN",
                f"-s 10.244.0.0/16 -d 10.244.3.0/24 {MASQ} -j RETURN",
                f"! -s 10.244.0.0/16 -d 10.244.3.0/24 {MASQ} -j RETURN",
                f"-s 10.244.0.0/16 ! -d 224.0.0.0/4 {MASQ} -j MASQUERADE --random-fully",
                f"! -s 10.244.0.0/16 -d 10.244.0.0/16 {MASQ} -j MASQUERADE --random-fully",
            ),
        ),
    }


def test_forwarding_is_flannels() -> None:
    assert forward(NETWORK) == {
        Jump(4, "filter", "FORWARD", f"{FORWARD} -j FLANNEL-FWD"),
        Chain(4, "filter", "FLANNEL-FWD", (f"-s 10.244.0.0/16 {FORWARD} -j ACCEPT", f"-d 10.244.0.0/16 {FORWARD} -j ACCEPT")),
    }
