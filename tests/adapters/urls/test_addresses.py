"""Which addresses may be fetched from."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perdure.adapters.urls.addresses import may_be_fetched_from, parse_networks
from perdure.events.errors import InvalidRequest


@pytest.mark.parametrize(
    "address",
    ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public_addresses(address: str) -> None:
    assert may_be_fetched_from(address, ())


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "127.255.255.254",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.255",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "64:ff9b:1::1",
        "2002:7f00:1::",
        "2002:a00:1::1",
        "2001:db8::1",
        "2001:0:1::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%eth0",
        "fec0::1",
        "ff02::1",
        "100::1",
        "5f00::1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not may_be_fetched_from(address, ())


@pytest.mark.parametrize(
    ("address", "allowed"),
    [
        ("127.0.0.1", True),
        ("::ffff:127.0.0.1", True),
        ("127.1.0.1", False),
        ("fd00::7", True),
        ("fd01::7", False),
        ("8.8.8.8", True),
    ],
)
def test_named_networks_may_be_fetched_from_too(address: str, allowed: bool) -> None:
    networks = parse_networks(["127.0.0.0/24", "fd00::/16"], field="fetch_networks")
    assert may_be_fetched_from(address, networks) is allowed


@pytest.mark.parametrize("text", ["10.0.0.0/33", "10.0.0.1/8", "localhost", ""])
def test_what_is_no_network_is_refused(text: str) -> None:
    with pytest.raises(InvalidRequest, match="fetch_networks: "):
        parse_networks([text], field="fetch_networks")


@given(st.ip_addresses(v=4))
def test_the_older_address_inside_a_newer_one_decides(address: IPv4Address) -> None:
    plain = may_be_fetched_from(str(address), ())
    number = int(address)
    for inside in (f"::ffff:{address}", f"64:ff9b::{number >> 16:x}:{number & 0xFFFF:x}"):
        assert may_be_fetched_from(inside, ()) is plain
