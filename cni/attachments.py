"""The living attachments that a runtime passes to GC."""

from __future__ import annotations

from cni.errors import INVALID_CONFIG, CniError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.conf import NetConf

_KEYS = ("cni.dev/valid-attachments", "cni.dev/attachments")  # the specification's, and the one that libcni also writes


def valid_attachments(conf: NetConf) -> frozenset[tuple[str, str]]:
    """(container ID, ifname) of all that live. An empty list is a list: then nothing lives.

    Raises:
        CniError: code 7: no list at all, for then nothing may be taken for dead.
    """
    for key in _KEYS:
        if conf.body.value(key) is not None:
            return frozenset((item.text("containerID"), item.text("ifname")) for item in conf.body.sections(key))
    raise CniError(INVALID_CONFIG, f"missing {_KEYS[0]}", "GC removes what is not on that list; pass it, empty if nothing lives")
