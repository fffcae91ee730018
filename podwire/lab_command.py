"""`podwire lab`: topologies on one machine, with the real daemons and plugins."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import click

from dataplane.drivers.netns import entered
from dataplane.errors import ConfigError
from labs.catalog import catalog, find_topology
from labs.check import check
from labs.harness import down, held_lab, up
from labs.interrupt import end_in_order
from labs.layout import Layout
from labs.processes import guests
from labs.state import LabState, lab_names, need_root, only_lab, read_state
from labs.status import LabStatus, lab_status
from labs.topology_file import BACKENDS, DATASTORES, with_options
from labs.verdict import Verdict
from podwire.lab_text import print_status, print_trace, print_verdict
from podwire.output import print_json, print_table, progress

_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of text.")
_lab = click.option("--lab", "name", metavar="NAME", help="Which lab, where several are up.")
_name = click.argument("name", required=False)
_backend = click.option("--backend", type=click.Choice(BACKENDS), help="How flannel carries packets between nodes.")
_datastore = click.option(
    "--datastore", type=click.Choice(DATASTORES), help="Where flannel keeps leases: a SQLite file, or a real etcd."
)


@click.group("lab", epilog="Start with: podwire lab up flannel")
def lab() -> None:
    """Networks of nodes and pods on this machine, to look at and to break.

    Nodes and pods are network namespaces; daemons and plugins are the real ones. Nothing touches this machine's own network.
    """


@lab.command("list")
@_json
def list_command(as_json: bool) -> None:
    """The topologies there are, and the labs that are up."""
    topologies = catalog()
    labs = [lab_status(state) for name in lab_names() if (state := read_state(name)) is not None]
    if as_json:
        known = [{"name": name, "summary": topology.summary} for name, topology in topologies.items()]
        print_json({"topologies": known, "labs": [found.document() for found in labs]})
        return
    print_table(("topology", "what it is"), [(name, topology.summary) for name, topology in topologies.items()])
    if labs:
        click.echo()
        print_table(("lab", "network", "phase"), [(found.name, found.backend, found.phase) for found in labs])


@lab.command("up", epilog="Example: podwire lab up flannel --backend host-gw --nodes 4 --datastore etcd")
@click.argument("topology", metavar="NAME|FILE")
@click.option("--name", metavar="NAME", help="Call the lab so; the topology's name otherwise.")
@_backend
@click.option("--nodes", type=int, metavar="N", help="So many nodes.")
@click.option("--pods", type=int, metavar="P", help="So many pods on each node.")
@_datastore
@click.option("--keep", is_flag=True, help="When something fails, leave what is there for a look at it.")
@_json
def up_command(
    topology: str,
    *,
    name: str | None,
    backend: str | None,
    nodes: int | None,
    pods: int | None,
    datastore: str | None,
    keep: bool,
    as_json: bool,
) -> None:
    """Put up a topology: one of `podwire lab list`, or a YAML file. Returns when everybody reaches everybody.

    What fails or is interrupted is undone.
    """
    wanted = with_options(find_topology(topology), name=name, backend=backend, nodes=nodes, pods=pods, datastore=datastore)
    end_in_order()
    with progress() as tell:
        up(Layout(wanted), tell, keep=keep)
    _show_status(lab_status(only_lab(wanted.name)), as_json)
    if not as_json:
        click.echo(f"\nNow: podwire lab check {wanted.name}; podwire lab down {wanted.name} removes it.")


@lab.command("status")
@_name
@_json
def status_command(name: str | None, as_json: bool) -> None:
    """What of a lab is there and runs. Exit status 1 if a part is missing."""
    status = lab_status(_chosen(name))
    _show_status(status, as_json)
    sys.exit(0 if status.ok else 1)


@lab.command("check")
@_name
@_json
def check_command(name: str | None, as_json: bool) -> None:
    """Who reaches whom, how fast, and seen from which address. Exit status 1 if a pair is not as it should be.

    Every pod asks every other pod and the outside host; every node asks every pod.
    """
    verdict = check(_chosen(name).layout)
    _show_verdict(verdict, as_json)
    sys.exit(0 if verdict.ok else 1)


@lab.command("trace", epilog="Example: podwire lab trace node1-pod1 node2-pod1")
@click.argument("source", metavar="SRC")
@click.argument("target", metavar="DST")
@_lab
@_json
def trace_command(source: str, target: str, name: str | None, as_json: bool) -> None:
    """Send a ping and show it on every device that it crosses, with all its headers. Exit status 1 if it is not answered."""
    sys.exit(0 if _trace(_chosen(name).layout, source, target, as_json) else 1)


@lab.command("exec", context_settings={"ignore_unknown_options": True}, epilog="Example: podwire lab exec node1 -- ip route")
@_lab
@click.argument("place", metavar="NODE-OR-POD")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def exec_command(name: str | None, place: str, command: tuple[str, ...]) -> None:
    """Run a command in the namespace of a node or pod. Its exit status is the command's."""
    layout = _chosen(name).layout
    places = (*layout.machines, *(pod.name for pod in layout.pods))
    if place not in places:
        raise ConfigError("NODE-OR-POD", place, f"must be one of: {', '.join(places)}")
    entered(layout.netns(place)).__enter__()  # and stay: this process becomes the command
    try:
        os.execvp(command[0], command)  # noqa: S606  that is what was asked for
    except OSError as error:
        raise ConfigError("command", command[0], f"cannot be run: {error.strerror}") from error


