"""Versions of the CNI specification: which there are, and what each can say."""

from __future__ import annotations

from cni.errors import DECODING_FAILURE, INCOMPATIBLE_VERSION, CniError

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
CURRENT = SUPPORTED[-1]
UNSTATED = SUPPORTED[0]  # a configuration without cniVersion


def parse_version(text: str) -> tuple[int, ...]:
    """`"1.0.0"` to (1, 0, 0); missing parts are 0, as in the reference.

    Raises:
        CniError: code 6: more than three parts, or a part that is no number.
    """
    parts = text.split(".")
    if len(parts) > 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise CniError(DECODING_FAILURE, f"failed to parse version {text!r}", "up to three numbers joined by dots, such as 1.0.0")
    return tuple(int(part[:9]) for part in parts) + (0,) * (3 - len(parts))


def require_supported(version: str) -> None:
    """Raises CniError code 1 unless the version is one of ours, letter by letter."""
    if version not in SUPPORTED:
        known = " ".join(f'"{v}"' for v in SUPPORTED)
        raise CniError(INCOMPATIBLE_VERSION, "incompatible CNI versions", f'config is "{version}", plugin supports [{known}]')


def require_at_least(version: str, minimum: str, command: str) -> None:
    """Raises CniError code 1 where the configuration's version is older than the command."""
    if parse_version(version) < parse_version(minimum):
        raise CniError(
            INCOMPATIBLE_VERSION,
            f"config version does not allow {command}",
            f'config is "{version}", {command} needs "{minimum}" or later',
        )
