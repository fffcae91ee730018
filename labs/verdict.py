"""Who must reach whom in a lab, and what the measurements say about it. Pure.

Every pod reaches every other pod and is seen by its own address; every node reaches every pod; every pod reaches the outside,
where it is seen by its node's address (masquerading), for the outside knows no way to a pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from dataplane.inet import IP
from labs.layout import Layout

ALLOW, DENY = "allow", "deny"


@dataclass(frozen=True, slots=True)
class Probe:
    """One question: does `source` reach `target`, seen as one of `sources`?"""

    source: str
    target: str
    address: IP | None  # of the target; None if it has none
    sources: frozenset[IP]
    outside: bool = False
    want: str = ALLOW


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a probe: the shortest round trip, and the source address that the receiver saw."""

    rtt_ms: float
    source_seen: IP


@dataclass(frozen=True, slots=True)
class Pair:
    """A probe and its answer, judged."""

    probe: Probe
    answer: Answer | None

    @property
    def ok(self) -> bool:
        if self.probe.want == DENY:
            return self.answer is None
        return self.answer is not None and self.answer.source_seen in self.probe.sources

    def document(self) -> dict[str, object]:
        answer = self.answer
        return {
            "from": self.probe.source,
            "to": self.probe.target,
            "ok": self.ok,
            "rtt_ms": round(answer.rtt_ms, 3) if answer else None,
            "source_seen": str(answer.source_seen) if answer else None,
            "want": self.probe.want,
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole check."""

    topology: str
    backend: str
    pairs: tuple[Pair, ...]

    @property
    def ok(self) -> bool:
        return all(pair.ok for pair in self.pairs)

    @property
    def inside(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if not pair.probe.outside)

    @property
    def outside(self) -> tuple[Pair, ...]:
        return tuple(pair for pair in self.pairs if pair.probe.outside)

    def document(self) -> dict[str, object]:
        return {
            "topology": self.topology,
            "backend": self.backend,
            "ok": self.ok,
            "pairs": [pair.document() for pair in self.inside],
            "outside": [pair.document() for pair in self.outside],
        }


def wanted_probes(layout: Layout, addresses: Mapping[str, Sequence[IP]]) -> tuple[Probe, ...]:
    """All ordered pairs of pods, every node to every pod, every pod to the outside.

    Args:
        addresses: the IPv4 addresses that each machine and pod has now, by name.
    """
    pods = [pod.name for pod in layout.pods]
    nodes = [node.name for node in layout.topology.nodes]
    pairs = [(source, target) for source in (*pods, *nodes) for target in pods if source != target]
    inside = [Probe(source, target, _first(addresses[target]), frozenset(addresses[source])) for source, target in pairs]
    outside = layout.topology.outside
    return (
        *inside,
        *(
            Probe(pod.name, outside.name, outside.address, frozenset({layout.address_of(pod.node).address}), outside=True)
            for pod in layout.pods
        ),
    )


def judge(layout: Layout, probes: Iterable[Probe], answers: Mapping[Probe, Answer]) -> Verdict:
    """The verdict on all probes, in their order."""
    network = layout.topology.network
    return Verdict(layout.name, network.backend or network.plugin, tuple(Pair(probe, answers.get(probe)) for probe in probes))


def _first(addresses: Sequence[IP]) -> IP | None:
    return addresses[0] if addresses else None
