"""The front door: the `podwire` command, the only package that sees all components."""

VERSION = "0.1.0"
