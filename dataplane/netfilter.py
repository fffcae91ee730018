"""Packet filter objects: chains that are ours from end to end, and single rules that we put into chains of others.

A rule is its text exactly as `iptables-save` prints it, without the leading `-A CHAIN `. Writing rules in the form that they are
read back in makes comparison an equality of strings, and lets a person grep for what the code says.
"""

from __future__ import annotations

from dataplane.errors import ConfigError
from dataplane.record import record
from dataplane.state import Object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Hashable

COMMENT_BYTES = 255
_CANNOT_CARRY = frozenset("\n\r\0")


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

    @property
    def targets(self) -> frozenset[str]:
        """All chains and built-in targets that its rules name."""
        return frozenset(target_of(rule) for rule in self.rules)


@record
class Jump(Object):
    """One rule of ours in a built-in chain, which others use too. `first` puts it before theirs, otherwise it goes behind."""

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
        """The chain or built-in target after `-j` or `-g`; "" if the rule only counts."""
        return target_of(self.rule)


def target_of(rule: str) -> str:
    """Where a rule sends its packets: the word after `-j` or `-g`, or ""."""
    parts = rule_words(rule)
    return next((parts[i + 1] for i, word in enumerate(parts[:-1]) if word in ("-j", "-g")), "")


def comment_of(rule: str) -> str | None:
    """The text of a rule's comment, unquoted; None without one."""
    if "--comment " not in rule:
        return None
    parts = rule_words(rule)
    return next((parts[i + 1] for i, word in enumerate(parts[:-1]) if word == "--comment"), None)


def rule_words(rule: str) -> list[str]:
    """The words of a rule as iptables-restore takes them apart: quotes group, a backslash within them keeps what follows."""
    if '"' not in rule:
        return rule.split()
    found: list[str] = []
    outside = True
    for part in _between_quotes(rule):
        found += part.split() if outside else [part]
        outside = not outside
    return found


def _between_quotes(rule: str) -> list[str]:
    """The rule cut at its quotes: plain text and quoted text in turn, the latter with its escapes undone."""
    if "\\" not in rule:
        return rule.split('"')
    parts = [""]
    escaped = False
    for c in rule:
        if escaped or c not in '"\\':
            parts[-1] += c
            escaped = False
        elif c == '"':
            parts.append("")
        elif len(parts) % 2 == 0:  # within quotes
            escaped = True
        else:
            parts[-1] += c
    return parts


def quoted(text: str) -> str:
    """A word as iptables-save prints it: bare if it is letters, digits, `_` and `-` only, else in double quotes, escaped.

    Raises:
        ConfigError: the text has a line break or a NUL, which iptables-restore cannot carry.
    """
    if not _CANNOT_CARRY.isdisjoint(text):
        raise ConfigError("iptables rule", text, "may not contain line breaks or NUL characters; remove them")
    if text and all(c.isascii() and (c.isalnum() or c in "_-") for c in text):
        return text
    escaped = "".join("\\" + c if c in "\"\\'" else c for c in text)
    return f'"{escaped}"'


def comment(text: str) -> str:
    """The match that carries a comment, cut to what the kernel keeps of it."""
    return f"-m comment --comment {quoted(clipped(text))}"


def clipped(text: str) -> str:
    """The text cut to the 255 bytes that a comment can have (xt_comment: 256 with the NUL), at a whole character."""
    return text.encode()[:COMMENT_BYTES].decode(errors="ignore")
