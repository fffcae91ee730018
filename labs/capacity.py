"""How many neighbours a lab has, and whether the kernel can remember so many. Pure.

Linux has one table of IPv4 neighbours for all namespaces together, whose size only the machine's own namespace can set
(net.ipv4.neigh.default.gc_thresh3, arp(7)). Beyond it packets are dropped, here and in the machine's own network.
"""

from __future__ import annotations

from dataplane.errors import ConfigError
from labs.topology import Topology

TABLE_SIZE_FILE = "/proc/sys/net/ipv4/neigh/default/gc_thresh3"


def neighbours_of(topology: Topology) -> int:
    """Entries once everybody has talked to everybody.

    On a node with p pods every pod knows the p-1 others and the node, and the node knows p pods. On the underlay every machine
    knows the others. What flannel enters itself for far nodes is permanent and does not count.
    """
    machines = len(topology.nodes) + 1
    return sum(node.pods * (node.pods + 1) for node in topology.nodes) + machines * (machines - 1)


def refuse_crowded(topology: Topology, table_size: int) -> None:
    """Raises ConfigError if the kernel's table would overflow."""
    needed = neighbours_of(topology)
    if needed > table_size:
        pods = sum(node.pods for node in topology.nodes)
        raise ConfigError(
            "lab",
            topology.name,
            f"{pods} pods on {len(topology.nodes)} nodes need {needed} entries in the kernel's table of neighbours, which holds "
            f"{table_size}; take fewer pods a node, or: sysctl -w net.ipv4.neigh.default.gc_thresh3={2 * needed}",
        )
