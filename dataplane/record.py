"""Frozen values that cost a CNI plugin nothing to define.

To the type checker and the reader a `@record` is a frozen dataclass. At run time it is a closure: importing `dataclasses`
takes 12 ms, which is a plugin's whole budget, while a record class takes about 10 us and an instance under 1 us.

    @record
    class Point:
        x: int
        y: int = 0

Equality and hash go by class and by all fields. Fields of base classes come first, as with dataclasses.
"""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Any, TypeVar, dataclass_transform

    T = TypeVar("T")

    @dataclass_transform(frozen_default=True)
    def record(cls: type[T]) -> type[T]: ...

else:

    def record(cls):
        names = field_names(cls)
        known = frozenset(names)
        defaults = {name: getattr(cls, name) for name in names if hasattr(cls, name)}

        def __init__(self, *args, **kwargs):
            values = self.__dict__
            values.update(defaults)
            values.update(zip(names, args, strict=False))
            values.update(kwargs)
            if values.keys() != known or len(args) > len(names):
                raise TypeError(_complaint(cls, names, args, kwargs, values))

        def __eq__(self, other):
            return self.__dict__ == other.__dict__ if type(self) is type(other) else NotImplemented

        def __hash__(self):
            values = self.__dict__
            return hash((cls, *[values[name] for name in names]))

        def __repr__(self):
            values = self.__dict__
            shown = [f"{n}={values[n]!r}" for n in names if n not in defaults or values[n] != defaults[n]]
            return f"{cls.__name__}({', '.join(shown)})"

        def __setattr__(self, name, value):
            raise AttributeError(f"{cls.__name__} is frozen: cannot assign {name!r}")

        cls.__init__, cls.__eq__, cls.__hash__, cls.__setattr__ = __init__, __eq__, __hash__, __setattr__
        if cls.__repr__ is object.__repr__ or getattr(cls.__repr__, "_by_record", False):
            __repr__._by_record = True
            cls.__repr__ = __repr__
        cls.FIELDS = names
        return cls


def field_names(cls: type) -> tuple[str, ...]:
    """Names of all annotated fields but ClassVar, those of base classes first; each once."""
    names: dict[str, None] = {}
    for base in reversed(cls.__mro__):
        annotations = base.__dict__.get("__annotations__") or {}  # noqa: RUF063  importing inspect costs 10 ms
        names.update((name, None) for name, hint in annotations.items() if not str(hint).startswith("ClassVar"))
    return tuple(names)


def replace(value: T, **changes: Any) -> T:
    """A copy of a record with some fields changed.

    Raises:
        TypeError: a name in `changes` is not a field.
    """
    return type(value)(**{**value.__dict__, **changes})


def _complaint(cls: type, names: tuple[str, ...], args: tuple[Any, ...], kwargs: dict[str, Any], values: dict[str, Any]) -> str:
    if len(args) > len(names):
        return f"{cls.__name__} takes {len(names)} fields, {len(args)} given"
    unknown = sorted(set(kwargs) - set(names))
    if unknown:
        return f"{cls.__name__} has no field {', '.join(unknown)}"
    return f"{cls.__name__} needs {', '.join(n for n in names if n not in values)}"
