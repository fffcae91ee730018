"""Addresses for bridge and ptp, from the plugin that `ipam.type` names."""

from __future__ import annotations

from cni.delegate import delegate, find
from cni.errors import INTERNAL, CniError
from dataplane.errors import ConfigError, KernelError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.result import Result
    from cni.skel import Args


def ipam_add(args: Args) -> Result:
    """The addresses; at least one.

    Raises:
        CniError: there are none. Nothing is reserved then.
    """
    find(args.conf.ipam_type, args.path)  # what is not there has nothing to clean up
    try:
        result = delegate(args, args.conf.ipam_type, "ADD")
    except (CniError, KernelError) as error:
        _clean_up_after(args, error)
        raise
    if result is None or not result.ips:
        ipam_delete(args)
        raise CniError(INTERNAL, "IPAM plugin returned missing IP config", f"{args.conf.ipam_type} gave no address")
    return result


def ipam_delete(args: Args) -> None:
    delegate(args, args.conf.ipam_type, "DEL")


def ipam_forward(args: Args) -> None:
    """CHECK, GC and STATUS go to the IPAM as they came."""
    delegate(args, args.conf.ipam_type, args.command)


def _clean_up_after(args: Args, error: CniError | KernelError) -> None:
    """The specification wants a DEL after a delegate's failed ADD. host-local is spared: a failed ADD of ours reserves nothing,
    and its DEL would release what an earlier ADD of the same attachment holds."""
    if args.conf.ipam_type == "host-local":
        return
    try:
        ipam_delete(args)
    except (CniError, ConfigError, KernelError, OSError) as second:
        if isinstance(error, CniError):
            error.details = f"{error.details}; the DEL after it failed too: {second}".lstrip("; ")
