"""Running a network list as a container runtime does (reference: libcni). For labs, tests and `podwire cni`; no plugin imports it.

ADD, CHECK, GC and STATUS go through the list in order, DEL backwards. Each plugin of an ADD gets the result of the one before as
prevResult; CHECK and DEL get the final one from the cache, whose files are libcni's own: a runtime can delete what this has added.
"""

from __future__ import annotations

import base64
import json
import os
from dataclasses import dataclass, field
from typing import Any

from cni.conf import is_valid_name
from cni.delegate import find
from cni.errors import DECODING_FAILURE, INCOMPATIBLE_VERSION, INTERNAL, INVALID_CONFIG, CniError
from cni.version import SUPPORTED, UNSTATED, parse_version
from dataplane.drivers.run import run

DEFAULT_CACHE_DIR = "/var/lib/cni"
_TIMEOUT_S = 240.0
_SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
_DISABLED_BY = {"CHECK": "disableCheck", "GC": "disableGC"}


@dataclass(frozen=True)
class NetworkList:
    """A conflist as it is run: one version, one name, plugins in order."""

    version: str
    name: str
    plugins: tuple[dict[str, Any], ...]
    switched_off: frozenset[str]
    text: bytes


@dataclass(frozen=True)
class Attachment:
    """One container's interface in a network, and how its plugins are to be started.

    Args:
        cache_dir: the folder in which `results/` lies; libcni's is /var/lib/cni.
        host_netns: path of the namespace that plays the host; None is this one.
        cni_args: CNI_ARGS.
        capability_args: what the runtime knows, by capability; a plugin gets those that it asks for, as runtimeConfig.
    """

    container_id: str
    netns: str
    ifname: str
    cni_path: str
    cache_dir: str = DEFAULT_CACHE_DIR
    host_netns: str | None = None
    cni_args: str = ""
    capability_args: dict[str, Any] = field(default_factory=dict)


def load_list(path: str) -> NetworkList:
    """A `.conflist`, or a single plugin's `.conf` as a list of one.

    Raises:
        CniError: code 6 or 7.
    """
    with open(path, "rb") as file:
        text = file.read()
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(DECODING_FAILURE, f"{path}: {error}", "one JSON object is wanted") from None
    if not isinstance(document, dict) or not is_valid_name(document.get("name")):
        raise CniError(
            INVALID_CONFIG,
            f"{path}: no name, or a bad one",
            'a network list is an object with "plugins" and a "name" of letters, digits, "_.-"',
        )
    plugins = document.get("plugins", [document])
    if not isinstance(plugins, list) or not plugins or not all(_is_plugin(plugin) for plugin in plugins):
        raise CniError(
            INVALID_CONFIG,
            f"{path}: plugins",
            'a list of objects, each with a "type" and perhaps an object "capabilities", is wanted',
        )
    off = frozenset(verb for verb, key in _DISABLED_BY.items() if document.get(key) in (True, "true"))
    return NetworkList(_version(document), document["name"], tuple(plugins), off, text)


def _is_plugin(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("type"), str) and isinstance(item.get("capabilities") or {}, dict)


def _version(document: dict[str, Any]) -> str:
    """The highest of cniVersion and cniVersions that we know."""
    more = document.get("cniVersions")
    stated = [document.get("cniVersion") or UNSTATED, *(more if isinstance(more, list) else ())]
    known: list[str] = [version for version in stated if version in SUPPORTED]
    if not known:
        raise CniError(INCOMPATIBLE_VERSION, f"cniVersion {', '.join(map(str, stated))}", f"known are {', '.join(SUPPORTED)}")
    return max(known, key=parse_version)


def run_list(  # noqa: PLR0917  the order is part of the interface
    verb: str,
    conflist_path: str,
    container_id: str,
    netns: str,
    ifname: str,
    cni_path: str,
    cache_dir: str = DEFAULT_CACHE_DIR,
    *,
    host_netns: str | None = None,
    cni_args: str = "",
    capability_args: dict[str, Any] | None = None,
    valid_attachments: list[dict[str, str]] | None = None,
) -> dict[str, Any] | None:
    """Do ADD, DEL, CHECK, GC or STATUS for a whole list; the result of an ADD.

    Args:
        valid_attachments: for GC: `{"containerID", "ifname"}` of all that live.

    Raises:
        CniError: of the first plugin that failed, with its type in the text. After a failed ADD call DEL, as all runtimes do.
        KernelError: a plugin could not be started.
    """
    network = load_list(conflist_path)
    attachment = Attachment(container_id, netns, ifname, cni_path, cache_dir, host_netns, cni_args, capability_args or {})
    if verb == "ADD":
        return _add(network, attachment)
    if verb == "DEL":
        _delete(network, attachment)
    else:
        _ask(verb, network, attachment, valid_attachments)
    return None


def _ask(verb: str, network: NetworkList, attachment: Attachment, valid_attachments: list[dict[str, str]] | None) -> None:
    """CHECK, GC or STATUS: through the list, as far as its version knows the verb and its owner has not switched it off."""
    if parse_version(network.version) < parse_version(_SINCE[verb]):
        raise CniError(
            INCOMPATIBLE_VERSION, f"configuration version {network.version} does not support {verb}", f"needs {_SINCE[verb]}"
        )
    if verb in network.switched_off:
        return
    extra: dict[str, Any] = {}
    if verb == "CHECK":
        extra = _with_cached(network, attachment)
    elif verb == "GC" and valid_attachments is not None:
        extra = {"cni.dev/valid-attachments": valid_attachments, "cni.dev/attachments": valid_attachments}
        _delete_dead(network, attachment, valid_attachments)
    for plugin in network.plugins:
        _call(verb, network, plugin, attachment, extra)


