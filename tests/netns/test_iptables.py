"""Chains and rules through the real tools, both generations, in a namespace of the test's own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from errno import EAGAIN
from fcntl import LOCK_EX, flock
from pathlib import Path

import pytest

from dataplane.drivers.iptables import IptablesDriver
from dataplane.drivers.netns import create, delete
from dataplane.drivers.run import Ran, run
from dataplane.errors import KernelError
from dataplane.netfilter import Chain, Jump, comment
from dataplane.ownership import Owner, Scope
from dataplane.plan import ADD, REMOVE, SET, Op
from dataplane.reconcile import compare, reconcile
from dataplane.state import Object

NAT = Scope(tables=frozenset({(4, "nat"), (6, "nat")}))
FLANNEL = Owner(
    name="flanneld",
    chains=frozenset({"FLANNEL-POSTRTG", "FLANNEL-FWD"}),
    comments=frozenset({"flanneld masq", "flanneld forward"}),
    tables=frozenset({(4, "nat"), (4, "filter"), (6, "nat"), (6, "filter")}),
)
ODD_COMMENTS = [
    "plain",
    "b_c-d",
    "two words",
    "",
    "it's",
    'say "hi"',
    "back\\slash",
    "a/b:c,d=e",
    "grün €",
    "$x `id` %s;#!",
    "x" * 300,
    "é" * 200,
]


class Namespace:
    """A namespace with the tool's two programs in it."""

    def __init__(self, path: str, backend: str) -> None:
        self.path, self.backend = path, backend
        self.driver = IptablesDriver(path, backend)

    def tool(self, tool: str, *args: str, stdin: bytes = b"") -> Ran:
        """`iptables` or `ip6tables`, or their `-save`, of this generation."""
        base, dash, task = tool.partition("-")
        return run([f"{base}-{self.backend}{dash}{task}", *args], stdin, self.path)

    def saved(self, table: str = "nat", tool: str = "iptables-save") -> list[str]:
        return [line for line in self.tool(tool, "-t", table).stdout.decode().splitlines() if not line.startswith("#")]


@pytest.fixture(params=["nft", "legacy"])
def there(request: pytest.FixtureRequest) -> Iterator[Namespace]:
    path = f"/run/netns/pwt{os.getpid()}-ipt"
    create(path)
    try:
        yield Namespace(path, request.param)
    finally:
        delete(path)


def flannel_objects(family: int) -> frozenset[Object]:
    """What flanneld writes for masquerading and forwarding, in its order."""
    network, subnet, multicast = {
        4: ("10.244.0.0/16", "10.244.1.0/24", "224.0.0.0/4"),
        6: ("fd00:244::/48", "fd00:244:0:1::/64", "ff00::/8"),
    }[family]
    masq, forward = comment("flanneld masq"), comment("flanneld forward")
    postrtg = (
        f"-m mark --mark 0x4000/0x4000 {masq} -j RETURN",
        f"-s {subnet} -d {network} {masq} -j RETURN",
        f"-s {network} -d {subnet} {masq} -j RETURN",
        f"! -s {network} -d {subnet} {masq} -j RETURN",
        f"-s {network} ! -d {multicast} {masq} -j MASQUERADE --random-fully",
        f"! -s {network} -d {network} {masq} -j MASQUERADE --random-fully",
    )
    return frozenset(
        {
            Chain(family, "nat", "FLANNEL-POSTRTG", postrtg),
            Jump(family, "nat", "POSTROUTING", f"{masq} -j FLANNEL-POSTRTG"),
            Chain(family, "filter", "FLANNEL-FWD", (f"-s {network} {forward} -j ACCEPT", f"-d {network} {forward} -j ACCEPT")),
            Jump(family, "filter", "FORWARD", f"{forward} -j FLANNEL-FWD"),
        }
    )


