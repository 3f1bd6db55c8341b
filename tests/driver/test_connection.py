"""``driver.connection``, as far as Libcloud documents it for every driver."""

from typing import Any

import pytest
from canned import Canned, pool
from clouds import Site

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import InvalidValueError, UnavailableError


def test_a_proxy_that_is_set_is_used_from_then_on(site: Site) -> None:
    site.driver.list_nodes()
    with Canned([pool()]) as proxy:
        site.driver.connection.set_http_proxy(proxy_url=proxy.url)
        assert site.driver.connection.proxy_url == proxy.url
        site.seen.clear()
        assert site.driver.list_nodes() == []
        asked = [request.path for request in proxy.requests]
        assert asked == [f"{site.sandbox.url}/one-proxy/pswd/xmlrpc"]
        assert site.seen == []
        with Canned([(503, "text/plain", b"")]) as other:
            site.driver.connection.set_http_proxy(other.url)
            with pytest.raises(UnavailableError):
                site.driver.list_images()
            assert other.requests[0].path == f"{site.sandbox.url}/marketplace/metadata"
        assert len(proxy.requests) == 1
    site.driver.connection.set_http_proxy(None)
    assert site.driver.list_images()


def test_that_goes_for_a_driver_without_a_file(site: Site) -> None:
    ((username, password),) = site.sandbox.users.items()
    driver = StratusLabNodeDriver(
        username, password, host=f"{site.sandbox.url}/one-proxy/xmlrpc", proxy_url="http://h:1"
    )
    connection: Any = driver.connection
    assert connection.http_proxy_used
    with Canned([pool()]) as proxy:
        connection.set_http_proxy(proxy.url)
        assert driver.list_nodes() == []
        assert len(proxy.requests) == 1
    driver.ex_close()


@pytest.mark.parametrize("url", ["proxy:3128", "http://", "http://u:S3CRET@p:x", 5, b"http://p:1"])
def test_what_is_no_proxy_is_refused_and_the_former_kept(site: Site, url: object) -> None:
    site.driver.connection.set_http_proxy("http://u:S3CRET@proxy.example.org:3128")
    with pytest.raises(InvalidValueError) as caught:
        site.driver.connection.set_http_proxy(url)
    assert site.driver.connection.proxy_url == "http://u:S3CRET@proxy.example.org:3128"
    assert "S3CRET" not in str(caught.value) + repr(site.driver.connection)


def test_one_may_look_whether_there_is_a_proxy(site: Site) -> None:
    connection: Any = site.driver.connection
    assert connection.proxy_url is None
    assert not connection.http_proxy_used
