"""The text of iptables-save and iptables-restore: read into chains and rules, written from operations. Pure.

What is written is one transaction for one table: `iptables-restore --noflush` applies all of it or nothing, and touches no chain
and no rule that the text does not name. `:CHAIN - [0:0]` makes a chain or empties it, so a chain is always written as a whole.

    *nat
    :FLANNEL-POSTRTG - [0:0]                         every chain that changes or goes
    -A FLANNEL-POSTRTG -s 10.244.0.0/16 -j RETURN    the rules of those that stay
    -A POSTROUTING -j FLANNEL-POSTRTG                new rules of ours in built-in chains; -I puts them first
    -D POSTROUTING -j CNI-OLD                        those that go
    -X CNI-OLD                                       last, when nothing jumps there any more
    COMMIT

A rule that stands twice in a built-in chain is one object, since both copies have the same key: a wish for it is fulfilled, and
removing it removes every copy.
"""

from __future__ import annotations

from dataplane.netfilter import Chain, Jump
from dataplane.plan import REMOVE
from dataplane.state import agrees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from dataplane.plan import Op
    from dataplane.state import Object


def parse(text: str, family: int) -> tuple[Chain | Jump, ...]:
    """What `iptables-save` printed, with or without counters, of one table or several.

    Every user-defined chain becomes a Chain, every rule in a built-in chain a Jump, in the order in which they stand.

    Args:
        text: the output.
        family: 4 or 6, whichever tool printed it.
    """
    rules: dict[tuple[str, str], list[str]] = {}
    built_in: set[tuple[str, str]] = set()
    table = ""
    for line in _lines(text):
        if line[0] == "*":
            table = line[1:].rstrip()
        elif line[0] == ":":
            name, policy, *_ = line[1:].split()
            rules[table, name] = []
            if policy != "-":
                built_in.add((table, name))
        else:
            name, _, rule = line.partition("-A ")[2].partition(" ")
            rules.setdefault((table, name), []).append(rule)
    jumps = [Jump(family, table, name, rule) for table, name in rules if (table, name) in built_in for rule in rules[table, name]]
    chains = [Chain(family, table, name, tuple(rules[table, name])) for table, name in rules if (table, name) not in built_in]
    return (*chains, *jumps)


def _lines(text: str) -> list[str]:
    """The lines that say something. A line break within somebody's comment is put back into the rule that it belongs to."""
    found: list[str] = []
    for line in text.split("\n"):
        if found and _is_open(found[-1]):
            found[-1] += "\n" + line
        elif line.startswith(("*", ":", "-A ", "[")):
            found.append(line)
    return found


def _is_open(line: str) -> bool:
    """Whether a quote in the line is not closed yet."""
    return '"' in line and line.replace("\\\\", "").replace('\\"', "").count('"') % 2 == 1


def render(table: str, ops: Iterable[Op], found: Sequence[Object]) -> str:
    """The transaction that carries out `ops` on one table, or "" if all of them hold already.

    Of several operations on one object the last counts. What is there as wished is not written again; what is to go and is not
    there is left out, for iptables-restore would refuse the whole transaction.

    Args:
        table: `nat`, `filter`, ...
        ops: operations on Chains and Jumps of one family in this table.
        found: what `parse` made of the same family's table.
    """
    there = {item.key: item for item in found}
    last = {op.item.key: op for op in ops}
    new = [op.item for key, op in last.items() if op.verb != REMOVE and not (key in there and agrees(op.item, there[key]))]
    gone = [there[key] for key, op in last.items() if op.verb == REMOVE and key in there]
    if not new and not gone:
        return ""
    copies = [item for item in found if isinstance(item, Jump) and item in gone]
    return "\n".join(
        [
            f"*{table}",
            *(f":{item.name} - [0:0]" for item in (*new, *gone) if isinstance(item, Chain)),
            *(f"-A {item.name} {rule}" for item in new if isinstance(item, Chain) for rule in item.rules),
            *(f"{'-I' if item.first else '-A'} {item.chain} {item.rule}" for item in new if isinstance(item, Jump)),
            *(f"-D {item.chain} {item.rule}" for item in copies),
            *(f"-X {item.name}" for item in gone if isinstance(item, Chain)),
            "COMMIT\n",
        ]
    )
