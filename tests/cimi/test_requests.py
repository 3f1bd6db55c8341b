"""What consumers may ask for, and what is refused, and how."""

import json
import socket
from typing import Any

import pytest
import requests
from consumers import ACTION, JSON, NS, SCHEMA, XML, Consumer
from lxml import etree
from providers import JANE, JOE, Provider

from stratuslab_libcloud.cimi import resources


@pytest.fixture
def consumer(provider: Provider) -> Consumer:
    return provider.consumer()


def size(consumer: Consumer) -> str:
    return str(consumer.members("machineConfigs")[0]["id"])


def image(consumer: Consumer) -> str:
    return str(consumer.members("machineImages")[0]["id"])


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("*/*", JSON),
        ("", JSON),
        (JSON, JSON),
        (XML, XML),
        ("application/*", JSON),
        (f"{XML}, */*;q=0.1", XML),
        (f"{JSON};q=0.5, {XML}", XML),
        (f"text/html, {XML};q=0.9, */*;q=0.8", XML),
    ],
)
def test_the_media_type_is_the_one_that_was_asked_for(
    provider: Provider, accept: str, expected: str
) -> None:
    for path in ("", "/machines/4711"):
        headers = {"Accept": accept or None}
        answer = requests.get(provider.url + path, auth=JANE, headers=headers, timeout=60)
        assert answer.headers["Content-Type"] == expected
        assert answer.headers["CIMI-Specification-Version"] == "1.0.1"


def test_no_other_media_type_is_answered_or_read(provider: Provider, consumer: Consumer) -> None:
    found = consumer.ask("GET", provider.url, headers={"Accept": "text/html"})
    assert (consumer.status, found["returnCode"]) == (406, 406)
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        consumer.ask("POST", f"{provider.url}/volumes", {}, headers={"Content-Type": kind})
        assert consumer.status == 415


def test_the_entry_point_needs_no_login_and_all_else_does(provider: Provider) -> None:
    stranger = provider.consumer(None)
    assert stranger.entry["baseURI"] == provider.url + "/"
    assert stranger.entry["id"] == provider.url
    links = [one["href"] for one in stranger.entry.values() if isinstance(one, dict)]
    assert len(links) == 8
    bad = [None, (JANE[0], "wrong"), (JANE[0], ""), ("", JANE[1]), (JANE[0], JANE[1] + " ")]
    for login in bad:
        consumer = provider.consumer(login)
        for link in links:
            found = consumer.ask("GET", link)
            assert (consumer.status, found["state"]) == (401, "FAILED"), (login, link)
            assert consumer.answer.headers["WWW-Authenticate"].lower().startswith("basic ")
            assert JANE[1] not in consumer.answer.text
        consumer.ask("GET", provider.url + "?$expand=credentials")
        assert consumer.status == 401, login
    expanded = provider.consumer().ask("GET", provider.url + "?$expand=machines,volumes")
    assert [expanded[name]["count"] for name in ("machines", "volumes")] == [0, 0]


@pytest.mark.parametrize("version", ["1.0.1", "1.0.0", "2.0, 1.0.1", "1.0"])
def test_a_version_that_it_speaks(consumer: Consumer, provider: Provider, version: str) -> None:
    consumer.ask("GET", provider.url, headers={"CIMI-Specification-Version": version})
    assert consumer.status == 200


def test_a_version_that_it_does_not_speak(consumer: Consumer, provider: Provider) -> None:
    consumer.ask("GET", provider.url, headers={"CIMI-Specification-Version": "2.0"})
    assert consumer.status == 400


