"""Endpoints as users write them (compute-xmlrpc 1.2, pdisk-rest 1.1, marketplace-rest 1.1)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stratuslab_libcloud import endpoints


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("cloud.example.org", "https://cloud.example.org:2634/xmlrpc"),
        ("https://h/one-proxy/xmlrpc", "https://h/one-proxy/xmlrpc"),
        ("https://h/one-proxy/xmlrpc/", "https://h/one-proxy/xmlrpc"),
        ("https://h/one-proxy/pswd/xmlrpc", "https://h/one-proxy/xmlrpc"),
        ("http://h:2633/RPC2", "http://h:2633/RPC2"),
        ("cloud.example.org:8443", "https://cloud.example.org:8443/xmlrpc"),
        ("cloud.example.org/one-proxy/xmlrpc", "https://cloud.example.org/one-proxy/xmlrpc"),
        ("httpd.example.org", "https://httpd.example.org:2634/xmlrpc"),
        ("HTTPS://h/xmlrpc", "https://h/xmlrpc"),
        ("https://h:2634", "https://h:2634/xmlrpc"),
        ("https://u:p@h/xmlrpc", "https://h/xmlrpc"),
        ("localhost", "http://localhost:2633/RPC2"),
        ("127.0.0.1", "http://localhost:2633/RPC2"),
        ("localhost:8445", "https://localhost:8445/xmlrpc"),
        ("::1", "https://[::1]:2634/xmlrpc"),
        ("[::1]:8445", "https://[::1]:8445/xmlrpc"),
    ],
)
def test_cloud(written: str, meant: str) -> None:
    assert endpoints.cloud(written).url == meant


def test_localhost_can_be_a_host_like_any_other() -> None:
    found = endpoints.cloud("localhost", scheme="http", local_engine=False)
    assert found.url == "http://localhost:2634/xmlrpc"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("store.example.org/", "https://store.example.org:8445"),
        ("store.example.org:443", "https://store.example.org:443"),
        ("store.example.org/pdisk", "https://store.example.org:8445/pdisk"),
        ("store.example.org:443/pdisk/", "https://store.example.org:443/pdisk"),
        ("https://store.example.org/pdisk/", "https://store.example.org/pdisk"),
        ("https://store.example.org/pdisk/pswd", "https://store.example.org/pdisk"),
        ("http://store.example.org:8080//", "http://store.example.org:8080"),
        ("https://store.example.org", "https://store.example.org"),
    ],
)
def test_storage(written: str, meant: str) -> None:
    assert endpoints.storage(written) == meant


@pytest.mark.parametrize(
    ("cloud", "storage"),
    [
        ("cloud.example.org", "https://cloud.example.org:8445"),
        ("cloud.example.org:8443", "https://cloud.example.org:8443"),
        ("cloud.example.org:2634", "https://cloud.example.org:8445"),
        ("https://h:2634/xmlrpc", "https://h:8445"),
        ("https://h/one-proxy/xmlrpc", "https://h/pdisk"),
        ("https://h:1/x/one-proxy/xmlrpc", "https://h:1/x/pdisk"),
        ("http://h:2633/RPC2", None),
        ("http://h:2633/RPC2/", None),
    ],
)
def test_storage_beside_the_cloud(cloud: str, storage: str | None) -> None:
    assert endpoints.storage_beside(cloud) == storage


def test_marketplace() -> None:
    assert endpoints.marketplace("h") == "https://h"
    assert endpoints.marketplace("h:8443/marketplace/") == "https://h:8443/marketplace"
    assert endpoints.marketplace_beside("https://h/one-proxy/xmlrpc") == "https://h/marketplace"
    assert endpoints.marketplace_beside("https://h:2634/xmlrpc") == endpoints.PUBLIC_MARKETPLACE


def test_a_port_apart() -> None:
    assert endpoints.with_port("h", 81) == "h:81"
    assert endpoints.with_port("https://h/one-proxy/xmlrpc", 81) == "https://h:81/one-proxy/xmlrpc"
    assert endpoints.with_port("h:81", 81) == "h:81"
    assert endpoints.with_port("::1", 81) == "[::1]:81"
    for text, port in (("h:80", 81), ("h", 0), ("h", 70000), ("h", "81"), ("h", True)):
        with pytest.raises(ValueError, match="port"):
            endpoints.with_port(text, port)  # type: ignore[arg-type]


@given(st.text(max_size=40))
def test_any_text_is_an_endpoint_or_a_value_error_in_one_line(text: str) -> None:
    readers = (endpoints.cloud, endpoints.storage, endpoints.storage_beside, endpoints.marketplace)
    for reader in readers:
        try:
            reader(text)
        except ValueError as error:
            assert "\n" not in str(error)
