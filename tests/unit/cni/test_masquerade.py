"""Masquerading: the reference's rules, shared by a container's attachments, found again by the chain."""

from __future__ import annotations

from cni.change import towards
from cni.masquerade import chain_name, dead_masquerade, desired_masquerade, stale_masquerade
from dataplane.fake import FakeKernel
from dataplane.inet import IP, parse_ip, parse_prefix
from dataplane.netfilter import Chain, Jump
from dataplane.plan import REMOVE, Op
from dataplane.state import Object

COMMENT = '-m comment --comment "name: \\"r1net\\" id: \\"c1\\""'
NAME = "CNI-608d31a66a361d517121cded"
A, B, SIX = parse_prefix("10.1.0.5/16"), parse_prefix("10.2.0.5/16"), parse_prefix("fd01::5/64")


def test_the_chain_s_name_is_the_reference_s() -> None:
    assert chain_name("r1net", "c1") == NAME


def test_the_rules_are_the_reference_s() -> None:
    assert desired_masquerade("r1net", "c1", [A, SIX], ()) == (
        Chain(4, "nat", NAME, (f"-d 10.1.0.0/16 {COMMENT} -j ACCEPT", f"! -d 224.0.0.0/4 {COMMENT} -j MASQUERADE")),
        Chain(6, "nat", NAME, (f"-d fd01::/64 {COMMENT} -j ACCEPT", f"! -d ff00::/8 {COMMENT} -j MASQUERADE")),
        Jump(4, "nat", "POSTROUTING", f"-s 10.1.0.5/32 {COMMENT} -j {NAME}"),
        Jump(6, "nat", "POSTROUTING", f"-s fd01::5/128 {COMMENT} -j {NAME}"),
    )


def test_a_second_attachment_keeps_the_first_one_s_rules_and_masquerades_last() -> None:
    first = desired_masquerade("r1net", "c1", [A], ())
    chain, jump = desired_masquerade("r1net", "c1", [B], first)
    assert isinstance(chain, Chain)
    assert [rule.split()[1] for rule in chain.rules] == ["10.1.0.0/16", "10.2.0.0/16", "-d"]
    assert chain.rules[-1].endswith("MASQUERADE")
    assert jump.rule.startswith("-s 10.2.0.5/32") if isinstance(jump, Jump) else False


def test_the_wish_is_stable() -> None:
    once = desired_masquerade("n", "c", [A, SIX], ())
    assert desired_masquerade("n", "c", [A, SIX], once) == once


def _stale(addresses: set[IP], actual: tuple[Object, ...]) -> set[Object]:
    return set(stale_masquerade("r1net", "c1", addresses, actual))


def test_what_goes_is_what_came_with_addresses_known_or_not() -> None:
    others = (*desired_masquerade("r1net", "c2", [A], ()), *desired_masquerade("other", "c1", [A], ()), Chain(4, "nat", "KUBE"))
    ours = desired_masquerade("r1net", "c1", [A, SIX], ())
    assert _stale({A.address, SIX.address}, (*ours, *others)) == set(ours)
    assert _stale(set(), (*ours, *others)) == set(ours)


def test_the_chain_stays_while_another_attachment_jumps_to_it() -> None:
    first = desired_masquerade("r1net", "c1", [A], ())
    both = (desired_masquerade("r1net", "c1", [B], first)[0], first[1], desired_masquerade("r1net", "c1", [B], first)[1])
    assert _stale({B.address}, both) == {both[2]}
    assert _stale({A.address}, both[:2]) == set(both[:2])


def test_the_old_form_of_the_jump_goes_too() -> None:
    chain = Chain(4, "nat", NAME)
    old = Jump(4, "nat", "POSTROUTING", f"-s 10.1.0.0/16 {COMMENT} -j {NAME}")
    assert _stale({A.address}, (chain, old)) == {chain, old}


def test_a_chain_whose_jumps_were_flushed_goes() -> None:
    chain = desired_masquerade("r1net", "c1", [A], ())[0]
    assert _stale({A.address}, (chain,)) == {chain}


def test_gc_finds_the_dead_of_this_network_only() -> None:
    dead, alive = desired_masquerade("n", "dead", [A], ()), desired_masquerade("n", "alive", [A], ())
    foreign = desired_masquerade("n2", "dead", [A], ())
    forged = Jump(4, "nat", "POSTROUTING", '-m comment --comment "name: \\"n\\" id: \\"gone\\"" -j ACCEPT')
    actual = (*dead, *alive, *foreign, forged)
    assert set(dead_masquerade("n", {"alive"}, actual)) == set(dead)
    assert set(dead_masquerade("n", set(), (dead[0],))) == {dead[0]}  # a chain alone, its jump flushed


def test_it_can_be_written_and_removed() -> None:

    kernel = FakeKernel()
    wanted = desired_masquerade("n", "c", [A, SIX], ())
    assert kernel.apply(towards(wanted, ())) == ()
    assert set(kernel.objects.values()) == set(wanted)
    gone = sorted(stale_masquerade("n", "c", {parse_ip("10.1.0.5"), SIX.address}, wanted), key=lambda item: isinstance(item, Chain))
    assert kernel.apply([Op(REMOVE, item) for item in gone]) == ()
    assert kernel.objects == {}
