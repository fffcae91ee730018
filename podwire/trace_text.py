"""A trace as text for a reader who wants to learn what happened: numbered hops, and the headers of each, outermost first. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from labs.trace.hop import Hop, Layer, Trace

Paint = Callable[[str, str], str]  # text and the name of its role; gives the text as the terminal shall see it
_INDENT, _DEEPER = " " * 6, "  "


def plain(text: str, _: str) -> str:
    """No colours."""
    return text


def trace_lines(trace: Trace, paint: Paint = plain) -> Iterator[str]:
    """The whole trace, line by line."""
    yield paint(f"ping {trace.source} -> {trace.target} ({trace.address}), network: {trace.backend}", "title")
    yield ""
    yield paint("Request", "title")
    yield from _hops_lines(trace.request, paint)
    yield ""
    if trace.reply or trace.rtt_ms is not None:
        yield paint("Reply", "title")
        yield from _hops_lines(trace.reply, paint)
        yield ""
    if trace.rtt_ms is None:
        yield paint(f"No answer. {_what_became(trace)}", "bad")
    else:
        yield paint(f"Answered after {trace.rtt_ms:.2f} ms.", "good")


def _hops_lines(hops: Iterable[Hop], paint: Paint) -> Iterator[str]:
    before: tuple[Layer, ...] = ()
    for hop in hops:
        where = f"{hop.place}  {hop.device} {hop.direction}"
        yield f"{hop.number:>3}. {paint(where, 'where')}  {paint(f'+{hop.at_us:.0f} us', 'faint')}"
        yield f"{_INDENT}{paint(hop.what, 'what')}"
        yield from (f"{_INDENT}{paint('by ' + entry, 'lookup')}" for entry in hop.lookups)
        if hop.layers == before:
            yield f"{_INDENT}{_DEEPER}{paint('(the same headers)', 'faint')}"
        else:
            yield from (f"{_INDENT}{_DEEPER * depth}{_layer_text(layer, paint)}" for depth, layer in enumerate(hop.layers, start=1))
        before = hop.layers


def _layer_text(layer: Layer, paint: Paint) -> str:
    fields = dict(layer.fields)
    ends = []
    for near, far in (("src", "dst"), ("sport", "dport")):
        if near in fields:
            ends.append(f"{fields.pop(near)} > {fields.pop(far)}")
    rest = [f"{name} {value}" for name, value in fields.items()]
    return f"{paint(layer.name, 'layer')} {', '.join((*ends, *rest))}"


def _what_became(trace: Trace) -> str:
    """Where the last packet of an unanswered ping was seen, or why it never left."""
    if trace.error is not None:
        return f"The kernel of {trace.source} did not send it: {trace.error}; look at its routes and filters (ip route, iptables)."
    name, hops = ("reply", trace.reply) if trace.reply else ("request", trace.request)
    if not hops:
        return f"It left {trace.source} by no device: nobody answers for the next hop (ip neigh)."
    last = hops[-1]
    return f"The {name} was last seen on {last.place}, device {last.device}, going {last.direction}."
