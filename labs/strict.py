"""Strict reading of YAML: a key nobody asked for, a wrong type or an impossible value is an error that names its place.

Pure. A mapping is read through `Fields`, which knows where it stands in the file, so that each error can say so.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Sequence
from typing import Any

import yaml

from dataplane.errors import ConfigError
from dataplane.inet import IP, Prefix, parse_ip, parse_prefix

_MISSING: Any = object()
MAX_FILE_CHARACTERS = 64 << 10  # fifty nodes need five thousand
_MAX_WEIGHT = 4 * MAX_FILE_CHARACTERS  # of what a file says once its aliases are written out
_MERGE_TAG = "tag:yaml.org,2002:merge"  # `<<`: takes in another mapping, whose keys ours may override
_NOT_FOR_HOSTS = tuple(parse_prefix(text) for text in ("0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3"))  # RFC 6890


class _UniqueKeys(yaml.SafeLoader):
    """YAML lets a later key silently win over an equal one before it; a person who wrote both meant something else."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            if key_node.tag == _MERGE_TAG:
                continue
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable) and key in seen:
                raise yaml.constructor.ConstructorError(problem=f"the key {key!r} stands twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def load_yaml(text: str, where: str) -> object:
    """The document as plain values.

    Raises:
        ConfigError: not YAML, a key stands twice, or it is far larger than a topology; names line and column where there is one.
    """
    too_large = ConfigError(where, None, f"is too large for a topology: at most {MAX_FILE_CHARACTERS} characters")
    if len(text) > MAX_FILE_CHARACTERS:
        raise too_large
    try:
        document = yaml.load(text, _UniqueKeys)  # noqa: S506  a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"{where}: line {mark.line + 1}, column {mark.column + 1}" if mark else where
        raise ConfigError(place, None, f"is not usable YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(where, None, f"is not YAML: {error}") from error
    except (ValueError, TypeError) as error:  # a date of the 13th month; a mapping as a key
        raise ConfigError(where, None, f"holds a value that is none: {error}") from error
    except RecursionError as error:
        raise ConfigError(where, None, "is nested too deeply") from error
    if _outweighs(document, _MAX_WEIGHT):
        raise too_large
    return document


def _outweighs(document: object, limit: int) -> bool:
    """Whether it would be longer than `limit` with every alias (`*name`) written out; some lines of aliases can mean gigabytes."""
    weight, left = 0, [document]
    while left and weight <= limit:
        value = left.pop()
        weight += 1 + (len(value) if isinstance(value, str) else 0)
        if isinstance(value, dict):
            left += [*value.keys(), *value.values()]
        elif isinstance(value, (list, set, tuple)):
            left += value
    return weight > limit


class Fields:
    """One mapping of a document.

    Args:
        value: what stood there.
        where: file and key path so far, e.g. `"flannel.yaml: topology.nodes"`.
        keys: the keys that may stand here; None for any text.

    Raises:
        ConfigError: not a mapping, or an unknown key.
    """

    def __init__(self, value: object, where: str, keys: Sequence[str] | None) -> None:
        if not isinstance(value, dict):
            raise ConfigError(where, value, "must be a mapping (lines of `key: value`)")
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(where, key, "keys must be text; put it in quotes")
            if keys is not None and key not in keys:
                raise ConfigError(at(where, key), value[key], f"unknown key; allowed here: {', '.join(keys)}")
        self.where, self._value = where, value

    def names(self) -> tuple[str, ...]:
        return tuple(self._value)

    def has(self, key: str) -> bool:
        return key in self._value

    def place(self, key: str) -> str:
        return at(self.where, key)

    def get(self, key: str) -> object:
        """The raw value.

        Raises:
            ConfigError: the key is missing.
        """
        value = self._value.get(key, _MISSING)
        if value is _MISSING:
            raise ConfigError(self.place(key), None, "is missing")
        return value

    def text(self, key: str, default: str | None = None, *, choices: Sequence[str] = (), pattern: str = "", like: str = "") -> str:
        """Text, one of `choices` or matching `pattern` (described by `like`) if given."""
        if default is not None and not self.has(key):
            return default
        return text_at(self.get(key), self.place(key), choices=choices, pattern=pattern, like=like)

    def integer(self, key: str, low: int, high: int, default: int | None = None) -> int:
        if default is not None and not self.has(key):
            return default
        value = self.get(key)
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise ConfigError(self.place(key), value, f"must be a whole number from {low} to {high}")
        return value

    def items(self, key: str) -> list[object]:
        value = self.get(key)
        if not isinstance(value, list):
            raise ConfigError(self.place(key), value, "must be a list (lines of `- item`)")
        return value

    def ipv4(self, key: str) -> IP:
        text = self.text(key)
        try:
            ip = parse_ip(text)
        except ValueError:
            raise ConfigError(self.place(key), text, "must be an IPv4 address like 203.0.113.1") from None
        if ip.version != 4:
            raise ConfigError(self.place(key), text, "must be an IPv4 address like 203.0.113.1")
        _refuse_special(Prefix(ip, 32), self.place(key), text)
        return ip

    def ipv4_network(self, key: str, shortest: int, longest: int) -> Prefix:
        """A network with no host bits set and a prefix length from `shortest` to `longest`."""
        text = self.text(key)
        allowed = f"must be an IPv4 network like 10.244.0.0/16, with a prefix length from {shortest} to {longest}"
        try:
            prefix = parse_prefix(text)
        except ValueError:
            raise ConfigError(self.place(key), text, allowed) from None
        if prefix.version != 4 or not shortest <= prefix.length <= longest:
            raise ConfigError(self.place(key), text, allowed)
        if prefix != prefix.network:
            raise ConfigError(self.place(key), text, f"has host bits set; did you mean {prefix.network}?")
        _refuse_special(prefix, self.place(key), text)
        return prefix


def _refuse_special(prefix: Prefix, where: str, text: str) -> None:
    for special in _NOT_FOR_HOSTS:
        if prefix.overlaps(special):
            raise ConfigError(
                where, text, f"lies in {special}, whose addresses hosts cannot have; try a private one, like 10.244.0.0/16"
            )


def text_at(value: object, where: str, *, choices: Sequence[str] = (), pattern: str = "", like: str = "") -> str:
    """The value as text: one of `choices`, or matching `pattern` (described by `like`), if given.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, str):
        raise ConfigError(where, value, f"must be text: {', '.join(choices)}" if choices else "must be text; put it in quotes")
    if choices and value not in choices:
        raise ConfigError(where, value, f"must be one of: {', '.join(choices)}")
    if pattern and not re.fullmatch(pattern, value):
        raise ConfigError(where, value, f"must be {like}")
    return value


def at(where: str, key: str | int) -> str:
    """The place of `key` below `where`: `file.yaml: a.b`, `file.yaml: a.b[2]`."""
    if isinstance(key, int):
        return f"{where}[{key}]"
    return f"{where}.{key}" if ": " in where else f"{where}: {key}"
