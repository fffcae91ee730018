"""Masquerading of an attachment's traffic to the outside, in the reference's iptables layout (pkg/ip/ipmasq_iptables). Pure.

    -A POSTROUTING -s 10.1.0.5/32 -m comment --comment "name: \"net\" id: \"c1\"" -j CNI-608d31a66a361d517121cded
    -A CNI-608d31a66a361d517121cded -d 10.1.0.0/16 -m comment ... -j ACCEPT
    -A CNI-608d31a66a361d517121cded ! -d 224.0.0.0/4 -m comment ... -j MASQUERADE

The chain is named by network and container alone, so two attachments of one container to one network share it. The reference
breaks there: the removal of one takes the other's rules. Here the chain holds the union, and goes with the last rule that names it.
Rules are found again by the chain that they jump to, so that DEL needs neither the namespace nor a prevResult.
"""

from __future__ import annotations

from cni.digest import hashed_name
from dataplane.inet import IP, Prefix, parse_prefix
from dataplane.netfilter import Chain, Jump, comment, comment_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from dataplane.state import Object

TABLE, HOOK = "nat", "POSTROUTING"
PREFIX = "CNI-"
_NAME_LENGTH = 28  # iptables allows 28 characters
_MULTICAST = {4: "224.0.0.0/4", 6: "ff00::/8"}
_ACCEPT, _MASQUERADE = " -j ACCEPT", " -j MASQUERADE"


def chain_name(network: str, container_id: str) -> str:
    return hashed_name(PREFIX, network + container_id, _NAME_LENGTH)


def _comment(network: str, container_id: str) -> str:
    return comment(f'name: "{network}" id: "{container_id}"')


def tables(families: Iterable[int]) -> frozenset[tuple[int, str]]:
    """What to read of the packet filter (Scope.tables)."""
    return frozenset((family, TABLE) for family in families)


def desired_masquerade(
    network: str, container_id: str, addresses: Iterable[Prefix], actual: Iterable[Object]
) -> tuple[Chain | Jump, ...]:
    """The chain of each family and a jump to it for each address; what another attachment put into the chain stays.

    Args:
        addresses: the attachment's, with the length of its subnet, into which there is no masquerading.
        actual: what was read of the nat tables.
    """
    wanted = tuple(addresses)
    name, words = chain_name(network, container_id), _comment(network, container_id)
    there = {item.family: item for item in actual if isinstance(item, Chain) and (item.table, item.name) == (TABLE, name)}
    chains = [
        _chain(family, name, words, [a for a in wanted if a.version == family], there.get(family))
        for family in sorted({a.version for a in wanted})
    ]
    jumps = [Jump(a.version, TABLE, HOOK, f"-s {a.address}/{a.address.bits} {words} -j {name}") for a in wanted]
    return (*chains, *jumps)


def _chain(family: int, name: str, words: str, addresses: list[Prefix], there: Chain | None) -> Chain:
    accept = [f"-d {a.network} {words}{_ACCEPT}" for a in addresses]
    others = [rule for rule in (there.rules if there else ()) if rule.endswith(_ACCEPT)]
    rules = dict.fromkeys((*others, *accept))
    return Chain(family, TABLE, name, (*rules, f"! -d {_MULTICAST[family]} {words}{_MASQUERADE}"))


def stale_masquerade(network: str, container_id: str, addresses: Collection[IP], actual: Iterable[Object]) -> tuple[Object, ...]:
    """What DEL removes: the attachment's jumps, and the chain if nobody else jumps to it.

    Args:
        addresses: the attachment's; with none known, every jump to the chain is taken for its own.
    """
    name = chain_name(network, container_id)
    items = tuple(actual)
    jumps = [item for item in items if isinstance(item, Jump) and (item.table, item.target) == (TABLE, name)]
    gone = [jump for jump in jumps if not addresses or _source(jump) is None or _source(jump) in addresses]
    busy = {jump.family for jump in jumps if jump not in gone}
    chains = [item for item in items if _is_named(item, name) and isinstance(item, Chain) and item.family not in busy]
    return (*chains, *gone)


def _is_named(item: Object, name: str) -> bool:
    return isinstance(item, Chain) and (item.table, item.name) == (TABLE, name)


def _source(jump: Jump) -> IP | None:
    """The single address that a jump is for; None for the old form with a whole subnet, which is nobody else's."""
    words = jump.rule.split()
    try:
        prefix = parse_prefix(words[words.index("-s") + 1])
    except (ValueError, IndexError):
        return None
    return prefix.address if prefix.is_host else None


def dead_masquerade(network: str, living: Collection[str], actual: Iterable[Object]) -> tuple[Object, ...]:
    """What GC removes: chains and jumps of this network whose container is not among the living.

    A rule says whose it is in its comment; that the chain's name is the hash of the same words proves it.
    """
    items = tuple(actual)
    dead = {
        chain_name(network, container_id)
        for item in items
        for container_id in _containers(network, item)
        if container_id not in living
    }
    return tuple(item for item in items if isinstance(item, (Chain, Jump)) and item.table == TABLE and _chain_of(item) in dead)


def _chain_of(item: Chain | Jump) -> str:
    return item.name if isinstance(item, Chain) else item.target


def _containers(network: str, item: Object) -> set[str]:
    if not isinstance(item, (Chain, Jump)):
        return set()
    start = f'name: "{network}" id: "'
    comments = [comment_of(rule) or "" for rule in (item.rules if isinstance(item, Chain) else (item.rule,))]
    return {text.removeprefix(start).removesuffix('"') for text in comments if text.startswith(start)}