def test_queries(consumer: Consumer) -> None:
    sizes = consumer.members("machineConfigs")
    picked = consumer.members("machineConfigs", "?$filter=cpu>1 and memory<=1572864&$select=cpu")
    assert picked == [
        {"resourceURI": one["resourceURI"], "id": one["id"], "cpu": one["cpu"]}
        for one in sizes
        if one["cpu"] > 1 and one["memory"] <= 1572864
    ]
    assert picked != []
    assert consumer.members("machineConfigs", "?$first=2&$last=3") == sizes[1:3]
    for query in ("$orderby=name", "$filter=cpu", "$first=x", "$format=json", "x=1"):
        consumer.ask("GET", f"{consumer.entry['machineConfigs']['href']}?{query}")
        assert consumer.status == 400
    consumer.ask("GET", f"{sizes[0]['id']}?$first=1")
    assert consumer.status == 400


@pytest.mark.parametrize("media_type", [JSON, XML], ids=["json", "xml"])
def test_what_is_unknown_in_a_body_is_ignored(provider: Provider, media_type: str) -> None:
    consumer = provider.consumer(media_type=media_type)
    bodies = {
        JSON: json.dumps({"name": "x", "capacity": "1000", "color": [{"red": 1}], "acl": {}}),
        XML: f'<VolumeConfiguration xmlns="{NS}" color="red"><color><red>1</red></color>'
        "<capacity> 1000 </capacity><name>x</name></VolumeConfiguration>",
    }
    url = consumer.entry["volumeConfigs"]["href"]
    headers = {"Content-Type": media_type}
    answer = consumer.session.post(url, data=bodies[media_type], headers=headers, timeout=60)
    assert answer.status_code == 201
    made = consumer.ask("GET", answer.headers["Location"])
    assert (made["name"], str(made["capacity"])) == ("x", "1000")
    assert "color" not in made
    consumer.do(made, "delete")


def test_half_a_character_is_refused(consumer: Consumer) -> None:
    made = consumer.add("volumeConfigs", {"name": "x", "capacity": 1})
    for name, properties in (("\ud800", {}), ("x", {"\udfff": "x"}), ("x", {"x": "\udfff"})):
        body = {"name": name, "capacity": 1, "properties": properties}
        consumer.ask("PUT", made["id"] + "?$select=name", body)
        assert consumer.status == 400
        consumer.ask("POST", consumer.entry["volumeConfigs"]["href"], body)
        assert consumer.status == 400
    named = consumer.do(made, "edit", {**made, "name": "käse"})
    assert (consumer.status, named["name"]) == (200, "käse")
    consumer.do(made, "delete")
    assert consumer.status == 204


BOMB = '<!DOCTYPE a [<!ENTITY b "bbbb">]>'
BODIES = [
    (JSON, b""),
    (JSON, b"{"),
    (JSON, b"[]"),
    (JSON, b"null"),
    (JSON, b"\xff\xfe{}"),
    (JSON, b"[" * 100_000),
    (JSON, b'{"volumeTemplate": ' * 2000),
    (JSON, b'{"resourceURI": 7}'),
    (JSON, b'{"resourceURI": "Volume"}'),
    (JSON, f'{{"resourceURI": "{NS}/Volume"}}'.encode()),
    (JSON, f'{{"resourceURI": "{NS}/MachineCreate"}}'.encode()),
    (JSON, b"{}"),
    (JSON, b'{"volumeTemplate": []}'),
    (JSON, b'{"volumeTemplate": {}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": 0}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": -1}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": 1.5}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": true}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": NaN}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": 1' + b"0" * 5000 + b"}}}"),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"capacity": 9000000000000000}}}'),
    (JSON, b'{"name": 1, "volumeTemplate": {"volumeConfig": {"capacity": 1000000}}}'),
    (JSON, b'{"name": "\\u0000\\ud800", "volumeTemplate": {"volumeConfig": {"capacity": 1}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"href": "volumeConfigs/none"}}}'),
    (JSON, b'{"volumeTemplate": {"volumeConfig": {"href": "machines/1"}}}'),
    (JSON, b'{"volumeTemplate": {"href": "http://[/"}}'),
    (JSON, b'{"volumeTemplate": {"href": "volumeTemplates/../../x"}}'),
    (XML, b""),
    (XML, b"<VolumeCreate/>"),
    (XML, f'<Volume xmlns="{NS}"/>'.encode()),
    (XML, f'<VolumeCreate xmlns="{NS}">'.encode()),
    (XML, f'<VolumeCreate xmlns="{NS}"/>'.encode()),
    (XML, f'<VolumeCreate xmlns="{NS}" resourceURI="{NS}/Volume"/>'.encode()),
    (XML, f'<Collection xmlns="{NS}" resourceURI="{NS}/Volume"/>'.encode()),
    (XML, f'{BOMB}<VolumeCreate xmlns="{NS}"><name>&b;</name></VolumeCreate>'.encode()),
    (XML, f'<VolumeCreate xmlns="{NS}"><name>a</name><name>b</name></VolumeCreate>'.encode()),
    (XML, f'<VolumeCreate xmlns="{NS}">{"<name/>" * 120_000}</VolumeCreate>'.encode()),
]


