"""Which requests carry out an operation."""

from __future__ import annotations

from errno import EADDRNOTAVAIL, EEXIST, ENODEV, ENOENT, EPERM, ESRCH

import pytest

from dataplane import rtnl
from dataplane.inet import parse_ip, parse_mac, parse_prefix
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.record import replace
from dataplane.rtnl_link import encode_port, encode_settings
from dataplane.rtnl_request import is_done, requests
from dataplane.state import Address, Bridge, FdbEntry, Link, Neighbor, Object, Route, Veth

INDICES = {"eth0": 7, "br0": 4}
CREATE, REPLACE, PLAIN = 0x601, 0x501, 1
IP4, MAC = parse_ip("10.0.0.2"), parse_mac("02:00:00:00:00:01")
ROUTE = Route(parse_prefix("10.1.0.0/16"), "eth0")
ADDRESS = Address("eth0", parse_prefix("10.0.0.1/24"))


@pytest.mark.parametrize(
    ("item", "new", "delete"),
    [
        (ROUTE, rtnl.RTM_NEWROUTE, rtnl.RTM_DELROUTE),
        (ADDRESS, rtnl.RTM_NEWADDR, rtnl.RTM_DELADDR),
        (Neighbor("eth0", IP4, MAC), rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH),
        (FdbEntry("eth0", MAC, IP4), rtnl.RTM_NEWNEIGH, rtnl.RTM_DELNEIGH),
    ],
)
def test_add_is_exclusive_and_set_replaces(item: Object, new: int, delete: int) -> None:
    for verb, want in ((ADD, (new, CREATE)), (SET, (new, REPLACE)), (REMOVE, (delete, PLAIN))):
        ((kind, flags, _body),) = requests(Op(verb, item), INDICES, {})
        assert (kind, flags) == want


def test_an_address_that_changes_is_made_anew() -> None:
    wish = replace(ADDRESS, broadcast=parse_ip("10.0.0.255"))
    sent = requests(Op(SET, wish, ADDRESS), INDICES, {})
    assert [(kind, flags) for kind, flags, _ in sent] == [(rtnl.RTM_DELADDR, PLAIN), (rtnl.RTM_NEWADDR, CREATE)]


LINK = Link("eth0", up=True, mtu=1400, master="br0", hairpin=True)
SETLINK = rtnl.RTM_SETLINK


@pytest.mark.parametrize(
    ("op", "want"),
    [
        (
            Op(SET, LINK),
            [
                (SETLINK, encode_settings(LINK, ["up", "mtu", "master"], INDICES)),
                (SETLINK, encode_port(LINK, ["hairpin"], INDICES)),
            ],
        ),
        (Op(SET, LINK, replace(LINK, mtu=1500)), [(SETLINK, encode_settings(LINK, ["mtu"], INDICES))]),
        (Op(SET, LINK, replace(LINK, hairpin=False)), [(SETLINK, encode_port(LINK, ["hairpin"], INDICES))]),
        # somebody else's device: nothing to make, but its absence must be told
        (Op(ADD, Link("eth0")), [(SETLINK, encode_settings(LINK, [], INDICES))]),
        (Op(ADD, Link("eth0", mtu=1400)), [(SETLINK, encode_settings(LINK, ["mtu"], INDICES))]),
    ],
)
def test_a_link_gets_the_settings_that_differ(op: Op, want: list[tuple[int, bytes]]) -> None:
    assert [(kind, body) for kind, _flags, body in requests(op, INDICES, {})] == want


def test_a_link_is_made_in_one_request_and_goes_in_one() -> None:
    bridge = Bridge("br1", mtu=1400)
    assert [(kind, flags) for kind, flags, _ in requests(Op(ADD, bridge), INDICES, {})] == [(rtnl.RTM_NEWLINK, CREATE)]
    assert [(kind, flags) for kind, flags, _ in requests(Op(REMOVE, bridge), INDICES, {})] == [(rtnl.RTM_DELLINK, PLAIN)]


def test_a_device_or_namespace_that_is_not_known_is_a_key_error() -> None:
    for op in (
        Op(ADD, replace(ROUTE, device="eth9")),
        Op(SET, replace(LINK, master="eth9")),
        Op(ADD, Veth("v0", peer_netns="/run/netns/x")),
    ):
        with pytest.raises(KeyError, match=r"eth9|/run/netns/x"):
            requests(op, INDICES, {})


def test_what_is_absent_is_as_good_as_removed() -> None:
    for kind in (rtnl.RTM_DELLINK, rtnl.RTM_DELADDR, rtnl.RTM_DELROUTE, rtnl.RTM_DELNEIGH):
        assert all(is_done(kind, errno) for errno in (ENOENT, ESRCH, ENODEV, EADDRNOTAVAIL))
        assert not is_done(kind, EPERM)
    assert not is_done(rtnl.RTM_NEWROUTE, ENODEV)
    assert not is_done(rtnl.RTM_NEWROUTE, EEXIST)
