"""What `podwire lab` shows to people."""

from __future__ import annotations

import os
import sys

import click

from labs.status import LabStatus
from labs.trace.hop import Trace
from labs.verdict import Pair, Verdict
from podwire.output import print_table
from podwire.trace_text import plain, trace_lines

_STYLES: dict[str, dict[str, object]] = {
    "title": {"bold": True},
    "where": {"fg": "cyan", "bold": True},
    "what": {},
    "lookup": {"fg": "magenta"},
    "layer": {"fg": "blue"},
    "faint": {"dim": True},
    "good": {"fg": "green"},
    "bad": {"fg": "red", "bold": True},
}


def print_verdict(verdict: Verdict) -> None:
    """All pairs, and in the last line how many are as they should be."""
    rows = [_pair_row(pair) for pair in verdict.pairs]
    print_table(("from", "to", "round trip", "source seen", "verdict"), rows, f"{verdict.topology}, network: {verdict.backend}")
    right = sum(pair.ok for pair in verdict.pairs)
    click.echo(f"{right} of {len(verdict.pairs)} pairs are as they should be")


def _pair_row(pair: Pair) -> tuple[str, ...]:
    answer = pair.answer
    rtt, seen = (f"{answer.rtt_ms:.3f} ms", str(answer.source_seen)) if answer else ("no answer", "-")
    return pair.probe.source, pair.probe.target, rtt, seen, "ok" if pair.ok else "NOT OK"


def print_status(status: LabStatus) -> None:
    """Nodes with their daemons, then pods."""
    store = f", datastore {status.datastore}" if status.datastore else ""
    click.echo(f"{status.name}: {status.phase}; network {status.backend}{store}")
    nodes = [(node.name, str(node.address), node.subnet or "-", node.daemon_text, node.netns_text) for node in status.nodes]
    print_table(("machine", "address", "pods' subnet", "daemon", "namespace"), nodes)
    if status.pods:
        click.echo()
        pods = [(pod.name, pod.node, ", ".join(map(str, pod.addresses)) or "none", pod.netns_text) for pod in status.pods]
        print_table(("pod", "node", "address", "namespace"), pods)


def print_trace(trace: Trace) -> None:
    """Hop by hop, in colours on a terminal that has them; NO_COLOR (no-color.org) takes them away."""
    coloured = sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") not in ("dumb", "unknown")
    paint = _paint if coloured else plain
    for line in trace_lines(trace, paint):
        click.echo(line)


def _paint(text: str, role: str) -> str:
    return click.style(text, **_STYLES[role])  # type: ignore[arg-type]