@pytest.mark.parametrize(("media_type", "body"), BODIES, ids=range(len(BODIES)))
def test_a_bad_body_is_a_document_that_says_so(
    provider: Provider, consumer: Consumer, media_type: str, body: bytes
) -> None:
    headers = {"Content-Type": media_type, "Accept": XML}
    url = consumer.entry["volumes"]["href"]
    answer = consumer.session.post(url, data=body, headers=headers, timeout=60)
    assert answer.status_code == 400
    root = etree.fromstring(answer.content)
    SCHEMA.assertValid(root)
    assert root.findtext(f"{{{NS}}}statusMessage")
    assert consumer.members("volumes") == []


def test_a_body_that_is_too_large_is_refused_and_the_next_request_is_answered(
    consumer: Consumer,
) -> None:
    url = consumer.entry["volumes"]["href"]
    for size in (2**20 + 1, 10_000_000, 20_000_000):
        headers = {"Content-Type": JSON}
        answer = consumer.session.post(url, data=b" " * size, headers=headers, timeout=60)
        assert answer.status_code == 413
        pieces = iter([b" " * size])
        answer = consumer.session.post(url, data=pieces, headers=headers, timeout=60)
        assert answer.status_code == 413
        assert consumer.members("volumes") == []


def order(consumer: Consumer, **more: Any) -> dict[str, Any]:
    template = {
        "machineConfig": {"href": size(consumer)},
        "machineImage": {"href": image(consumer)},
        **more,
    }
    return {"resourceURI": f"{NS}/MachineCreate", "machineTemplate": template}


@pytest.mark.parametrize(
    ("status", "more"),
    [
        (400, {"machineImage": {"href": "machineImages/" + "A" * 27}}),
        (400, {"machineImage": {"href": "../machineImages/x"}}),
        (400, {"machineImage": {"href": "machineConfigs/m1.small"}}),
        (400, {"machineImage": {"id": "machineImages/x"}}),
        (400, {"machineImage": {}}),
        (400, {"machineImage": {"imageLocation": "https://nowhere.example.org/x"}}),
        (400, {"machineConfig": {"href": "machineConfigs/none"}}),
        (400, {"machineConfig": {"cpu": 1}}),
        (400, {"credential": {"href": "credentials/none"}}),
        (400, {"credential": {"key": "no key"}}),
        (400, {"credential": {"key": "ssh-rsa AAAA x\nssh-rsa BBBB y"}}),
        (400, {"userData": "%%%"}),
        (400, {"volumes": [{"href": "volumes/1e8e9104-681c-4269-8aae-e513c6723ac6"}]}),
        (400, {"volumes": [{"volume": {"name": "x"}}]}),
        (400, {"volumes": [{"id": "volumes/1e8e9104-681c-4269-8aae-e513c6723ac6"}]}),
        (501, {"initialState": "STOPPED"}),
        (501, {"volumeTemplates": [{"volumeConfig": {"capacity": 1000000}}]}),
        (501, {"eventLogTemplate": {"href": "x"}}),
        (501, {"networkInterfaces": [{}, {}]}),
        (501, {"machineConfig": {"cpu": 1, "memory": 9999, "cpuArch": "68000"}}),
    ],
)
def test_a_machine_that_cannot_be_had(
    consumer: Consumer, status: int, more: dict[str, Any]
) -> None:
    found = consumer.ask("POST", consumer.entry["machines"]["href"], order(consumer, **more))
    assert (consumer.status, found["state"], found["returnCode"]) == (status, "FAILED", status)
    assert consumer.members("machines") == []