def cni_objects(family: int) -> tuple[Owner, frozenset[Object]]:
    """What the CNI plugins write for ipMasq of one container."""
    address, subnet, multicast = {
        4: ("10.1.0.5/32", "10.1.0.0/16", "224.0.0.0/4"),
        6: ("fd00:1::5/128", "fd00:1::/64", "ff00::/8"),
    }[family]
    text = 'name: "my net" id: "c0ffee"'
    chain = "CNI-8b9d0b1e6b0f0c0d0e0f0a0b"
    rules = (f"-d {subnet} {comment(text)} -j ACCEPT", f"! -d {multicast} {comment(text)} -j MASQUERADE")
    jump = Jump(family, "nat", "POSTROUTING", f"-s {address} {comment(text)} -j {chain}")
    owner = Owner("cni", chains=frozenset({chain}), comments=frozenset({text}), tables=frozenset({(family, "nat")}))
    return owner, frozenset({Chain(family, "nat", chain, rules), jump})


@pytest.mark.parametrize("family", [4, 6])
def test_flannels_rules_are_read_back_as_written_and_go_without_a_trace(there: Namespace, family: int) -> None:
    tool = {4: "iptables-save", 6: "ip6tables-save"}[family]
    before = [there.saved(table, tool) for table in ("nat", "filter")]
    wish = flannel_objects(family)
    assert reconcile(there.driver, wish, FLANNEL).converged
    assert not compare(there.driver, wish, FLANNEL)
    assert '-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG' in there.saved("nat", tool)
    assert reconcile(there.driver, (), FLANNEL).converged
    assert [there.saved(table, tool) for table in ("nat", "filter")] == before


@pytest.mark.parametrize("family", [4, 6])
def test_the_masquerade_rules_of_cni_are_ours_and_go_without_a_trace(there: Namespace, family: int) -> None:
    tool = {4: "iptables-save", 6: "ip6tables-save"}[family]
    before = there.saved("nat", tool)
    owner, wish = cni_objects(family)
    assert reconcile(there.driver, wish, owner).converged
    assert not compare(there.driver, wish, owner)
    assert reconcile(there.driver, (), owner).converged
    assert there.saved("nat", tool) == before


def test_rules_of_others_come_through_byte_for_byte(there: Namespace) -> None:
    theirs = (
        b"*nat\n:DOCKER - [0:0]\n-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n"
        b'-A POSTROUTING -s 172.17.0.0/16 -m comment --comment "it\\\'s \\"theirs\\"" -j MASQUERADE\n'
        b"-A DOCKER -i docker0 -j RETURN\n-A DOCKER -p tcp -m tcp --dport 8080 -j DNAT --to-destination 172.17.0.2:80\nCOMMIT\n"
    )
    assert there.tool("iptables-restore", stdin=theirs).status == 0
    before = there.saved()
    assert reconcile(there.driver, flannel_objects(4), FLANNEL).converged
    assert [line for line in there.saved() if "FLANNEL" not in line] == before
    assert reconcile(there.driver, (), FLANNEL).converged
    assert there.saved() == before


def test_a_chain_that_others_changed_is_restored_without_touching_the_rest(there: Namespace) -> None:
    wish = flannel_objects(4)
    reconcile(there.driver, wish, FLANNEL)
    good = there.saved()
    assert there.tool("iptables", "-t", "nat", "-I", "FLANNEL-POSTRTG", "-j", "ACCEPT").status == 0
    turn = reconcile(there.driver, wish, FLANNEL)
    assert [op.verb for op in turn.done] == [SET]
    assert there.saved() == good
    assert there.tool("iptables", "-t", "nat", "-F").status == 0
    assert reconcile(there.driver, wish, FLANNEL).converged
    assert there.saved() == good


@pytest.mark.parametrize("text", ODD_COMMENTS)
def test_comments_are_printed_by_the_tool_as_we_quote_them(there: Namespace, text: str) -> None:
    jump = Jump(4, "nat", "POSTROUTING", f"{comment(text)} -j RETURN")
    assert there.driver.apply([Op(ADD, jump)]) == ()
    assert f"-A POSTROUTING {jump.rule}" in there.saved()
    assert jump in there.driver.read(NAT)
    assert Owner("x", comments=frozenset({text})).owns(jump)
    assert there.driver.apply([Op(REMOVE, jump)]) == ()
    assert jump not in there.driver.read(NAT)


def test_every_ascii_character_is_quoted_as_the_tool_does_it(there: Namespace) -> None:
    chain = Chain(4, "nat", "PODWIRE-A", tuple(f"{comment('x' + chr(c))} -j RETURN" for c in range(0x20, 0x7F)))
    assert there.driver.apply([Op(ADD, chain)]) == ()
    assert there.driver.read(NAT) == {chain}


