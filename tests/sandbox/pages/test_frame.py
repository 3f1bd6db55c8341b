"""What all pages promise: the login, the headers, and forms that nobody else can make."""

import pytest
from callers import USERS, Caller

from stratuslab_libcloud.sandbox.site import Sandbox

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
OWN = ["/pages/pswd/storage", "/pages/pswd/machines"]


@pytest.mark.parametrize("path", ["/pages", "/pages/", *OWN])
def test_a_page_loads_nothing_from_elsewhere_and_is_in_no_frame(jane: Caller, path: str) -> None:
    page = jane.request("GET", path)
    assert page.status_code == 200
    assert page.headers["Content-Type"] == "text/html; charset=UTF-8"
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert "<script" not in page.text


@pytest.mark.parametrize("path", OWN)
def test_a_page_of_ones_own_asks_for_the_login_of_the_services(site: Sandbox, path: str) -> None:
    services = Caller(site, None).request("GET", "/pdisk/pswd/disks")
    for auth in (None, ("jane", "wrong")):
        page = Caller(site, auth).request("GET", path)
        assert page.status_code == 401
        assert page.headers["WWW-Authenticate"] == services.headers["WWW-Authenticate"]
        assert "Log in" in page.text


def test_a_form_needs_the_token_of_its_login(site: Sandbox, jane: Caller, joerg: Caller) -> None:
    form = {"tag": "x", "size": "1"}
    for token in ({}, {"token": ""}, {"token": "é"}, {"token": token_of(joerg)}):
        page = jane.request("POST", "/pages/pswd/storage", data={**form, **token})
        assert page.status_code == 403
        assert "Nothing was done" in page.text
    assert jane.disks("GET").json() == []
    form["token"] = token_of(jane)
    assert jane.request("POST", "/pages/pswd/storage", data=form).status_code == 303
    assert [disk["tag"] for disk in jane.disks("GET").json()] == ["x"]


def token_of(caller: Caller) -> str:
    page = caller.request("GET", "/pages/pswd/storage").text
    return page.partition('name="token" value="')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("path", "page"),
    [
        ("/", "/pages"),
        ("/pdisk/pswd", "/pages/pswd/storage"),
        ("/pdisk/pswd/", "/pages/pswd/storage"),
        ("/pswd/disks/", "/pages/pswd/storage"),
        ("/pdisk/cert/disks", "/pages/cert/storage"),
    ],
)
def test_a_browser_at_the_address_of_a_service_sees_its_page(
    jane: Caller, path: str, page: str
) -> None:
    answer = jane.request("GET", path, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, page)


@pytest.mark.parametrize("accept", [None, "*/*", "application/json", "text/html;q=0.5, */*"])
def test_programs_get_what_they_always_got(jane: Caller, accept: str | None) -> None:
    headers = {"Accept": accept}
    assert jane.disks("GET", headers=headers).json() == []
    assert jane.request("GET", "/", headers=headers).status_code == 404
    assert jane.disks("GET", "?media=json", headers=BROWSER).json() == []


def test_a_site_says_where_its_pages_are(site: Sandbox) -> None:
    assert site.pages_url == f"{site.url}/pages/"
    assert Caller(site, ("jane", USERS["jane"])).request("GET", "/pages/").status_code == 200