@pytest.mark.parametrize("template", [None, [], {}, {"name": "x"}, {"key": "x"}, {"key": "00ff"}])
def test_a_credential_is_a_public_key(consumer: Consumer, template: Any) -> None:
    url = consumer.entry["credentials"]["href"]
    found = consumer.ask("POST", url, {"name": "x", "credentialTemplate": template})
    assert (consumer.status, found["returnCode"]) == (400, 400)
    assert consumer.members("credentials") == []


def test_an_image_by_its_location(consumer: Consumer, provider: Provider) -> None:
    (one, *_) = consumer.members("machineImages")
    entry = "https://market.example.org/marketplace/metadata/" + one["id"].rpartition("/")[2]
    places = [entry] if provider.location == "opennebula" else [entry, one["imageLocation"]]
    for place in places:
        body = order(consumer, machineImage={"type": "IMAGE", "imageLocation": place})
        machine = consumer.add("machines", {**body, "properties": {"COLOR": "red"}})
        consumer.end(machine)


def test_an_act_is_the_one_that_its_address_is_for(consumer: Consumer) -> None:
    machine = consumer.add("machines", order(consumer))
    consumer.ask("POST", machine["id"] + "/stop", {"action": f"{ACTION}start"})
    assert consumer.status == 400
    consumer.ask("POST", machine["id"] + "/stop", {"action": f"{ACTION}stop", "force": True})
    assert consumer.status == 501
    consumer.ask("POST", machine["id"] + "/explode", {})
    assert consumer.status == 404
    consumer.end(machine)


def test_a_volume_can_only_be_renamed(consumer: Consumer) -> None:
    template = {"volumeConfig": {"capacity": 1_000_000}}
    body = {"resourceURI": f"{NS}/VolumeCreate", "name": "v", "volumeTemplate": template}
    volume = consumer.add("volumes", body)
    consumer.do(volume, "edit", {**volume, "capacity": 5_000_000})
    assert consumer.status == 501
    consumer.ask("PUT", volume["id"] + "?$select=name", {**volume, "name": "w", "capacity": 9})
    assert (consumer.status, consumer.ask("GET", volume["id"])["name"]) == (200, "w")
    consumer.ask("POST", consumer.entry["volumes"]["href"], {
        "volumeTemplate": {**template, "volumeImage": {"href": "x"}}
    })  # fmt: skip
    assert consumer.status == 501
    consumer.do(volume, "delete")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("POST", "", "GET, HEAD"),
        ("DELETE", "/machines", "GET, POST, HEAD"),
        ("POST", "/machineConfigs", "GET, HEAD"),
        ("POST", "/machineImages", "GET, HEAD"),
        ("PUT", "/machineConfigs/m1.small", "GET, HEAD"),
        ("PATCH", "/machines/4711", "GET, PUT, DELETE, HEAD"),
        ("GET", "/machines/4711/stop", "POST"),
        ("PATCH", "/credentials/x", "GET, PUT, DELETE, HEAD"),
        ("OPTIONS", "/volumes", "GET, POST, HEAD"),
    ],
)
def test_a_method_that_is_not_allowed(
    provider: Provider, consumer: Consumer, method: str, path: str, allowed: str
) -> None:
    found = consumer.ask(method, provider.url + path, {})
    assert (consumer.status, found["returnCode"]) == (405, 405)
    assert set(consumer.answer.headers["Allow"].split(", ")) == set(allowed.split(", "))


