"""The topologies that come with podwire, and those that a user has in a file."""

from __future__ import annotations

from pathlib import Path

from dataplane.errors import ConfigError
from labs.strict import MAX_FILE_CHARACTERS
from labs.topology import Topology
from labs.topology_file import parse_topology

_FOLDER = Path(__file__).parent / "netns"


def catalog() -> dict[str, Topology]:
    """The topologies that come with podwire, by name."""
    return {path.stem: _load(path) for path in sorted(_FOLDER.glob("*.yaml"))}


def find_topology(name_or_file: str) -> Topology:
    """A topology by its name, or from a file if there is a slash or a YAML suffix.

    Raises:
        ConfigError: no such topology or file, or something wrong inside.
    """
    if "/" in name_or_file or name_or_file.endswith((".yaml", ".yml")):
        return _load(Path(name_or_file))
    path = _FOLDER / f"{name_or_file}.yaml"
    names = sorted(path.stem for path in _FOLDER.glob("*.yaml"))
    if path.stem not in names:
        raise ConfigError("topology", name_or_file, f"is not known; there are {', '.join(names)}, or give the path of a YAML file")
    return _load(path)


def _load(path: Path) -> Topology:
    try:
        with path.open(encoding="utf-8") as file:
            text = file.read(MAX_FILE_CHARACTERS + 1)  # a device like /dev/zero has no end
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
        raise ConfigError("topology file", str(path), f"cannot be read: {reason}") from error
    return parse_topology(text, str(path))
