"""The invariants of difference, order and ownership, on random worlds and the kernel in memory."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from dataplane.delta import delta
from dataplane.fake import FakeKernel
from dataplane.inet import Mac, parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump, comment
from dataplane.ownership import Owner, scope_of
from dataplane.plan import ADD, plan
from dataplane.reconcile import compare, reconcile
from dataplane.state import (
    PROTO_FLANNELD,
    PROTO_STATIC,
    Address,
    Bridge,
    FdbEntry,
    Link,
    Neighbor,
    Object,
    Route,
    Sysctl,
    Veth,
    Vxlan,
    agrees,
)

OWNER = Owner(
    name="test",
    link_prefixes=("pw",),
    settings=frozenset({"eth0"}),
    route_protocol=PROTO_FLANNELD,
    chain_prefixes=("PODWIRE-",),
    comments=frozenset({'name: "ours" id: "1"'}),
    tables=frozenset({(4, "nat"), (6, "nat"), (4, "filter")}),
)
OURS = comment('name: "ours" id: "1"')
CHAINS = [f"PODWIRE-{letter}" for letter in "abcd"]
SUBNETS = ["10.1.0.0/16", "10.2.0.0/24", "fd00:1::/64"]
# What others have, in every world: it must come through every turn unchanged.
FOREIGN: tuple[Object, ...] = (
    Link("lo", up=True),
    Link("eth0", up=True, mtu=1500, master=""),
    Bridge("docker0", up=True, mtu=1500, master=""),
    Address("eth0", parse_prefix("192.0.2.1/24")),
    Address("docker0", parse_prefix("172.17.0.1/16")),
    Route(parse_prefix("0.0.0.0/0"), "eth0", parse_ip("192.0.2.254"), protocol=PROTO_STATIC),
    Route(parse_prefix("198.51.100.0/24"), "docker0", protocol=PROTO_STATIC),
    Chain(4, "nat", "DOCKER", ("-i docker0 -j RETURN",)),
    Jump(4, "nat", "PREROUTING", "-m addrtype --dst-type LOCAL -j DOCKER"),
    Jump(4, "filter", "FORWARD", '-m comment --comment "someone\'s" -j ACCEPT'),
)


def wished_links(draw: st.DrawFn, pick: st.SearchStrategy[bool]) -> list[Link]:
    """A bridge, two veths that may be its ports, and a tunnel over the uplink or over the bridge."""
    mtu = st.sampled_from([None, 1400, 1450])
    links: list[Link] = []
    bridge = draw(pick)
    if bridge:
        links.append(draw(st.sampled_from([Bridge("pwbr", mtu=draw(mtu)), Vxlan("pwbr", vni=7, underlay="eth0")])))
    masters = [None, ""] + (["pwbr"] if bridge and isinstance(links[0], Bridge) else [])
    for number in (0, 1):
        if draw(pick):
            links.append(Veth(f"pwv{number}", mtu=draw(mtu), master=draw(st.sampled_from(masters)), peer_netns="/run/netns/pod"))
    if draw(pick):
        underlay = draw(st.sampled_from(["eth0", "pwbr"] if bridge and isinstance(links[0], Bridge) else ["eth0"]))
        links.append(Vxlan("pwx", vni=draw(st.sampled_from([1, 2])), underlay=underlay, mtu=draw(mtu)))
    return links


def things_on(draw: st.DrawFn, pick: st.SearchStrategy[bool], device: str) -> list[Object]:
    """Addresses, neighbours, forwarding entries and sysctls of one device."""
    things: list[Object] = []
    for host in ("10.1.0.1/16", "10.1.0.2/16", "10.2.0.1/24", "fd00:1::1/64"):
        if draw(pick):
            things.append(Address(device, parse_prefix(host), scope=draw(st.sampled_from([None, 0, 253]))))
    mac = Mac(b"\x0a\x58" + bytes(3) + bytes([draw(st.integers(1, 3))]))
    if draw(pick):
        things.append(Neighbor(device, parse_ip("10.1.0.9"), mac))
    if draw(pick):
        things.append(FdbEntry(device, mac, parse_ip(f"192.0.2.{draw(st.integers(2, 4))}")))
    if draw(pick):
        things.append(Sysctl(f"net/ipv4/conf/{device}/forwarding", draw(st.sampled_from("01"))))
    return things


def routes_over(draw: st.DrawFn, pick: st.SearchStrategy[bool], devices: list[str]) -> list[Object]:
    """Routes to remote subnets: straight, over a gateway behind one of them, or refused."""
    routes: list[Object] = []
    for subnet in ("10.9.1.0/24", "10.9.2.0/24", "fd00:9::/64"):
        if draw(pick):
            dst = parse_prefix(subnet)
            gateway = parse_ip("10.9.1.1" if dst.version == 4 else "fd00:9:1::1")
            device = draw(st.sampled_from(devices))
            via = draw(st.sampled_from([None, gateway]))
            onlink = True if via else None
            routes.append(Route(dst, device, via, protocol=PROTO_FLANNELD, onlink=onlink, metric=1024 if dst.version == 6 else 0))
    return routes


def chains_and_jumps(draw: st.DrawFn, pick: st.SearchStrategy[bool]) -> list[Object]:
    """Chains that jump to later ones only, so there is no circle; and jumps to those that exist."""
    items: list[Object] = []
    for family, table, hook in ((4, "nat", "POSTROUTING"), (6, "nat", "POSTROUTING"), (4, "filter", "FORWARD")):
        names = [name for name in draw(st.permutations(CHAINS)) if draw(pick)]
        for i, name in enumerate(names):
            targets = draw(st.lists(st.sampled_from([*names[i + 1 :], "RETURN", "ACCEPT"]), max_size=3))
            items.append(Chain(family, table, name, tuple(f"{OURS} -j {target}" for target in targets)))
            if draw(pick):
                items.append(Jump(family, table, hook, f"{OURS} -j {name}", first=draw(st.booleans())))
    return items


@st.composite
def worlds(draw: st.DrawFn) -> frozenset[Object]:
    """A consistent set of objects of ours, as a wish can name them."""
    pick = st.booleans()
    links = wished_links(draw, pick)
    devices = [link.name for link in links]
    items: list[Object] = [*links, *chains_and_jumps(draw, pick)]
    for device in devices:
        items += things_on(draw, pick, device)
    if devices:
        items += routes_over(draw, pick, devices)
    if draw(pick):
        items.append(Sysctl("net/ipv4/ip_forward", draw(st.sampled_from("01"))))
    if draw(pick):
        items.append(Link("eth0", mtu=draw(st.sampled_from([None, 1400, 1500]))))
    return frozenset(items)


def kernel_with(world: frozenset[Object], fail_at: int | None = None) -> FakeKernel:
    """A kernel that holds what others have, and has been brought to `world`."""
    kernel = FakeKernel(FOREIGN)
    assert reconcile(kernel, world, OWNER).converged
    return FakeKernel(kernel.objects.values(), fail_at)


def holds(kernel: FakeKernel, wish: frozenset[Object]) -> bool:
    """All that is wished for is there, and nothing else of ours."""
    keys = {item.key for item in wish}
    there = all(item.key in kernel.objects and agrees(item, kernel.objects[item.key]) for item in wish)
    return there and not [item for key, item in kernel.objects.items() if key not in keys and OWNER.owns(item)]


def foreign_objects(kernel: FakeKernel) -> set[Object]:
    """All that we neither own nor may set."""
    return {item for item in kernel.objects.values() if not OWNER.may_change(item)}


def assert_consistent(kernel: FakeKernel) -> None:
    """No object hangs on a device that is not there, and no rule names a chain that is not there."""
    links = {item.name for item in kernel.objects.values() if isinstance(item, Link)}
    chains = {(item.family, item.table, item.name) for item in kernel.objects.values() if isinstance(item, Chain)}
    for item in kernel.objects.values():
        assert item.dev is None or item.dev in links, item
        if isinstance(item, Link):
            assert not item.master or item.master in links, item
        if isinstance(item, (Chain, Jump)):
            targets = item.targets if isinstance(item, Chain) else {item.target}
            named = {(item.family, item.table, name) for name in targets if name.startswith("PODWIRE-")}
            assert named <= chains, item


@given(worlds(), worlds())
def test_applying_the_difference_gives_the_wish(before: frozenset[Object], wish: frozenset[Object]) -> None:
    kernel = kernel_with(before)
    turn = reconcile(kernel, wish, OWNER)
    assert turn.converged, turn
    assert holds(kernel, wish)


@given(worlds(), worlds())
def test_converged_means_an_empty_plan(before: frozenset[Object], wish: frozenset[Object]) -> None:
    kernel = kernel_with(before)
    reconcile(kernel, wish, OWNER)
    found = compare(kernel, wish, OWNER)
    assert not found
    assert plan(found, wish) == ()


@given(worlds(), worlds())
def test_what_others_have_is_never_touched(before: frozenset[Object], wish: frozenset[Object]) -> None:
    kernel = kernel_with(before)
    foreign = foreign_objects(kernel)
    assert {item for item in FOREIGN if not OWNER.may_change(item)} <= foreign
    turn = reconcile(kernel, wish, OWNER)
    assert foreign_objects(kernel) == foreign
    assert all(OWNER.may_change(op.item) for op in turn.done)


@given(worlds(), worlds(), st.randoms(use_true_random=False))
def test_the_plan_does_not_depend_on_the_order_of_the_inputs(
    before: frozenset[Object], wish: frozenset[Object], random: Random
) -> None:
    kernel = kernel_with(before)
    actual = list(kernel.read(scope_of(OWNER, wish)))
    wished = list(wish)
    first = delta(wished, actual, OWNER.may_change)
    random.shuffle(actual)
    random.shuffle(wished)
    second = delta([*wished, *wished], actual, OWNER.may_change)
    assert second == first
    assert plan(second, wished) == plan(first, sorted(wish, key=repr))


@given(worlds(), worlds())
def test_after_every_step_of_a_plan_nothing_dangles(before: frozenset[Object], wish: frozenset[Object]) -> None:
    kernel = kernel_with(before)
    for op in plan(compare(kernel, wish, OWNER), wish):
        assert kernel.apply([op]) == ()
        assert_consistent(kernel)


@given(worlds(), worlds())
def test_a_turn_that_failed_anywhere_is_made_good_by_the_next(before: frozenset[Object], wish: frozenset[Object]) -> None:
    steps = len(plan(compare(kernel_with(before), wish, OWNER), wish))
    for fail_at in range(steps):
        kernel = kernel_with(before, fail_at)
        assert not reconcile(kernel, wish, OWNER).converged
        assert_consistent(kernel)
        assert reconcile(kernel, wish, OWNER).converged, fail_at
        assert holds(kernel, wish), fail_at


@given(worlds(), st.data())
def test_a_rebuilt_device_brings_back_all_that_hangs_on_it(world: frozenset[Object], data: st.DataObject) -> None:
    kernel = kernel_with(world)
    ours = sorted(item.name for item in world if isinstance(item, Link) and item.name.startswith("pw"))
    spoilt = data.draw(st.sets(st.sampled_from(ours))) if ours else set()
    for name in spoilt:  # somebody put a device of another kind in its place
        kernel.objects["link", name] = Vxlan(name, up=True, vni=99)
    turn = reconcile(kernel, world, OWNER)
    assert turn.converged
    assert holds(kernel, world)
    assert {op.item.key for op in turn.done if op.verb == ADD} >= {item.key for item in world if item.dev in spoilt}


@given(worlds())
def test_wishing_for_nothing_leaves_what_was_there_before_us(world: frozenset[Object]) -> None:
    kernel = kernel_with(world)
    assert reconcile(kernel, (), OWNER).converged
    assert {key for key, item in kernel.objects.items() if not isinstance(item, Sysctl)} == {item.key for item in FOREIGN}
