"""host-local: addresses from local ranges, reserved in files (reference: plugins/ipam/host-local).

bridge and ptp also call these verbs in process, which saves an exec.
"""

from __future__ import annotations

import os

from cni.attachments import valid_attachments
from cni.conf import prev_result
from cni.errors import INTERNAL, NOT_AVAILABLE, CniError
from cni.host_local_ipam.conf import data_dir, parse_ipam_conf
from cni.host_local_ipam.desired import desired_leases, held_by, stale, wrongly_held
from cni.host_local_ipam.ranges import range_of, shown, size
from cni.host_local_ipam.resolv import parse_resolv_conf
from cni.host_local_ipam.store import Store
from cni.result import Dns, Result
from cni.skel import Args, Plugin


def add(args: Args) -> Result:
    """Reserve one address of each range set, or none at all."""
    conf = parse_ipam_conf(args.conf, args.cni_args)
    dns = _dns(conf.resolv_conf)
    store = Store(data_dir(args.conf))
    store.create()
    with store.lock():
        last = {index: store.last_reserved(index) for index in range(len(conf.range_sets))}
        leases = desired_leases(conf, args.container_id, args.ifname, store.reservations(), last)
        done = []
        try:
            for lease in leases:
                address = lease.ip.address.address
                if not store.reserve(address, args.container_id, args.ifname, lease.range_index):
                    raise CniError(INTERNAL, f"{store.folder}/{address} exists and cannot be read as a reservation", "remove it")
                done.append(address)
        except BaseException:
            store.release(done)
            raise
    return Result((), tuple(lease.ip for lease in leases), conf.routes, dns)


def delete(args: Args) -> None:
    """Give back all addresses of the attachment. Needs the network's name and dataDir only."""
    store = Store(data_dir(args.conf))
    if not store.exists():
        return
    with store.lock():
        store.release(held_by(store.reservations(), args.container_id, args.ifname))


def check(args: Args) -> None:
    """The addresses of the result are reserved for the attachment; without a result, any address is."""
    conf = parse_ipam_conf(args.conf, args.cni_args)
    store = Store(data_dir(args.conf))
    taken = {}
    if store.exists():
        with store.lock():
            taken = store.reservations()
    result = prev_result(args.conf)
    wrong = wrongly_held(conf, args.container_id, args.ifname, taken, (ip.address.address for ip in result.ips) if result else ())
    if wrong or not held_by(taken, args.container_id, args.ifname):
        words = f"addresses not reserved for it: {', '.join(map(str, wrong))}" if wrong else "it holds no address"
        raise CniError(
            INTERNAL, f"host-local: Failed to find address added by container {args.container_id}", f"{store.folder}: {words}"
        )


def gc(args: Args) -> None:
    """Give back every address of the network whose attachment does not live. Needs no ranges."""
    living = valid_attachments(args.conf)
    store = Store(data_dir(args.conf))
    if not store.exists():
        return
    with store.lock():
        store.release(stale(store.reservations(), living))


def status(args: Args) -> None:
    """Whether an ADD could get its addresses: the folder can be written, and each range set has a free address."""
    conf = parse_ipam_conf(args.conf, "")
    store = Store(data_dir(args.conf))
    folder = store.folder
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder) or "/"
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CniError(NOT_AVAILABLE, f"host-local: {folder} cannot be written", "check the mount and its owner")
    if not store.exists():
        return
    with store.lock():
        taken = store.reservations()
    for ranges in conf.range_sets:
        used, room = sum(1 for ip in taken if range_of(ip, ranges)), size(ranges)
        if used >= room:
            raise CniError(
                NOT_AVAILABLE, f"host-local: no IP addresses available in range set: {shown(ranges)}", f"{used} of {room} reserved"
            )


def _dns(path: str) -> Dns:
    if not path:
        return Dns()
    with open(path, encoding="utf-8", errors="replace") as file:
        return parse_resolv_conf(file.read())


PLUGIN = Plugin("host-local", add, delete, check, gc, status)
