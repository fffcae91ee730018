"""Packet filter objects: chains that are ours from end to end, and single rules that we put into chains of others.

A rule is its text exactly as `iptables-save` prints it, without the leading `-A CHAIN `. Writing rules in the form that they are
read back in makes comparison an equality of strings, and lets a person grep for what the code says.
"""

from __future__ import annotations

from dataplane.record import record
from dataplane.state import Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable


@record
class Chain(Object):
    """A chain of ours with all its rules in order. Whatever else is found in it is removed."""

    family: int  # 4 or 6: iptables or ip6tables
    table: str
    name: str
    rules: tuple[str, ...] = ()

    @property
    def key(self) -> Hashable:
        return ("chain", self.family, self.table, self.name)


@record
class Jump(Object):
    """One rule of ours in a chain that others use too. `first` puts it before their rules, otherwise it goes behind them."""

    family: int
    table: str
    chain: str
    rule: str
    first: bool = False

    CREATE_ONLY = frozenset({"first"})

    @property
    def key(self) -> Hashable:
        return ("jump", self.family, self.table, self.chain, self.rule)

    @property
    def target(self) -> str:
        """The chain or built-in target after `-j` or `-g`."""
        words = self.rule.split()
        return next((words[i + 1] for i, word in enumerate(words[:-1]) if word in ("-j", "-g")), "")


def quoted(text: str) -> str:
    """A word as iptables-save prints it: bare if it is plain, else in double quotes with `"`, `\\` and `'` escaped."""
    plain = all(c.isascii() and (c.isalnum() or c in "_-.:/,=") for c in text)
    if text and plain:
        return text
    escaped = "".join("\\" + c if c in "\"\\'" else c for c in text)
    return f'"{escaped}"'


def comment(text: str) -> str:
    """The match that carries a comment; iptables keeps 255 bytes of it."""
    return f"-m comment --comment {quoted(text)}"