def test_a_comment_that_is_no_utf8_is_read_and_can_be_removed(there: Namespace) -> None:
    there.tool("iptables-restore", "--noflush", stdin=b'*nat\n-A POSTROUTING -m comment --comment "caf\xe9" -j RETURN\nCOMMIT\n')
    (rule,) = there.driver.read(NAT)
    assert there.driver.apply([Op(REMOVE, rule)]) == ()
    assert there.driver.read(NAT) == frozenset()


def test_a_refused_transaction_leaves_the_table_as_it_was_and_fails_each_of_its_operations(there: Namespace) -> None:
    chain = Chain(4, "nat", "PODWIRE-A", ("-j RETURN",))
    dangling = Jump(4, "nat", "POSTROUTING", "-j PODWIRE-MISSING")
    other = Chain(4, "filter", "PODWIRE-B", ("-j RETURN",))
    before = there.saved()
    ops = [Op(ADD, chain), Op(ADD, other), Op(ADD, dangling)]
    failures = there.driver.apply(ops)
    assert {failure.op for failure in failures} == {ops[0], ops[2]}
    assert all("write table nat with iptables-" in str(f.error) and "PODWIRE-MISSING" in str(f.error) for f in failures)
    assert there.saved() == before
    assert ":PODWIRE-B - [0:0]" in there.saved("filter")


def test_a_rule_that_exists_is_not_added_twice(there: Namespace) -> None:
    jump = Jump(4, "nat", "POSTROUTING", "-s 10.1.0.0/16 -j MASQUERADE")
    for _ in range(2):
        assert there.driver.apply([Op(ADD, jump)]) == ()
    assert there.saved().count(f"-A POSTROUTING {jump.rule}") == 1


def test_all_copies_of_a_rule_are_removed(there: Namespace) -> None:
    jump = Jump(4, "nat", "POSTROUTING", "-s 10.1.0.0/16 -j MASQUERADE")
    for _ in range(3):
        there.tool("iptables", "-t", "nat", "-A", "POSTROUTING", *jump.rule.split())
    assert there.driver.apply([Op(REMOVE, jump)]) == ()
    assert there.driver.read(NAT) == frozenset()


def test_removing_what_is_absent_is_success(there: Namespace) -> None:
    before = there.saved()
    gone = [Op(REMOVE, Jump(4, "nat", "POSTROUTING", "-j PODWIRE-A")), Op(REMOVE, Chain(4, "nat", "PODWIRE-A"))]
    assert there.driver.apply(gone) == ()
    assert there.saved() == before


def test_what_changes_between_read_and_write_is_read_again(there: Namespace) -> None:
    jump = Jump(4, "nat", "POSTROUTING", "-s 10.1.0.0/16 -j MASQUERADE")
    chain = Chain(4, "nat", "PODWIRE-A", ("-j RETURN",))
    there.driver.apply([Op(ADD, jump)])
    assert jump in there.driver.read(NAT)
    there.tool("iptables", "-t", "nat", "-D", "POSTROUTING", *jump.rule.split())
    assert there.driver.apply([Op(REMOVE, jump), Op(ADD, chain)]) == ()
    assert there.driver.read(NAT) == {chain}


