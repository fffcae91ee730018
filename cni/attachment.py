"""One container's place in a network, as bridge and ptp decide about it. Pure."""

from __future__ import annotations

from dataplane.record import record


@record
class Attachment:
    """`host_end` is the name of the veth's end in the host."""

    network: str
    container_id: str
    ifname: str
    netns: str
    host_end: str