@lab.command("down")
@_name
@click.option("--all", "everything", is_flag=True, help="All labs.")
@_json
def down_command(name: str | None, everything: bool, as_json: bool) -> None:
    """Remove a lab, whatever state it is in: processes, namespaces, files. Nothing to remove is fine."""
    end_in_order()
    names = lab_names()
    if name is None and len(names) > 1 and not everything:
        raise ConfigError("lab", None, f"several are up, name one or say --all: {', '.join(names)}")
    chosen = [name] if name is not None and not everything else names
    guest_lines = [line for each in chosen for line in _guest_lines(each)]
    with progress() as tell:
        removed = [each for each in chosen if down(each, tell)]
    for line in guest_lines:
        click.echo(line, err=True)
    if as_json:
        print_json({"removed": removed})
    else:
        click.echo("\n".join(f"removed {each}" for each in removed) or "nothing to remove")


def _guest_lines(name: str) -> list[str]:
    """A warning for each process that somebody has started in the lab and that `down` leaves alone."""
    state = read_state(name)
    found = guests(state.layout) if state is not None else ()
    return [f"Warning: process {guest.pid} ({' '.join(guest.argv)}) still runs in a namespace of {name}; end it" for guest in found]


@lab.command("demo")
@click.option(
    "--name", metavar="NAME", default="demo", show_default=True, help="Call the lab so; one of that name is removed first."
)
@_backend
@_datastore
def demo_command(name: str, backend: str | None, datastore: str | None) -> None:
    """Put up three nodes, check all pairs, trace one ping, remove everything, and say PASS."""
    end_in_order()
    layout = Layout(with_options(find_topology("flannel"), name=name, backend=backend, datastore=datastore))
    with progress() as tell, held_lab(layout, tell):
        tell.pause()
        passed = _demonstrate(layout)
    click.echo("PASS" if passed else "FAIL")
    sys.exit(0 if passed else 1)


def _demonstrate(layout: Layout) -> bool:
    first, second = layout.topology.nodes[:2]
    verdict = check(layout)
    print_verdict(verdict)
    click.echo()
    answered = _trace(layout, layout.pods_of(first)[0].name, layout.pods_of(second)[0].name, as_json=False)
    click.echo()
    return verdict.ok and answered


def _chosen(name: str | None) -> LabState:
    """The lab that a command is about."""
    need_root()
    return only_lab(name)


def _trace(layout: Layout, source: str, target: str, as_json: bool) -> bool:
    from labs.trace.run import trace  # noqa: PLC0415  scapy takes half a second to import

    found = trace(layout, source, target)
    _show(found.document, lambda: print_trace(found), as_json)
    return found.rtt_ms is not None


def _show_status(status: LabStatus, as_json: bool) -> None:
    _show(status.document, lambda: print_status(status), as_json)


def _show_verdict(verdict: Verdict, as_json: bool) -> None:
    _show(verdict.document, lambda: print_verdict(verdict), as_json)


def _show(document: Callable[[], object], show: Callable[[], None], as_json: bool) -> None:
    if as_json:
        print_json(document())
    else:
        show()