@pytest.mark.parametrize(
    "path",
    [
        "/", "/x", "/machines/", "/machines/4711", "/machines/x",
        "/machines/4711/disks", "/machines/x/disks", "/machines/4711/x", "/volumes/x/stop",
        "/name/x", "/volumes/x", "/volumes/x/y/z",
        "/volumes/1e8e9104-681c-4269-8aae-e513c6723ac6", "/credentials/x", "/machineImages/x",
        "/machineConfigs/x", "/%6dachines%2f1",
    ],
)  # fmt: skip
def test_what_is_not_there(provider: Provider, consumer: Consumer, path: str) -> None:
    consumer.ask("GET", provider.url + path)
    assert consumer.status == (200 if path in ("/", "/machines/") else 404)


@pytest.mark.parametrize(
    ("method", "path"),
    [("DELETE", "/machines%2F*"), ("POST", "/machines%2F*%2Fstop"), ("PUT", "/volumes%2F*")],
)
def test_no_name_of_a_collection_has_a_slash(
    provider: Provider, consumer: Consumer, method: str, path: str
) -> None:
    consumer.ask(method, provider.url + path, {"action": f"{ACTION}stop"})
    assert consumer.status == 404


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Origin": "https://evil.example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Host": "evil.example.org"}, 421),
        ({"Sec-Fetch-Site": "none"}, 200),
    ],
)
def test_a_foreign_page_cannot_ask(
    provider: Provider, headers: dict[str, str], status: int
) -> None:
    for path in ("", "/machines"):
        answer = requests.get(provider.url + path, auth=JANE, headers=headers, timeout=60)
        assert answer.status_code == status
        assert "Access-Control-Allow-Origin" not in answer.headers


def test_head_has_no_body(provider: Provider) -> None:
    answer = requests.head(provider.url + "/machines", auth=JANE, timeout=60)
    assert (answer.status_code, answer.content) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


def test_templates_are_each_owner_s_and_bounded(
    provider: Provider, consumer: Consumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resources, "_MOST", 3)
    url = consumer.entry["volumeConfigs"]["href"]
    for _ in range(3):
        consumer.ask("POST", url, {"capacity": 1})
        assert consumer.status == 201
    consumer.ask("POST", url, {"capacity": 1})
    assert consumer.status == 409
    other = provider.consumer(JOE)
    assert other.members("volumeConfigs") == []
    found = consumer.members("volumeConfigs")
    other.ask("GET", found[0]["id"])
    assert other.status == 404
    other.ask("DELETE", found[0]["id"])
    for one in found:
        consumer.do(one, "delete")
        assert consumer.status == 204


def test_what_is_kept_can_say_anything(consumer: Consumer) -> None:
    """References that lead nowhere are not expanded, and ids are the provider's alone."""
    hrefs = ["x", "x/y", "machines", "machines/x/stop", "name/x", "http://[/", "/", "", "../.."]
    volumes = [{"href": href} for href in hrefs]
    template = {"id": "machineTemplates/x", "created": "2001-01-01", "volumes": volumes}
    made = consumer.add("machineTemplates", template)
    expanded = consumer.ask("GET", made["id"] + "?$expand=*")
    assert (consumer.status, expanded["id"]) == (200, made["id"])
    assert [one["href"] for one in expanded["volumes"]] == hrefs
    assert all("count" not in one for one in expanded["volumes"])  # which XML could not say
    assert made["created"] > "2001-01-02"
    consumer.do(made, "delete")
    assert consumer.status == 204


def test_no_connection_is_spoilt_by_nonsense(provider: Provider, consumer: Consumer) -> None:
    host, port = provider.url.split("/")[2].split(":")
    for nonsense in (
        b"\0" * 100,
        b"GET /cimi HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"GET /cimi\r\n\r\n",
    ):
        with socket.create_connection((host, int(port)), 60) as sock:
            sock.sendall(nonsense)
            sock.shutdown(socket.SHUT_WR)
            assert b" 200 " not in sock.makefile("rb").readline()
    assert consumer.members("machines") == []
