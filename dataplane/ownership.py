"""How a fresh process with no memory knows an object as its own. Written before the first object of a kind is made.

link                      by its exact name, or by a prefix that only we use
address, neighbour, FDB   with the link they hang on
route                     by our route protocol, or with the link it leaves by
sysctl                    never removed; changed only when wished for
chain                     by its exact name or prefix
rule in a foreign chain   by its comment
"""

from __future__ import annotations

from dataplane.netfilter import Chain, Jump, clipped, comment_of
from dataplane.record import record
from dataplane.state import PROTO_KERNEL, Link, Route, Sysctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from dataplane.state import Object


@record
class Owner:
    """The marks of one component. `owns` decides by them alone."""

    name: str
    links: frozenset[str] = frozenset()
    link_prefixes: tuple[str, ...] = ()
    settings: frozenset[str] = frozenset()  # devices of others whose settings (up, mtu, sysctls) we may change
    route_protocol: int | None = None
    chains: frozenset[str] = frozenset()
    chain_prefixes: tuple[str, ...] = ()
    comments: frozenset[str] = frozenset()  # whole comments of our rules in foreign chains
    tables: frozenset[tuple[int, str]] = frozenset()  # (4 or 6, table) in which chains and rules of ours may stand

    def owns(self, item: Object) -> bool:
        """Whether we may remove `item`, or change it."""
        if isinstance(item, Link):
            return self._named(item.name)
        if isinstance(item, Route):
            return item.protocol != PROTO_KERNEL and (
                (item.protocol is not None and item.protocol == self.route_protocol)
                or (item.device is not None and self._named(item.device))
            )
        if isinstance(item, Chain):
            return item.name in self.chains or item.name.startswith(self.chain_prefixes or ("\0",))
        if isinstance(item, Jump):
            return comment_of(item.rule) in {clipped(text) for text in self.comments}
        if isinstance(item, Sysctl):
            return False
        return item.dev is not None and self._named(item.dev)

    def may_change(self, item: Object) -> bool:
        """Whether an object that somebody else made may be brought to our wish: sysctls, and devices named in `settings`."""
        return self.owns(item) or isinstance(item, Sysctl) or (isinstance(item, Link) and item.name in self.settings)

    def _named(self, link: str) -> bool:
        return link in self.links or link.startswith(self.link_prefixes or ("\0",))


@record
class Scope:
    """The part of a kernel that has to be read before a difference can be taken."""

    links: frozenset[str] = frozenset()  # devices by name; "*" for all
    devices: frozenset[str] = frozenset()  # their addresses, permanent neighbours and FDB entries; "*" for all
    routes: frozenset[int] = frozenset()  # families (4, 6) whose unicast and blackhole routes are read, all tables
    tables: frozenset[tuple[int, str]] = frozenset()  # (4 or 6, table): chains, and the rules in built-in chains
    sysctls: frozenset[str] = frozenset()


def scope_of(owner: Owner, desired: Iterable[Object]) -> Scope:
    """All that the wish names and all where something of the owner's may stand.

    Both are needed: a wish from which the last route has gone still has to find the routes that are left over.
    """
    items = tuple(desired)
    links = {item.name for item in items if isinstance(item, Link)} | owner.links | owner.settings
    devices = {item.dev for item in items if item.dev is not None and not isinstance(item, (Route, Sysctl))} | owner.links
    if owner.link_prefixes:
        links, devices = {"*"}, {"*"}
    families = {item.dst.version for item in items if isinstance(item, Route)}
    if owner.route_protocol is not None or owner.links or owner.link_prefixes:
        families |= {4, 6}
    return Scope(
        links=frozenset(links),
        devices=frozenset(devices),
        routes=frozenset(families),
        tables=owner.tables | {(item.family, item.table) for item in items if isinstance(item, (Chain, Jump))},
        sysctls=frozenset(item.name for item in items if isinstance(item, Sysctl)),
    )
