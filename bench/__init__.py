"""Side by side with the real peer: each program runs the peer and ours in turn and prints the ratio.

    python -m bench.PART [--json] [--quick] [--case NAME]

The exit status is 1 when a `must` is missed. Only ratios mean something on a shared machine: medians of one run.
"""
