"""What all plugins read of a network configuration and of CNI_ARGS, checked once.

Keys that a plugin does not know are ignored, as everywhere in CNI; keys that it knows and cannot honour are refused.
"""

from __future__ import annotations

from cni.errors import DECODING_FAILURE, INVALID_CONFIG, INVALID_ENVIRONMENT, CniError
from cni.jsontext import Section, parse_object
from cni.result import Dns, Result, parse_dns, parse_result
from cni.version import UNSTATED
from dataplane.errors import ConfigError
from dataplane.record import record

_NAME_START = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
_NAME_REST = _NAME_START | frozenset("_.-")
_TRUE = ("1", "true")
_FALSE = ("0", "false")
NOT_A_DEVICE = ("all", "default")  # names of folders below /proc/sys/net/*/conf; and of `a%d` the kernel makes a0, a1, ...
_KNOWN_ARGS = frozenset({"IP", "MAC"})


@record
class NetConf:
    """The part that skel and all plugins share. `body` is the whole document."""

    version: str
    name: str
    type: str
    ipam_type: str
    body: Section


def is_valid_name(text: object) -> bool:
    """The specification's rule for network names and container IDs: a letter or digit, then also `_`, `.` and `-`."""
    return isinstance(text, str) and bool(text) and text[0] in _NAME_START and _NAME_REST.issuperset(text)


def parse_conf(data: bytes) -> NetConf:
    """stdin to the common part, with a network name that is valid. The version is not judged here.

    Raises:
        CniError: code 6: not an object, or a common field of another type. Code 7: the name is missing or bad.
    """
    body = parse_object(data, "network config")
    try:
        version, name, kind = body.text("cniVersion"), body.text("name"), body.text("type")
        ipam_type = body.section("ipam").text("type")
    except ConfigError as error:
        raise CniError(DECODING_FAILURE, f"error unmarshall network config: {error}") from None
    if not name:
        raise CniError(INVALID_CONFIG, "missing network name", 'the configuration needs a "name"')
    if not is_valid_name(name):
        raise CniError(INVALID_CONFIG, "invalid characters found in network name", name)
    return NetConf(version or UNSTATED, name, kind, ipam_type, body)


def prev_result(conf: NetConf) -> Result | None:
    """The result of the plugin before, or of the ADD; None where there is none.

    Raises:
        CniError, ConfigError: it is there and cannot be read.
    """
    if conf.body.value("prevResult") is None:
        return None
    return parse_result(conf.body.section("prevResult"), conf.version)


def required_prev_result(conf: NetConf) -> Result:
    """As CHECK needs it. Raises CniError code 7 without one."""
    result = prev_result(conf)
    if result is None:
        raise CniError(
            INVALID_CONFIG, "Required prevResult missing", "CHECK compares with the result of the ADD; pass it as prevResult"
        )
    return result


def prev_result_if_readable(conf: NetConf) -> Result | None:
    """As DEL wants it: a result that cannot be read must not keep anything from being removed."""
    try:
        return prev_result(conf)
    except (CniError, ConfigError):
        return None


def configured_dns(conf: NetConf) -> Dns | None:
    """The configuration's `dns` if any of its fields is given, even an empty one; it then replaces the IPAM's."""
    section = conf.body.section("dns")
    given = any(section.value(name) is not None for name in ("nameservers", "domain", "search", "options"))
    return parse_dns(section) if given else None


def parse_cni_args(text: str) -> dict[str, str]:
    """CNI_ARGS: `K=V;K=V`. Keys that no plugin of ours knows are an error unless IgnoreUnknown is 1 or true.

    Raises:
        CniError: code 4.
    """
    pairs: dict[str, str] = {}
    for item in text.split(";") if text else ():
        key, equals, value = item.partition("=")
        if not equals or "=" in value:
            raise CniError(
                INVALID_ENVIRONMENT, f'CNI_ARGS: ARGS: invalid pair "{item}"', "pairs are KEY=VALUE joined by semicolons"
            )
        pairs[key] = value
    ignore = pairs.pop("IgnoreUnknown", "0").lower()
    if ignore not in _TRUE + _FALSE:
        raise CniError(INVALID_ENVIRONMENT, f'CNI_ARGS: IgnoreUnknown is "{ignore}"', "1, 0, true or false is wanted")
    unknown = [f"{key}={value}" for key, value in pairs.items() if key not in _KNOWN_ARGS]
    if unknown and ignore in _FALSE:
        shown = " ".join(f'"{item}"' for item in unknown)
        raise CniError(
            INVALID_ENVIRONMENT, f"CNI_ARGS: ARGS: unknown args [{shown}]", "known are IP and MAC; IgnoreUnknown=1 allows others"
        )
    return pairs
