"""How many neighbours a lab has."""

from __future__ import annotations

import pytest

from dataplane.errors import ConfigError
from labs.capacity import neighbours_of, refuse_crowded
from labs.catalog import find_topology
from labs.topology_file import with_options


def test_pods_of_a_node_know_each_other_and_machines_know_each_other() -> None:
    two = with_options(find_topology("flannel"), nodes=2, pods=2)
    # on each node: 2 pods know 1 other and the node, the node knows 2; three machines on the underlay know 2 others each
    assert neighbours_of(two) == 2 * (2 * 2 + 2) + 3 * 2


def test_a_lab_that_would_overflow_the_kernels_table_is_refused_with_the_way_out() -> None:
    many = with_options(find_topology("flannel"), nodes=20, pods=10)
    refuse_crowded(many, 2620)
    with pytest.raises(ConfigError, match=r"200 pods on 20 nodes need 2620 .* holds 1024.*fewer pods a node.*gc_thresh3=5240"):
        refuse_crowded(many, 1024)
