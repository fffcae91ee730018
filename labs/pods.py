"""Attach pods to their nodes and detach them, as a container runtime does: by running the node's network list inside the node.

The plugins are the installed executables, in the lab's own folder.
"""

from __future__ import annotations

from cni.errors import CniError
from cni.install import install
from cni.runtime import run_list
from dataplane.drivers.netns import entered
from dataplane.errors import KernelError
from labs.errors import LabError
from labs.layout import Layout, Pod

IFNAME = "eth0"


def install_plugins(layout: Layout) -> None:
    """Install the plugins for this lab.

    Inside one of its namespaces, as everything that a lab starts: there the compiler is found if we are killed meanwhile.
    """
    with entered(layout.netns(layout.topology.outside.name)):
        install(layout.plugin_folder)


def attach_pods(layout: Layout) -> None:
    """ADD for every pod. Raises LabError naming the pod and what the plugin said."""
    for pod in layout.pods:
        _run(layout, "ADD", pod)


def detach_pods(layout: Layout) -> None:
    """DEL for every pod; one that fails does not keep the others. Raises LabError for the first that failed."""
    failures = []
    for pod in layout.pods:
        try:
            _run(layout, "DEL", pod)
        except LabError as error:
            failures.append(error)
    for failure in failures:
        raise failure


def _run(layout: Layout, verb: str, pod: Pod) -> None:
    conflist, cache = layout.conflist(pod.node), layout.cache_folder(pod.node)
    node = layout.netns(pod.node)
    try:
        run_list(verb, conflist, pod.container_id, pod.netns, IFNAME, layout.plugin_folder, cache, host_netns=node)
    except (CniError, KernelError, OSError) as error:
        raise LabError(f"pod {pod.name} on {pod.node}: {error}") from error