def test_a_turn_starts_one_process_to_read_and_one_to_write(there: Namespace, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []

    def counted(argv: list[str], stdin: bytes, netns: str | None, env: dict[str, str]) -> Ran:
        started.append(argv[0])
        return run(argv, stdin, netns, env)

    monkeypatch.setattr("dataplane.drivers.iptables.run", counted)
    owner, wish = cni_objects(4)
    assert reconcile(there.driver, wish, owner).converged
    assert started == [f"iptables-{there.backend}-save", f"iptables-{there.backend}-restore"]
    assert reconcile(there.driver, wish, owner).done == ()
    assert len(started) == 3


def test_a_first_rule_stands_before_those_of_others(there: Namespace) -> None:
    there.tool("iptables", "-t", "nat", "-A", "POSTROUTING", "-j", "RETURN")
    there.driver.apply([Op(ADD, Jump(4, "nat", "POSTROUTING", "-s 10.1.0.0/16 -j ACCEPT", first=True))])
    there.driver.apply([Op(ADD, Jump(4, "nat", "POSTROUTING", "-s 10.2.0.0/16 -j ACCEPT"))])
    assert [line for line in there.saved() if line.startswith("-A")] == [
        "-A POSTROUTING -s 10.1.0.0/16 -j ACCEPT",
        "-A POSTROUTING -j RETURN",
        "-A POSTROUTING -s 10.2.0.0/16 -j ACCEPT",
    ]


def test_chains_that_jump_to_one_another_go_in_one_turn(there: Namespace) -> None:
    owner = Owner("x", chain_prefixes=("PODWIRE-",), comments=frozenset({"podwire"}), tables=frozenset({(4, "nat")}))
    chains = [Chain(4, "nat", f"PODWIRE-{i}", (f"-j PODWIRE-{i + 1}",)) for i in range(5)] + [Chain(4, "nat", "PODWIRE-5")]
    jump = Jump(4, "nat", "POSTROUTING", f"{comment('podwire')} -j PODWIRE-0")
    before = there.saved()
    assert reconcile(there.driver, [*chains, jump], owner).converged
    assert not compare(there.driver, [*chains, jump], owner)
    assert reconcile(there.driver, (), owner).converged
    assert there.saved() == before


def test_reading_many_tables_at_once_finds_the_same_as_one_by_one(there: Namespace) -> None:
    reconcile(there.driver, flannel_objects(4), FLANNEL)
    there.tool("iptables", "-t", "mangle", "-N", "THEIRS")
    tables = [(4, "nat"), (4, "filter"), (4, "mangle")]
    one_by_one = [there.driver.read(Scope(tables=frozenset({table}))) for table in tables]
    assert there.driver.read(Scope(tables=frozenset(tables))) == one_by_one[0] | one_by_one[1] | one_by_one[2]
    assert Chain(4, "mangle", "THEIRS") in one_by_one[2]


@pytest.mark.parametrize(("family", "tool"), [(4, "iptables"), (6, "ip6tables")])
def test_a_table_that_the_kernel_lacks_is_named(there: Namespace, family: int, tool: str) -> None:
    with pytest.raises(KernelError, match=f"read table nosuch with {tool}-{there.backend}-save: .*does not exist"):
        there.driver.read(Scope(tables=frozenset({(family, "nosuch")})))
    op = Op(ADD, Chain(family, "nosuch", "PODWIRE-A"))
    (failure,) = there.driver.apply([op])
    assert failure.op == op
    assert "table nosuch" in str(failure.error)


def test_many_processes_at_once_each_get_their_rules_once(there: Namespace) -> None:
    owners = [
        Owner(f"pod{i}", chains=frozenset({f"PODWIRE-{i}"}), comments=frozenset({f"pod {i}"}), tables=frozenset({(4, "nat")}))
        for i in range(12)
    ]
    wishes = [
        [Chain(4, "nat", f"PODWIRE-{i}", ("-j RETURN",)), Jump(4, "nat", "POSTROUTING", f"{comment(f'pod {i}')} -j PODWIRE-{i}")]
        for i in range(12)
    ]

    def turn(i: int, wish: list[Object]) -> bool:
        return reconcile(IptablesDriver(there.path, there.backend), wish, owners[i]).converged

    before = there.saved()
    with ThreadPoolExecutor(12) as threads:
        assert all(threads.map(turn, range(12), wishes))
        assert there.driver.read(NAT) == {item for wish in wishes for item in wish}
        assert len([line for line in there.saved() if line.startswith("-A POSTROUTING")]) == 12
        assert all(threads.map(turn, range(12), [[]] * 12))
    assert there.saved() == before


def test_a_lock_that_is_never_given_back_is_a_reason_to_try_again_later(
    there: Namespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """iptables-legacy programs exclude one another by a file; the other generation has no need to."""
    lock = tmp_path / "lock"
    monkeypatch.setenv("XTABLES_LOCKFILE", str(lock))
    there.driver.read(NAT)
    op = Op(ADD, Chain(4, "nat", "PODWIRE-A"))
    with lock.open("w") as file:
        flock(file, LOCK_EX)
        failures = there.driver.apply([op])
    assert [(failure.op, failure.error.errno) for failure in failures] == ([(op, EAGAIN)] if there.backend == "legacy" else [])
    assert there.driver.apply([op]) == ()
