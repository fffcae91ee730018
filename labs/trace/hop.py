"""What a trace is made of, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from dataplane.inet import IP

IN, OUT = "in", "out"


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame as a device saw it.

    `at_ns` is the kernel's own time stamp. `ethernet` is false where a device carries bare IP packets (TUN).
    """

    place: str  # machine or pod
    device: str
    direction: str
    at_ns: int
    ethernet: bool
    octets: bytes


@dataclass(frozen=True, slots=True)
class Layer:
    """One header: its name, and what a reader wants to know of it, in order."""

    name: str
    fields: tuple[tuple[str, str], ...]

    def get(self, field: str) -> str | None:
        return dict(self.fields).get(field)


@dataclass(frozen=True, slots=True)
class Hop:
    """A frame, decoded and explained. `lookups` are the kernel's tables that sent it here."""

    number: int
    place: str
    device: str
    direction: str
    at_us: float  # since the first hop
    what: str
    lookups: tuple[str, ...]
    layers: tuple[Layer, ...]

    def document(self) -> dict[str, object]:
        return {
            "number": self.number,
            "node": self.place,
            "device": self.device,
            "direction": self.direction,
            "at_us": round(self.at_us, 1),
            "what": self.what,
            "lookups": list(self.lookups),
            "layers": [{"layer": layer.name, **dict(layer.fields)} for layer in self.layers],
        }


@dataclass(frozen=True, slots=True)
class Trace:
    """A ping's whole way. `rtt_ms` is None if it was not answered; then `request` ends where the packet was lost."""

    topology: str
    backend: str
    source: str
    target: str
    address: IP
    rtt_ms: float | None
    request: tuple[Hop, ...]
    reply: tuple[Hop, ...]
    error: str | None = None  # why the source's kernel did not send it

    def document(self) -> dict[str, object]:
        return {
            "topology": self.topology,
            "backend": self.backend,
            "from": self.source,
            "to": self.target,
            "address": str(self.address),
            "ok": self.rtt_ms is not None,
            "rtt_ms": None if self.rtt_ms is None else round(self.rtt_ms, 3),
            "error": self.error,
            "request": [hop.document() for hop in self.request],
            "reply": [hop.document() for hop in self.reply],
        }
