"""What a page of another site may make a browser ask: nothing."""

import socket

import pytest
from callers import USERS, Caller
from werkzeug.datastructures import Headers

from stratuslab_libcloud.sandbox.http.browsers import Names, is_foreign
from stratuslab_libcloud.sandbox.site import Sandbox

OWN = "localhost:8445"
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": ""},
    {"Origin": "file://"},
    {"Origin": "http://localhost:3000"},  # another server's page on this machine
    {"Origin": "http://localhost"},
    {"Origin": "http://localhost:8445.evil.example"},
    {"Origin": "http://evil.example@localhost:8445"},
    {"Origin": "http://evil.example#@localhost:8445"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "whatever"},
    {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost:8445"},
    {"Sec-Fetch-Site": "none", "Origin": "https://evil.example"},
]
OURS = [
    {},
    {"Sec-Fetch-Site": "none"},  # typed, or a bookmark
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost:8445"},
    {"Origin": "HTTP://LocalHost:8445"},
    {"Origin": "https://localhost:8445"},  # by way of something that speaks TLS for us
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_a_foreign_page_is_known_by_what_its_browser_says(headers: dict[str, str]) -> None:
    assert is_foreign(Headers(headers), OWN)


@pytest.mark.parametrize("headers", OURS)
def test_programs_and_our_own_pages_are_not_foreign(headers: dict[str, str]) -> None:
    assert not is_foreign(Headers(headers), OWN)


EVERYWHERE = ["localhost", "LOCALHOST", "localhost.", "localhost:8445", "127.0.0.1", "[::1]:8445"]
NOWHERE = ["evil.example", "evil.example:8445", "localhost.evil.example", "127.0.0.1.evil.example"]
NOWHERE += ["", ":8445", "localhost:x", "a@localhost", "localhost/x", "[localhost]x", "[::1", "::1"]


@pytest.mark.parametrize(
    ("given", "bound", "known", "unknown"),
    [
        ("127.0.0.1", "127.0.0.1", ["127.0.0.2"], ["192.0.2.7", "0.0.0.0", socket.gethostname()]),
        ("sandbox", "127.0.0.1", ["sandbox", "SANDBOX.:1"], ["sandbox.example"]),
        ("192.0.2.7", "192.0.2.7", ["192.0.2.7:8445", socket.gethostname()], ["192.0.2.8"]),
        ("0.0.0.0", "0.0.0.0", ["192.0.2.7", socket.gethostname()], []),
        ("::", "::", ["192.0.2.7:1", "[2001:db8::1]:8445", socket.getfqdn()], []),
        ("2001:db8::1", "2001:db8::1", ["[2001:DB8:0::1]"], ["[2001:db8::2]"]),
    ],
    ids=["loopback", "a name", "an address", "any", "any of IPv6", "an address of IPv6"],
)
def test_a_site_has_the_names_that_lead_to_it(
    given: str, bound: str, known: list[str], unknown: list[str]
) -> None:
    names = Names(given, bound)
    assert [name for name in (*EVERYWHERE, *known) if name not in names] == []
    assert [name for name in (*NOWHERE, *unknown) if name in names] == []


ROUTES = [
    ("POST", "/pswd/xmlrpc"),
    ("POST", "/RPC2"),
    ("GET", "/RPC2"),
    ("POST", "/pdisk/pswd/disks"),
    ("DELETE", "/pdisk/pswd/disks/{disk}"),
    ("POST", "/pdisk/pswd/disks/{disk}?method=DELETE"),
    ("GET", "/pdisk/pswd/disks"),
    ("GET", "/metadata"),
    ("GET", "/images/x"),
    ("OPTIONS", "/pdisk/pswd/disks"),
    ("GET", "/nowhere"),
    ("GET", "/"),
    ("GET", "/marketplace"),
    ("POST", "/marketplace/metadata"),
    ("GET", "/marketplace/query?query=x"),
    ("GET", "/pages/"),
    ("GET", "/pages/pswd/storage"),
    ("POST", "/pages/pswd/storage"),
    ("POST", "/pages/pswd/storage/{disk}/delete"),
]


@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_what_a_foreign_page_asks_is_refused_on_every_route(
    site: Sandbox, jane: Caller, method: str, path: str
) -> None:
    disk = jane.disk()
    path = path.format(disk=disk)
    for headers, status in (
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": f"evil.example:{site.port}"}, 421),
        # As a page of that name would ask, once it leads here.
        ({"Host": "evil.example", "Origin": "http://evil.example"}, 421),
    ):
        answer = jane.request(method, path, headers=headers, data={"size": "1"})
        assert answer.status_code == status, headers
        assert "WWW-Authenticate" not in answer.headers
    assert [found["uuid"] for found in jane.disks("GET").json()] == [disk]


def test_our_own_pages_work(site: Sandbox, jane: Caller) -> None:
    headers = {"Origin": site.url, "Sec-Fetch-Site": "same-origin"}
    assert jane.disks("POST", data={"size": 1}, headers=headers).status_code == 201


def test_a_host_that_was_given_is_known() -> None:
    with Sandbox(users=USERS, host="localhost") as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        for host in ("localhost", f"127.0.0.1:{site.port}"):
            assert jane.disks("GET", headers={"Host": host}).status_code == 200
        assert jane.disks("GET", headers={"Host": "example.org"}).status_code == 421


def test_a_whole_url_has_the_host_that_counts(site: Sandbox) -> None:
    for target, host, status in (
        ("http://evil.example/metadata", "localhost", b"421"),
        ("http://localhost/metadata", "evil.example", b"200"),
    ):
        with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
            client.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            assert client.recv(100).split()[1] == status


def test_who_names_no_host_is_no_browser(site: Sandbox) -> None:
    with socket.create_connection(("127.0.0.1", site.port), timeout=30) as client:
        client.sendall(b"GET /metadata HTTP/1.0\r\n\r\n")
        assert client.recv(100).split()[1] == b"200"
