"""JSON text to values and back, with the C scanner alone: importing `json` costs 7 ms, since it compiles regular expressions.

Reading follows Go's encoding/json, which all other CNI programs use: keys match without regard to case, the last of several
wins, `null` means "not given", and a wrong type is refused rather than converted.
"""

from __future__ import annotations

from _json import encode_basestring_ascii, make_scanner

from cni.errors import DECODING_FAILURE, CniError
from dataplane.errors import ConfigError
from dataplane.inet import parse_ip, parse_prefix

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeVar

    from dataplane.inet import IP, Prefix

    T = TypeVar("T")

_SPACE = " \t\n\r"
_TYPE_NAMES = {str: "a string", bool: "true or false", int: "an integer", dict: "an object", list: "a list"}


def _in_order_of_the_last(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A dictionary whose order is that of each key's last occurrence, so that "later wins" holds across spellings too."""
    values: dict[str, Any] = {}
    for name, value in pairs:
        values.pop(name, None)
        values[name] = value
    return values


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise ValueError(f"{digits} is too large a number")
    return number


class _Settings:
    """What the C scanner asks its owner for."""

    strict = True
    object_hook = None
    object_pairs_hook = staticmethod(_in_order_of_the_last)
    parse_float = staticmethod(_finite)
    parse_int = int
    parse_constant = staticmethod(_refuse_constant)


_scan = make_scanner(_Settings)  # type: ignore[arg-type]  # it takes anything with these attributes


def parse(data: bytes) -> Any:
    """One JSON document.

    Raises:
        ValueError: it is not one; the text says where.
    """
    text = data.decode("utf-8", "replace")
    start = len(text) - len(text.lstrip(_SPACE))
    if start == len(text):
        raise ValueError("unexpected end of JSON input")
    try:
        value, end = _scan(text, start)
        if "\\ud" in text or "\\uD" in text:
            value = _encodable(value)
    except StopIteration as stop:
        raise ValueError(f"no JSON value at character {stop.value}") from None
    except RecursionError:
        raise ValueError("nested too deeply") from None
    rest = text[end:].lstrip(_SPACE)
    if rest:
        raise ValueError(f"character {rest[0]!r} after the document, at character {len(text) - len(rest)}")
    return value


def _encodable(value: Any) -> Any:
    """The value with U+FFFD, as in Go, for each half of a surrogate pair that stands alone: no encoding has a form for it."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, list):
        return [_encodable(item) for item in value]
    return {_encodable(name): _encodable(item) for name, item in value.items()} if isinstance(value, dict) else value


def render(value: object, indent: str = "    ") -> str:
    """JSON text, four spaces a level as the reference prints it; on one line with `indent=""`.

    Raises:
        ConfigError: nested more deeply than this interpreter can follow.
    """
    try:
        return _render(value, "\n" if indent else "", indent)
    except RecursionError:
        raise ConfigError("JSON", None, "nested too deeply to be passed on; some hundred levels are possible") from None


def _render(value: object, line: str, indent: str) -> str:
    if isinstance(value, dict):
        colon = ": " if indent else ":"
        parts = [encode_basestring_ascii(str(k)) + colon + _render(v, line + indent, indent) for k, v in value.items()]
        return _enclosed("{", parts, "}", line, indent)
    if isinstance(value, (list, tuple)):
        return _enclosed("[", [_render(v, line + indent, indent) for v in value], "]", line, indent)
    if isinstance(value, str):
        return str(encode_basestring_ascii(value))
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)


def _enclosed(start: str, parts: list[str], end: str, line: str, indent: str) -> str:
    return start + line + indent + ("," + line + indent).join(parts) + line + end if parts else start + end


class Section:
    """One object of a configuration, read by key with a type. `where` is its path, for messages.

    Raises (all readers):
        ConfigError: the value has another type than asked for, or is a text with a NUL in it.
    """

    def __init__(self, values: Mapping[str, Any], where: str = "") -> None:
        self.values, self.where = values, where

    def value(self, name: str) -> Any:
        """The value as it stands, or None: the last one whose key matches, `null` not counted."""
        found = None
        for key, value in self.values.items():
            if value is not None and (key == name or key.lower() == name.lower()):
                found = value
        return found

    def path(self, name: str) -> str:
        return f"{self.where}.{name}" if self.where else name

    def text(self, name: str, default: str = "") -> str:
        return self._typed(name, str, default)

    def flag(self, name: str, default: bool = False) -> bool:
        return self._typed(name, bool, default)

    def integer(self, name: str, low: int, high: int, default: int = 0) -> int:
        number = self._typed(name, int, default)
        if not low <= number <= high:
            raise ConfigError(self.path(name), number, f"an integer from {low} to {high} is wanted")
        return number

    def section(self, name: str) -> Section:
        """The object below; an empty one if it is not given."""
        return Section(self._typed(name, dict, {}), self.path(name))

    def items(self, name: str) -> list[Any]:
        return self._typed(name, list, [])

    def sections(self, name: str) -> tuple[Section, ...]:
        return tuple(_section(item, f"{self.path(name)}[{i}]") for i, item in enumerate(self.items(name)))

    def section_lists(self, name: str) -> tuple[tuple[Section, ...], ...]:
        """A list of lists of objects."""
        lists = [_checked(item, list, f"{self.path(name)}[{i}]") for i, item in enumerate(self.items(name))]
        return tuple(
            tuple(_section(item, f"{self.path(name)}[{i}][{j}]") for j, item in enumerate(items)) for i, items in enumerate(lists)
        )

    def texts(self, name: str) -> tuple[str, ...]:
        return tuple(_checked(item, str, f"{self.path(name)}[{i}]") for i, item in enumerate(self.items(name)))

    def ip(self, name: str) -> IP | None:
        """An address, or None where there is none or an empty text, as Go's net.IP reads it."""
        return self._parsed(name, parse_ip)

    def prefix(self, name: str) -> Prefix | None:
        return self._parsed(name, parse_prefix)

    def _parsed(self, name: str, parse_text: Callable[[str], T]) -> T | None:
        text = self.text(name)
        try:
            return parse_text(text) if text else None
        except ValueError as error:
            raise ConfigError(self.path(name), None, str(error)) from None

    def _typed(self, name: str, kind: type[T], default: T) -> T:
        value = self.value(name)
        return default if value is None else _checked(value, kind, self.path(name))


def _section(item: Any, where: str) -> Section:
    return Section(_checked(item, dict, where), where)


def _checked(value: Any, kind: type[T], where: str) -> T:
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise ConfigError(where, value, f"{_TYPE_NAMES[kind]} is wanted")
    if isinstance(value, str) and "\0" in str(value):
        raise ConfigError(where, value, "a NUL character ends every name in the kernel; remove it")
    return value


def parse_object(data: bytes, what: str) -> Section:
    """A document that must be one object; `null` is an empty one, as in Go.

    Raises:
        CniError: code 6.
    """
    try:
        value = parse(data)
    except ValueError as error:
        raise CniError(DECODING_FAILURE, f"error unmarshall {what}: {error}", "one JSON object is wanted") from None
    if value is not None and not isinstance(value, dict):
        raise CniError(DECODING_FAILURE, f"error unmarshall {what}: it is not an object", "one JSON object is wanted")
    return Section(value or {})
