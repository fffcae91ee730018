"""When to renew the lease, and whether it has ended. Pure; times are seconds of the clock that also runs while suspended.

flannel renews once, `-subnet-lease-renew-margin` before the end, and asks again every minute when that fails. So do we, but up to a
tenth earlier, so that nodes that booted together do not renew together.
"""

from __future__ import annotations

from dataclasses import dataclass

RETRY_S = 60.0
RETRY_PART = 0.1  # of a lease so short that a minute would be too late
JITTER = 0.1


@dataclass(frozen=True, slots=True)
class Renewal:
    """A lease whose last renewal was asked for at `renewed_at`, for `ttl_s` seconds.

    The store counts from a moment later, so whatever has ended for the store has ended for us.
    """

    renewed_at: float
    ttl_s: int

    def due(self, margin_s: int, luck: float) -> float:
        """When to renew. `luck` from 0 to 1 spreads the nodes; a lease shorter than the margin is renewed at half its time."""
        wait_s = self.ttl_s - margin_s if self.ttl_s > margin_s else self.ttl_s / 2
        return self.renewed_at + wait_s * (1 - JITTER * luck)

    def ended(self, now: float) -> bool:
        """Whether the store must have ended the lease by now."""
        return now >= self.renewed_at + self.ttl_s
