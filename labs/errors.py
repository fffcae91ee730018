"""A lab that cannot be brought to work."""

from __future__ import annotations


class LabError(Exception):
    """Something of the lab does not do what it should: the message names it, and shows what it said. Exit status 1."""
