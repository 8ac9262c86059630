"""Which addresses may be fetched from: public ones, and networks that are named. Pure.

Somebody else's text decides where a fetch goes, and from here it could go where that somebody cannot: to this machine,
to its neighbours, to the metadata service of its cloud.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

from perdure.events.errors import InvalidRequest

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

_ALSO_NOT_PUBLIC: Final = tuple(
    ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "3fff::/20", "5f00::/16")
)
"""Special networks (IANA's registries) that not every supported Python knows as such."""

_NAT64: Final = IPv6Network("64:ff9b::/96")


def parse_networks(texts: Iterable[str], *, field: str) -> tuple[Network, ...]:
    """Networks written as `10.0.0.0/8` or `fd00::/8`. Raises `InvalidRequest` that names `field`."""
    try:
        return tuple(ip_network(text) for text in texts)
    except ValueError as error:
        raise InvalidRequest(f"{field}: {error}", field=field, limit="networks such as 10.0.0.0/8") from error


def may_be_fetched_from(text: str, networks: Iterable[Network]) -> bool:
    """Whether an address in text, as a resolver gives it, is public or in one of `networks`. False for other text."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    meant = _meant(address)
    return _is_public(meant) or any(meant.version == network.version and meant in network for network in networks)


def _meant(address: Address) -> Address:
    """The address that a packet to `address` reaches: some of the newer kind stand for one of the older."""
    if isinstance(address, IPv4Address):
        return address
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address


def _is_public(address: Address) -> bool:
    return (
        address.is_global
        and not (address.is_multicast or address.is_reserved or address.is_unspecified or address.is_loopback)
        and not (isinstance(address, IPv6Address) and address.is_site_local)
        and not any(address.version == network.version and address in network for network in _ALSO_NOT_PUBLIC)
    )
