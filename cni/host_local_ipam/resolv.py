"""resolv.conf(5) to the DNS part of a result, as the reference reads it. Pure."""

from __future__ import annotations

from cni.result import Dns


def parse_resolv_conf(text: str) -> Dns:
    """Servers, domain (the last one counts), search list and options; comments and words without a value are skipped."""
    lists: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    domain = ""
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":
            continue
        keyword, values = words[0], words[1:]
        if keyword == "domain":
            domain = values[0]
        elif keyword in lists:
            lists[keyword] += values[:1] if keyword == "nameserver" else values
    return Dns(tuple(lists["nameserver"]), domain, tuple(lists["search"]), tuple(lists["options"]))
