"""What all pages promise: the login, the headers, and forms that nobody else can make."""

from pathlib import Path

import pytest
from callers import USERS, Caller
from markup import checked, text_of

from stratuslab_libcloud.sandbox.site import Sandbox

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
OWN = ["/pages/pswd/storage", "/pages/pswd/machines"]


@pytest.mark.parametrize("path", ["/pages", "/pages/", *OWN])
def test_a_page_loads_nothing_from_elsewhere_and_is_in_no_frame(jane: Caller, path: str) -> None:
    page = jane.request("GET", path)
    assert page.status_code == 200
    checked(page)
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert {"default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"} <= set(policy)
    assert page.headers["X-Content-Type-Options"] == "nosniff"
    assert page.headers["Referrer-Policy"] == "same-origin"
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", OWN)
def test_a_page_of_ones_own_asks_for_the_login_of_the_services(site: Sandbox, path: str) -> None:
    services = Caller(site, None).request("GET", "/pdisk/pswd/disks")
    for auth in (None, ("jane", "wrong")):
        page = Caller(site, auth).request("GET", path)
        assert page.status_code == 401
        assert page.headers["WWW-Authenticate"] == services.headers["WWW-Authenticate"]
        assert "Log in" in text_of(checked(page).find(".//*[@role='alert']"))


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


def test_a_form_that_was_open_while_the_site_was_started_again_works(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=USERS) as site:
        form = {"size": "1", "token": token_of(Caller(site, ("jane", USERS["jane"])))}
    with Sandbox(tmp_path, users=USERS) as site:
        jane = Caller(site, ("jane", USERS["jane"]))
        assert jane.request("POST", "/pages/pswd/storage", data=form).status_code == 303


def test_the_token_of_another_site_is_worth_nothing(jane: Caller) -> None:
    with Sandbox(users=USERS) as other:
        form = {"size": "1", "token": token_of(Caller(other, ("jane", USERS["jane"])))}
    assert jane.request("POST", "/pages/pswd/storage", data=form).status_code == 403


def test_a_certificate_is_a_login() -> None:
    with Sandbox(users=USERS, tls=True) as site:
        nobody, password = Caller(site, None), Caller(site, ("jane", USERS["jane"]))
        trust = {"verify": str(site.dir / "ca.pem")}
        login = {**trust, "cert": str(site.dir / "user-jane.pem")}
        page = nobody.request("GET", "/pages/cert/storage", **trust)
        assert page.status_code == 403
        assert "certificate" in text_of(checked(page).find(".//*[@role='alert']"))
        links = checked(nobody.request("GET", "/pages/", **login)).iterfind(".//nav//a")
        assert "/pages/cert/storage" in [link.get("href") for link in links]
        page = nobody.request("GET", "/pages/cert/storage", **login)
        assert "Logged in as CN=" in text_of(checked(page))
        form = {"size": "1", "token": token_in(page.text)}
        for caller, door, options, status in (
            (password, "pswd", trust, 403),
            (nobody, "cert", login, 303),
        ):
            answer = caller.request("POST", f"/pages/{door}/storage", data=form, **options)
            assert answer.status_code == status


def token_of(caller: Caller) -> str:
    return token_in(caller.request("GET", "/pages/pswd/storage").text)


def token_in(page: str) -> str:
    return page.partition('name="token" value="')[2].partition('"')[0]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/pages/nowhere", 404),
        ("GET", "/pages/pswd", 404),
        ("GET", "/pages/pswd/nowhere", 404),
        ("GET", "/pages/static/..%2fvisit.py", 404),
        ("GET", "/pages/static/%00", 404),
        ("POST", "/pages/", 405),
        ("PUT", "/pages/pswd/storage", 405),
        ("DELETE", "/pages/pswd/machines", 405),
    ],
)
def test_what_there_is_not_is_said_on_a_page(
    jane: Caller, method: str, path: str, status: int
) -> None:
    page = jane.request(method, path)
    assert page.status_code == status
    assert text_of(checked(page).find(".//*[@role='alert']"))
    assert ("Allow" in page.headers) == (status == 405)


def test_a_form_that_is_far_too_large_is_refused(jane: Caller) -> None:
    form = {"size": "1", "tag": "x" * 1_000_000, "token": token_of(jane)}
    parts = {name: (None, value) for name, value in form.items()}
    page = jane.request("POST", "/pages/pswd/storage", files=parts)
    assert page.status_code == 413
    checked(page)
    assert jane.disks("GET").json() == []


@pytest.mark.parametrize("name", ["style.css", "icon.svg"])
def test_what_pages_look_like_is_sent_once(site: Sandbox, name: str) -> None:
    nobody = Caller(site, None)
    answer = nobody.request("GET", f"/pages/static/{name}")
    assert answer.status_code == 200
    assert "http" not in answer.text.replace("http://www.w3.org/2000/svg", "")
    again = {"If-None-Match": answer.headers["ETag"]}
    assert nobody.request("GET", f"/pages/static/{name}", headers=again).status_code == 304


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
