"""ptp's configuration (reference: plugins/main/ptp)."""

from __future__ import annotations

from cni.bridge.conf import ip_masq, parse_mtu
from cni.conf import configured_dns
from dataplane.errors import ConfigError
from dataplane.record import record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni.conf import NetConf
    from cni.result import Dns


@record
class PtpConf:
    ip_masq: bool
    mtu: int  # 0: the kernel's default
    dns: Dns | None


def parse_ptp_conf(conf: NetConf) -> PtpConf:
    """The plugin's keys, checked. Raises ConfigError."""
    if not conf.ipam_type:
        raise ConfigError("ipam.type", None, 'ptp needs an IPAM plugin, such as "host-local"')
    return PtpConf(ip_masq(conf.body), parse_mtu(conf.body), configured_dns(conf))
