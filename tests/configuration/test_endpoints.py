"""Endpoints as users write them (compute-xmlrpc 1.2, pdisk-rest 1.1, marketplace-rest 1.1)."""

from urllib.parse import urlsplit

import pytest
import requests
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stratuslab_libcloud.configuration import endpoints


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


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1.2.3", "127.1", "0x7f.1", "2130706433", "017700000001"),
        *("::1", "0:0:0:0:0:0:0:1", "[::1]", "::1%lo", "::ffff:127.0.0.1", "::FFFF:7F00:1"),
        *("localhost", "LOCALHOST", "localhost.", "a.localhost"),
    ],
)
def test_loopback(host: str) -> None:
    assert endpoints.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("127.example.org", "127.0.0.1.example.org", "localhost.example.org", "notlocalhost", ""),
        *("126.255.255.255", "128.0.0.1", "::2", "::127.0.0.1", "::ffff:128.0.0.1", "1.127"),
        *("127.0.0.256", "127.0.0.0.1", "127.", "::1.example"),
    ],
)
def test_not_loopback(host: str) -> None:
    assert not endpoints.is_loopback(host)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://h/a", "https://H:443/b", True),
        ("http://h:80", "http://h", True),
        ("http://[::1]:8080/", "http://[0:0::1]:8080/x", True),
        ("http://127.0.0.1/", "http://127.1/", True),
        ("https://h", "http://h", False),
        ("https://h:443", "http://h:443", False),
        ("http://h:80", "http://h:8080", False),
        ("http://h", "http://h.example.org", False),
    ],
)
def test_origin(one: str, other: str, same: bool) -> None:
    assert (endpoints.origin(one) == endpoints.origin(other)) == same


def test_a_url_with_a_login_has_no_origin() -> None:
    with pytest.raises(ValueError, match="user name"):
        endpoints.origin("https://somebody@h/")


def test_a_proxy() -> None:
    assert endpoints.proxy("http://u:pw@proxy:3128") == "http://u:pw@proxy:3128"
    assert endpoints.proxy("proxy:3128") == "http://proxy:3128"
    assert endpoints.proxy("socks5://proxy:1080") == "socks5://proxy:1080"


@pytest.mark.parametrize(
    "text",
    [
        *("", "http://", "http://u:S3CRET@", "http://u:S3CRET@h:99999", "http://u:S3CRET@h:x"),
        *("http://u:S3CRET@[bad", "http://u:S3CRET@h\r\nEvil: yes", "http://u\n:S3CRET@h"),
        *("http://u:S3CRET@ü..h", f"http://u:S3CRET@{'x' * 64}", "http://u:S3CRET@h\0", "a b"),
        *("http://u:S3CRET@%2f", "http://u:S3CRET@h%00:1", "http://u:S3CRET@evil\\.h", "a\\b"),
        *("http://u:S3CRET@h\ud800", "http://u:S3CRET@h\u202e", "http://u:S3CRET@h:0"),
    ],
)
def test_what_is_no_url_is_refused_without_repeating_it(text: str) -> None:
    readers = (endpoints.proxy, endpoints.cloud, endpoints.storage, endpoints.marketplace)
    for reader in readers:
        with pytest.raises(ValueError, match=r"blanks|neither|no host|port 0") as caught:
            reader(text)
        assert "S3CRET" not in str(caught.value)


PARTS = st.lists(
    st.sampled_from(
        [
            *(
                "http:",
                "https:",
                "ftp:",
                "//",
                "/",
                "\\",
                "@",
                ":",
                "?",
                "#",
                "[",
                "]",
                ".",
                "..",
                "%",
            ),
            *(
                "%2f",
                "%00",
                "%0d%0a",
                "h",
                "ü",
                "\u2100",
                "1",
                "99999",
                "\u0661",
                "::1",
                "::ffff:1.2.3.4",
            ),
            *(
                "xmlrpc",
                "pswd",
                "cert",
                "one-proxy",
                "RPC2",
                "u:p@",
                "\t",
                "\r\n",
                "\0",
                " ",
                "\xad",
            ),
        ]
    ),
    max_size=9,
).map("".join)


@settings(max_examples=300)
@given(PARTS | st.text(max_size=40))
@example("https://h\\@evil/xmlrpc")
@example("https://h#@evil/xmlrpc")
@example("https://ü..h/xmlrpc")
def test_any_text_is_an_endpoint_or_a_value_error_in_one_line(text: str) -> None:
    readers = (
        lambda text: endpoints.cloud(text).url,
        endpoints.storage,
        endpoints.storage_beside,
        endpoints.marketplace,
        lambda text: endpoints.with_port(text, 81),
        endpoints.proxy,
    )
    for reader in readers:
        try:
            found = reader(text)
        except ValueError as error:
            assert str(error).isprintable()
        else:
            assert found is None or found.isprintable()


@settings(max_examples=300)
@given(PARTS)
@example("https://evil.example\\.h/xmlrpc")
@example("1%2f")
def test_the_host_that_is_named_is_the_one_that_is_asked(text: str) -> None:
    """requests reads URLs by rules of its own."""
    for reader in (
        lambda text: endpoints.cloud(text).url,
        endpoints.storage,
        endpoints.marketplace,
    ):
        try:
            url = reader(text)
            asked = requests.Request("GET", f"{url}/disks/").prepare().url or ""
        except (ValueError, requests.RequestException):
            continue
        assert "@" not in urlsplit(url).netloc
        if url.isascii():
            assert urlsplit(asked).netloc == urlsplit(url).netloc