def _add(network: NetworkList, attachment: Attachment) -> dict[str, Any] | None:
    result: dict[str, Any] | None = None
    for plugin in network.plugins:
        result = _call("ADD", network, plugin, attachment, {} if result is None else {"prevResult": result})
    _write_cache(network, attachment, result)
    return result


def _delete(network: NetworkList, attachment: Attachment) -> None:
    extra = {} if parse_version(network.version) < (0, 4, 0) else _with_cached(network, attachment)
    for plugin in reversed(network.plugins):
        _call("DEL", network, plugin, attachment, extra)
    path = _cache_path(network, attachment)
    if os.path.exists(path):
        os.unlink(path)


def _delete_dead(network: NetworkList, attachment: Attachment, living: list[dict[str, str]]) -> None:
    """What stands in the cache and does not live is deleted in the ordinary way first, as libcni does."""
    keep = {(item["containerID"], item["ifname"]) for item in living}
    for cached in _cached_attachments(network, attachment.cache_dir):
        pair = (cached["containerId"], cached["ifName"])
        if pair not in keep:
            gone = Attachment(
                *pair[:1], cached.get("netns", ""), pair[1], attachment.cni_path, attachment.cache_dir, attachment.host_netns
            )
            _delete(network, gone)


def _call(
    verb: str, network: NetworkList, plugin: dict[str, Any], attachment: Attachment, extra: dict[str, Any]
) -> dict[str, Any] | None:
    """Execute one plugin."""
    conf = {**plugin, "name": network.name, "cniVersion": network.version, **extra}
    wanted = {key for key, on in (plugin.get("capabilities") or {}).items() if on}
    runtime = {key: value for key, value in attachment.capability_args.items() if key in wanted}
    if runtime:
        conf["runtimeConfig"] = runtime
    where = f'plugin type="{plugin["type"]}" name="{network.name}" failed ({verb.lower()})'
    ran = run(
        [find(plugin["type"], attachment.cni_path)],
        json.dumps(conf).encode(),
        netns=attachment.host_netns,
        env=_environment(verb, attachment),
        timeout_s=_TIMEOUT_S,
    )
    if ran.status != 0:
        raise _failure(where, ran.status, ran.stdout, ran.stderr)
    if verb != "ADD":
        return None
    try:
        result: dict[str, Any] = json.loads(ran.stdout)
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"{where}: its result is not JSON: {error}") from None
    return result


def _environment(verb: str, attachment: Attachment) -> dict[str, str]:
    given = {
        "CNI_COMMAND": verb,
        "CNI_CONTAINERID": attachment.container_id,
        "CNI_NETNS": attachment.netns,
        "CNI_IFNAME": attachment.ifname,
        "CNI_ARGS": attachment.cni_args,
        "CNI_PATH": attachment.cni_path,
    }
    return {**os.environ, **given}


def _failure(where: str, status: int, stdout: bytes, stderr: bytes) -> CniError:
    try:
        document = json.loads(stdout)
        return CniError(int(document["code"]), f"{where}: {document['msg']}", str(document.get("details", "")))
    except (ValueError, KeyError, TypeError):
        said = (stdout.strip() or stderr.strip()).decode(errors="replace") or "no error message"
        return CniError(INTERNAL, f"{where}: exit status {status}: {said}")


def _cache_path(network: NetworkList, attachment: Attachment) -> str:
    name = f"{network.name}-{attachment.container_id}-{attachment.ifname}"
    return os.path.join(attachment.cache_dir, "results", name)


def _write_cache(network: NetworkList, attachment: Attachment, result: dict[str, Any] | None) -> None:
    path = _cache_path(network, attachment)
    os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
    document = {
        "kind": "cniCacheV1",
        "containerId": attachment.container_id,
        "config": base64.b64encode(network.text).decode(),
        "ifName": attachment.ifname,
        "networkName": network.name,
        "netns": attachment.netns,
        "cniArgs": [pair.split("=", 1) for pair in attachment.cni_args.split(";") if "=" in pair],
        "capabilityArgs": attachment.capability_args,
        "result": result,
    }
    new = f"{path}.new"
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(document, file)
    os.replace(new, path)


def _with_cached(network: NetworkList, attachment: Attachment) -> dict[str, Any]:
    """prevResult from the cache. A file that cannot be read is none: DEL has to work without."""
    cached = _read_cache(_cache_path(network, attachment))
    return {"prevResult": cached["result"]} if cached and cached.get("result") else {}


def _cached_attachments(network: NetworkList, cache_dir: str) -> list[dict[str, Any]]:
    folder = os.path.join(cache_dir, "results")
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = [_read_cache(os.path.join(folder, name)) for name in names]
    return [cached for cached in found if cached and cached.get("networkName") == network.name]


def _read_cache(path: str) -> dict[str, Any] | None:
    try:
        with open(path, encoding="utf-8") as file:
            cached = json.load(file)
    except (OSError, ValueError):
        return None
    return cached if isinstance(cached, dict) and cached.get("kind") == "cniCacheV1" else None
