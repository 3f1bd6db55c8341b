"""Nothing starts but what the configuration trusts, whoever controls the Marketplace."""

import io
import json
import re
import warnings
import xmlrpc.client
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from canned import Canned, Request, rpc
from click.testing import CliRunner
from clouds import KEY
from cryptography.hazmat.primitives.serialization import Encoding
from endorsers import ENTRY, ada, certified, forged, mallory, pkcs12_file
from libcloud.compute.base import Node, NodeImage
from libcloud.compute.deployment import ScriptDeployment

from stratuslab_libcloud.cli.run import run_instance
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.errors import (
    ConfigurationError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    ServiceError,
    StratusLabError,
    UntrustedImageError,
)
from stratuslab_libcloud.metadata.entry import Entry, identifier
from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.metadata.rdf import read_entries, write_entry
from stratuslab_libcloud.metadata.signature import sign, verify

IMAGE = ENTRY.identifier
OTHER = replace(
    ENTRY, identifier=identifier("ab" * 20), checksums={"SHA-1": "ab" * 20}, title="Another"
)
WHEN = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)
RUNNING = "<VM><ID>7</ID><NAME>n</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE><TEMPLATE/></VM>"


@cache
def bob() -> SigningKey:
    """Somebody honest, whom the configuration does not know."""
    return certified("P-256", email="bob@example.org")


def signed(entry: Entry = ENTRY, key: SigningKey | None = None, when: datetime = WHEN) -> bytes:
    key = key or ada()
    return sign(
        write_entry(entry),
        key,
        digest="sha1" if key.kind == "rsa" else "sha256",
        email="ada@example.org",
        when=when,
    )


def listing(*documents: bytes) -> bytes:
    plain = (one[one.index(b"<rdf:RDF") :] for one in documents)
    return b"<metadata>" + b"\n".join(plain) + b"</metadata>"


class Cloud:
    """
    A site of one process: a Marketplace that answers what a test says, and a compute service.

    :ivar market: path after ``/marketplace`` to an answer; "" for all other paths.
    """

    def __init__(self) -> None:
        self.market: dict[str, Any] = {}
        self.canned = Canned([self._answer])

    def _answer(self, handler: Any, request: Request) -> None:
        if not request.path.startswith("/marketplace"):
            answer = rpc(True, 7, 0) if b"allocate" in request.body else rpc(True, RUNNING, 0)
            handler.send(*answer)
            return
        path = request.path.removeprefix("/marketplace")
        answer = self.market.get(path, self.market.get("", (404, "application/xml", b"")))
        handler.send(*((200, "application/xml", answer) if isinstance(answer, bytes) else answer))

    def serve(self, *documents: bytes) -> None:
        """All that the Marketplace has, whatever it is asked."""
        self.market = {"": listing(*documents)}

    def configuration(self, **options: str) -> str:
        lines = {
            "endpoint": f"{self.canned.url}/one-proxy/xmlrpc",
            "marketplace_endpoint": f"{self.canned.url}/marketplace",
            "username": "jane",
            "password": "secret",
            **options,
        }
        return "\n".join(["[default]", *(f"{key} = {value}" for key, value in lines.items())])

    def driver(self, **options: str) -> StratusLabNodeDriver:
        text = self.configuration(**options)
        return StratusLabNodeDriver(stratuslab_user_config=io.StringIO(text))

    def requests(self) -> list[str]:
        """What has come in since the last time, as ``METHOD service``."""
        found = [f"{one.method} {one.path.split('/')[1]}" for one in self.canned.requests]
        self.canned.requests.clear()
        return found

    def sources(self) -> list[str]:
        """Of the disks of the only machine that was asked for."""
        (body,) = [one.body for one in self.canned.requests if b"allocate" in one.body]
        template = str(xmlrpc.client.loads(body)[0][1])
        return [part.split('"')[1] for part in template.split("SOURCE")[1:]]


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    cloud = Cloud()
    with cloud.canned:
        yield cloud


@pytest.fixture
def driver(cloud: Cloud) -> Iterator[StratusLabNodeDriver]:
    """One that trusts Ada's certificate, and nothing else."""
    driver = cloud.driver(
        verify_images="require", trusted_endorsers=ada().certificate.fingerprint.upper()
    )
    yield driver
    driver.ex_close()


def image(driver: StratusLabNodeDriver, entry: Entry = ENTRY) -> NodeImage:
    return NodeImage(entry.identifier, "an image", driver)


def start(driver: StratusLabNodeDriver, **more: Any) -> Node:
    return driver.create_node("n", driver.list_sizes()[0], image(driver), auth=KEY, **more)


def refusal(
    driver: StratusLabNodeDriver,
    cloud: Cloud,
    kind: type[StratusLabError] = UntrustedImageError,
    **more: Any,
) -> str:
    """The text of a refusal; nothing has been sent to the compute service."""
    with pytest.raises(kind) as caught:
        start(driver, **more)
    assert set(cloud.requests()) == {"GET marketplace"}
    return str(caught.value)


def trusting(key: SigningKey, **more: str) -> dict[str, str]:
    fingerprint = key.certificate.fingerprint
    return {"verify_images": "require", "trusted_endorsers": fingerprint, **more}


# What is trusted


def test_the_cloud_is_told_the_very_entry_that_was_verified(
    cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    cloud.serve(signed())
    assert start(driver).id == "7"
    entry = f"{cloud.canned.url}/marketplace/metadata/{IMAGE}/ada@example.org/2025-03-01T10:00:00Z"
    assert cloud.sources()[0] == entry
    assert cloud.requests() == ["GET marketplace", "POST one-proxy", "POST one-proxy"]
    start(driver)
    assert cloud.requests() == ["POST one-proxy"] * 2


def test_the_newest_that_is_trusted_counts_whatever_others_have_uploaded_since(
    cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    newer = (signed(replace(ENTRY, format="raw"), key, WHEN + HOUR) for key in (mallory(), bob()))
    cloud.serve(*newer, signed(when=WHEN - HOUR), signed())
    start(driver)
    assert cloud.sources()[0].endswith(f"/metadata/{IMAGE}/ada@example.org/2025-03-01T10:00:00Z")
    found = driver.get_image(IMAGE).extra
    assert (found["endorsed"], found["format"]) == ("2025-03-01T10:00:00Z", "qcow2")
    assert found["endorsers"][0] == "ada@example.org"


def test_images_that_are_only_read_are_verified_too(
    cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    cloud.market = {
        f"/metadata/{IMAGE}": listing(signed()),
        f"/metadata/{OTHER.identifier}": listing(signed(OTHER, mallory())),
    }
    assert OTHER.identifier in refusal(driver, cloud, ex_readonly_images=[image(driver, OTHER)])
    cloud.market[f"/metadata/{OTHER.identifier}"] = listing(signed(OTHER))
    start(driver, ex_readonly_images=[image(driver, OTHER)])
    assert [source.rpartition("/metadata/")[2] for source in cloud.sources()] == [
        f"{identifier}/ada@example.org/2025-03-01T10:00:00Z"
        for identifier in (IMAGE, OTHER.identifier)
    ]


def test_bootable_volumes_have_no_entry(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    uuid = "f25cd0dc-e56f-4eea-be0c-88d866a2c73c"
    volume = NodeImage(uuid, "a volume", driver)
    driver.create_node("n", driver.list_sizes()[0], volume, auth=KEY)
    assert cloud.sources()[0].endswith(uuid)


# What an attacker who controls the Marketplace may answer


def around(element: str) -> bytes:
    """Ada's entry of another image within an entry of this one, in an element of that name."""
    inner = signed(OTHER).partition(b"?>")[2]
    begin, end = write_entry(ENTRY).split(b"</rdf:Description>")
    return (
        begin
        + b"<%b>" % element.encode()
        + inner
        + b"</%b>" % element.encode()
        + (b"</rdf:Description>" + end)
    )


def beside() -> bytes:
    """A description of the attacker's before the one that Ada signed."""
    evil = write_entry(replace(ENTRY, locations=("http://evil.example.org/",)))
    description = evil[evil.index(b"<rdf:Description") : evil.index(b"</rdf:RDF>")]
    begin, end = signed().split(b"<rdf:Description", 1)
    return begin + description + b"<rdf:Description" + end


def with_her_signature() -> bytes:
    """Ada's signature of another entry under one of the attacker's."""
    good = signed(OTHER)
    signature = good[good.index(b"<Signature") : good.index(b"</rdf:RDF>")]
    return write_entry(ENTRY).replace(b"</rdf:RDF>", signature + b"</rdf:RDF>")


ATTACKS: dict[str, tuple[Callable[[], bytes], str]] = {
    "unsigned": (
        lambda: write_entry(
            replace(ENTRY, endorser="ada@example.org", endorsed="2025-03-01T10:00:00Z")
        ),
        "its Marketplace entry by ada@example.org fails verification: it is not signed",
    ),
    "stripped": (
        lambda: signed()[: signed().index(b"<Signature")] + b"</rdf:RDF>",
        "it is not signed",
    ),
    "a stranger of the same name": (
        lambda: signed(key=mallory()),
        "the endorser is not trusted (certificate fingerprint ",
    ),
    "altered": (
        lambda: signed().replace(b"images.example.org", b"images.evil.org"),
        "it was changed after it had been signed",
    ),
    "expired": (
        lambda: signed(replace(ENTRY, valid="2020-01-01T00:00:00Z")),
        "it expired on 2020-01-01T00:00:00Z",
    ),
    "without end": (
        lambda: forged(replace(read_entries(signed())[0], valid=None), ada()),
        "it has no end of validity",
    ),
    "deprecated": (
        lambda: signed(replace(ENTRY, deprecated="It has a hole.")),
        "it is deprecated: It has a hole.",
    ),
    "wrapped in an element": (lambda: around("slterms:location"), "its signature is not the last"),
    "beside another description": (beside, "it was changed after it had been signed"),
    "with the signature of another": (with_her_signature, "it was changed after it had been"),
    "two signatures": (
        lambda: signed().replace(
            b"</rdf:RDF>", with_her_signature().partition(b"</rdf:Description>")[2]
        ),
        "it has 2 signatures",
    ),
}


@pytest.mark.parametrize("attack", sorted(ATTACKS))
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "listed"])
def test_nothing_starts_by(
    attack: str, alone: bool, cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    make, reason = ATTACKS[attack]
    cloud.market = {"": make() if alone else listing(make())}
    text = refusal(driver, cloud)
    assert reason in text
    assert IMAGE in text


def test_a_certificate_that_had_expired_proves_nothing(cloud: Cloud) -> None:
    expired = certified(begins=2010, ends=2012)
    cloud.serve(signed(key=expired))
    with closing_driver(cloud, **trusting(expired)) as driver:
        text = refusal(driver, cloud)
    assert text.endswith(
        "fails verification: the endorser's certificate was not valid at the endorsement date"
    )


def test_an_entry_of_another_image_is_refused(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.serve(signed(OTHER))
    text = refusal(driver, cloud, MalformedAnswerError)
    assert f"was asked about image {IMAGE}, but answered about {OTHER.identifier}" in text


def test_a_redirect_does_not_help(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    elsewhere = {"Location": f"/marketplace/metadata/{OTHER.identifier}"}
    moved = (302, "text/plain", b"", elsewhere)
    cloud.market = {f"/metadata/{IMAGE}": moved, "": listing(signed(key=mallory()))}
    assert "the endorser is not trusted" in refusal(driver, cloud)
    cloud.market[""] = listing(signed(OTHER))
    assert "was asked about image" in refusal(driver, cloud, MalformedAnswerError)
    with Canned([(200, "application/xml", listing(signed()))]) as other:
        elsewhere["Location"] = other.url
        assert "is not followed" in refusal(driver, cloud, MalformedAnswerError)
        assert other.requests == []


def test_fifty_megabytes_are_refused(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    document = signed()
    filler = b"<slterms:x>" + b"x" * 50 * 2**20 + b"</slterms:x></rdf:Description>"
    cloud.serve(document.replace(b"</rdf:Description>", filler))
    assert "more than 1 MiB" in refusal(driver, cloud, MalformedAnswerError)


# What was deprecated is not believed again


def deprecation() -> bytes:
    return signed(replace(ENTRY, deprecated="It has a hole."), when=WHEN + HOUR)


def seen_by_listing_endorsements(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.serve(deprecation())
    (endorsement,) = driver.ex_list_endorsements(IMAGE)
    assert endorsement.deprecated == "It has a hole."


def seen_by_looking_at_it(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.serve(signed())
    start(driver)  # and so it is cached
    cloud.serve(deprecation())
    assert driver.get_image(IMAGE).extra["deprecated"] == "It has a hole."


def seen_by_uploading_it(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.serve(signed())
    start(driver)
    cloud.market["/metadata"] = (201, "text/plain", b"metadata entry created")
    driver.ex_upload_metadata(deprecation())


@pytest.mark.parametrize(
    "seen", [seen_by_listing_endorsements, seen_by_looking_at_it, seen_by_uploading_it]
)
def test_an_old_entry_is_not_replayed_after_a_deprecation(
    seen: Callable[[Cloud, StratusLabNodeDriver], None],
    cloud: Cloud,
    driver: StratusLabNodeDriver,
) -> None:
    seen(cloud, driver)
    cloud.requests()
    cloud.serve(signed())
    for _ in range(2):
        text = refusal(driver, cloud)
        assert "the endorser replaced it on 2025-03-01T11:00:00Z" in text


def test_an_old_entry_does_not_count_beside_a_deprecation(
    cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    cloud.serve(signed(), deprecation())
    assert "it is deprecated: It has a hole." in refusal(driver, cloud)


def test_a_deprecation_is_its_endorsers_own(cloud: Cloud) -> None:
    """Bob still vouches for what Ada has deprecated; and nobody can deprecate for another."""
    both = f"{ada().certificate.fingerprint},{bob().certificate.fingerprint}"
    stranger = signed(replace(ENTRY, deprecated="No!"), mallory(), WHEN + 3 * HOUR)
    cloud.serve(stranger, deprecation(), signed(), signed(key=bob()))
    with closing_driver(cloud, verify_images="require", trusted_endorsers=both) as driver:
        start(driver)
    assert cloud.sources()[0].endswith("/bob@example.org/2025-03-01T10:00:00Z")


# Addresses and authorities


@cache
def authority() -> SigningKey:
    return certified("P-256", 1, email=None, is_ca=True)


@pytest.fixture
def ca_file(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_bytes(authority().certificate.parsed.public_bytes(Encoding.PEM))
    return path


def closing_driver(cloud: Cloud, **options: str) -> Any:
    driver = cloud.driver(**options)
    driver.close = driver.ex_close  # type: ignore[attr-defined]
    return closing(driver)


def test_an_address_alone_proves_nothing(cloud: Cloud) -> None:
    cloud.serve(signed())
    options = {"verify_images": "require", "trusted_endorsers": "ada@example.org"}
    with closing_driver(cloud, **options) as driver:
        text = refusal(driver, cloud)
    assert text.endswith(
        ", as an address alone proves nothing: no authority of trusted_ca certifies it"
    )


@pytest.mark.parametrize(
    ("endorsers", "certificate", "starts"),
    [
        ("", {}, True),
        ("Ada@Example.org", {}, True),
        ("bob@example.org", {}, False),
        ("ada@example.org", {"email": None}, False),
        ("ada@example.org", {"ca": None}, False),
        ("", {"ca": None}, False),
    ],
    ids=["any address", "hers", "another's", "not certified", "no authority", "self-signed"],
)
def test_an_address_counts_in_a_certificate_of_an_authority(
    endorsers: str, certificate: dict[str, Any], starts: bool, cloud: Cloud, ca_file: Path
) -> None:
    key = certified("P-256", 2, **{"ca": authority(), **certificate})
    cloud.serve(signed(key=key))
    options = {"verify_images": "require", "trusted_ca": str(ca_file)}
    with closing_driver(cloud, trusted_endorsers=endorsers, **options) as driver:
        if starts:
            assert start(driver).id == "7"
        else:
            assert "the endorser is not trusted" in refusal(driver, cloud)


def test_an_authority_must_have_been_valid_itself(cloud: Cloud, tmp_path: Path) -> None:
    old = certified("P-256", 1, email=None, is_ca=True, begins=2010, ends=2012)
    path = tmp_path / "ca.pem"
    path.write_bytes(old.certificate.parsed.public_bytes(Encoding.PEM))
    cloud.serve(signed(key=certified("P-256", 2, ca=old)))
    with closing_driver(cloud, verify_images="require", trusted_ca=str(path)) as driver:
        assert "the endorser is not trusted" in refusal(driver, cloud)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "No such file or directory"), (b"x", "it does not hold certificates in PEM form")],
)
def test_a_file_of_authorities_that_cannot_be_read_is_named(
    content: bytes | None, said: str, cloud: Cloud, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    cloud.serve(signed())
    with closing_driver(cloud, verify_images="require", trusted_ca=str(path)) as driver:
        text = refusal(driver, cloud, ConfigurationError)
    assert text.endswith(f"[default] trusted_ca {path} cannot be read: {said}")


def test_somebody_must_be_trusted_where_that_is_required(cloud: Cloud) -> None:
    cloud.serve(signed())
    with closing_driver(cloud, verify_images="require") as driver:
        text = refusal(driver, cloud, ConfigurationError)
    assert text.endswith("but nobody is trusted; set trusted_endorsers or trusted_ca")


# Warnings


@pytest.mark.parametrize(
    ("attack", "options"),
    [("unsigned", {}), ("altered", {}), ("a stranger of the same name", None)],
    ids=["unsigned", "altered", "a stranger"],
)
def test_a_warning_names_the_image_and_the_reason_once(
    attack: str, options: dict[str, str] | None, cloud: Cloud
) -> None:
    make, reason = ATTACKS[attack]
    cloud.serve(make())
    if options is None:
        options = {"trusted_endorsers": ada().certificate.fingerprint}
    with closing_driver(cloud, **options) as driver:
        with pytest.warns(UserWarning, match=re.escape(reason)) as caught:
            assert [start(driver).id for _ in range(2)] == ["7", "7"]
    (warning,) = caught
    assert str(warning.message).startswith(f"image {IMAGE}: its Marketplace entry by ada@")


@pytest.mark.parametrize(
    ("key", "options"),
    [
        (mallory, {}),
        (mallory, {"verify_images": "off", "trusted_endorsers": "bob@example.org"}),
        (ada, {"trusted_endorsers": "0" * 64}),
    ],
    ids=["nobody is named", "off", "trusted"],
)
def test_there_is_none_without_a_reason(
    key: Callable[[], SigningKey], options: dict[str, str], cloud: Cloud
) -> None:
    if key is ada:
        options = {"trusted_endorsers": ada().certificate.fingerprint}
    cloud.serve(signed(key=key()))
    with closing_driver(cloud, **options) as driver, warnings.catch_warnings():
        warnings.simplefilter("error")
        start(driver)
        assert cloud.sources()[0] == f"{cloud.canned.url}/marketplace/metadata/{IMAGE}"


def test_when_it_is_off_no_signature_is_looked_at(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stratuslab_libcloud.client.stratuslab import trust

    monkeypatch.delattr(trust, "verify")
    cloud.serve(write_entry(replace(ENTRY, endorser="ada@example.org", endorsed="2025")))
    with closing_driver(cloud, verify_images="off") as driver:
        start(driver)
        assert driver.get_image(IMAGE).extra["verdict"] is None


# Every way to start a machine


def test_deploying_is_refused_likewise(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.serve(signed(key=mallory()))
    with pytest.raises(UntrustedImageError, match=f"image {IMAGE} is refused "):
        driver.deploy_node(
            ScriptDeployment("true"),
            name="n",
            size=driver.list_sizes()[0],
            image=image(driver),
            auth=KEY,
        )
    assert cloud.requests() == ["GET marketplace"]


def test_the_command_refuses_it_likewise(cloud: Cloud, tmp_path: Path) -> None:
    path = tmp_path / "clouds.cfg"
    path.write_text(cloud.configuration(**trusting(ada())))
    path.chmod(0o600)
    words = ["-c", str(path), "-n", "2", IMAGE]
    cloud.serve(signed(key=mallory()))
    result = CliRunner().invoke(run_instance, words)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if "[ERROR]" in line]
    assert f"image {IMAGE} is refused (" in line
    assert cloud.requests() == ["GET marketplace"]
    cloud.serve(signed())
    result = CliRunner().invoke(run_instance, words)
    assert result.exit_code == 0
    assert cloud.requests() == ["GET marketplace", *["POST one-proxy"] * 4]


# Verdicts


def test_the_verdict_is_in_extra(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.serve(signed())
    verdict = driver.get_image(IMAGE).extra["verdict"]
    assert verdict == driver.ex_verify_image(image(driver))._asdict()
    assert cloud.requests() == ["GET marketplace"] * 2
    assert (verdict["signed"], verdict["trusted"], verdict["reasons"]) == (True, True, [])
    assert verdict["fingerprint"] == ada().certificate.fingerprint
    assert (verdict["certified"], verdict["in_force"], verdict["method"]) == (
        True,
        True,
        "rsa-sha1",
    )
    json.dumps(verdict)
    cloud.serve(signed(replace(ENTRY, valid="2020-01-01T00:00:00Z"), mallory()))
    verdict = driver.get_image(IMAGE).extra["verdict"]
    assert (verdict["signed"], verdict["trusted"], len(verdict["reasons"])) == (True, False, 2)


def test_everybodys_latest_endorsement_is_judged(
    cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    cloud.market = {
        f"/metadata/{IMAGE}?status=all": listing(
            signed(), deprecation(), signed(key=bob(), when=WHEN - HOUR), write_entry(ENTRY)
        )
    }
    found = driver.ex_list_endorsements(IMAGE)
    assert [(one.endorser, one.signed, one.trusted, one.deprecated) for one in found] == [
        ("ada@example.org", True, True, "It has a hole."),
        ("ada@example.org", True, True, None),
        ("bob@example.org", True, False, None),
        (None, False, False, None),
    ]
    assert [len(one.reasons) for one in found] == [1, 1, 1, 1]
    assert found[3].fingerprint is None
    with pytest.raises(NotFoundError):
        driver.ex_list_endorsements(OTHER.identifier)


@pytest.mark.parametrize("bad", ["", "../x", "x" * 27 + "/y"])
def test_an_identifier_that_is_none_is_not_sent(
    bad: str, cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    for call in (driver.ex_list_endorsements, driver.get_image):
        with pytest.raises(InvalidValueError, match="not the identifier"):
            call(bad)
    assert cloud.requests() == []


# Publishing


STORED = (201, "text/plain", b"metadata entry created")


def test_metadata_is_uploaded_once(cloud: Cloud, driver: StratusLabNodeDriver) -> None:
    cloud.market = {"/metadata": STORED}
    document = signed()
    url = driver.ex_upload_metadata(document)
    entry = "metadata/IgBUoILNIAlD290Tvui-60IdiLZ/ada@example.org/2025-03-01T10:00:00Z"
    assert url == f"{cloud.canned.url}/marketplace/{entry}"
    assert [request.body for request in cloud.canned.requests] == [document]
    cloud.market["/metadata"] = (
        400,
        "application/xml",
        b"<error>invalid metadata: no signature</error>",
    )
    with pytest.raises(ServiceError, match=r"invalid metadata: no signature \(HTTP 400\)"):
        driver.ex_upload_metadata(write_entry(ENTRY))


@pytest.mark.parametrize(
    ("metadata", "said"),
    [
        (b"<a", "the metadata cannot be read: not well-formed XML"),
        (b"<!DOCTYPE a><a/>", "XML with a DOCTYPE is refused"),
        (b"<a>" + b"x" * 50 * 2**20, "the metadata has more than 1 MiB"),
        ("<a/>", "metadata must be bytes, not str"),
    ],
    ids=["cut", "doctype", "50 MB", "text"],
)
def test_what_is_no_metadata_is_not_sent(
    metadata: Any, said: str, cloud: Cloud, driver: StratusLabNodeDriver
) -> None:
    with pytest.raises(InvalidValueError, match=said):
        driver.ex_upload_metadata(metadata)
    assert cloud.requests() == []


def test_deprecating_takes_two_requests(cloud: Cloud, tmp_path: Path) -> None:
    cloud.market = {
        f"/metadata/{IMAGE}/ada@example.org": listing(signed()),
        "/metadata": STORED,
        f"/metadata/{IMAGE}": listing(signed()),
    }
    path = str(pkcs12_file(tmp_path / "key.p12", ada()))
    options = trusting(ada(), p12_certificate=path, p12_password="geheim")
    with closing_driver(cloud, **options) as driver:
        start(driver)
        cloud.requests()
        url = driver.ex_deprecate_image(image(driver), "It has a hole.")
        looked, posted = cloud.canned.requests
        assert cloud.requests() == ["GET marketplace", "POST marketplace"]
        new = verify(posted.body).entry
        assert new is not None
        assert (new.deprecated, new.locations) == ("It has a hole.", ENTRY.locations)
        assert url == f"{cloud.canned.url}{looked.path}/{new.endorsed}"
        assert f"the endorser replaced it on {new.endorsed}" in refusal(driver, cloud)


@pytest.mark.parametrize(
    ("key", "more", "kind", "said"),
    [
        (ada, {"ex_p12_password": "wrong"}, ConfigurationError, "the password is wrong, or it is"),
        (
            lambda: certified(begins=2010, ends=2012),
            {},
            ConfigurationError,
            "the certificate expired on 2012-01-01T00:00:00Z",
        ),
        (
            ada,
            {"ex_email": "bob@example.org"},
            InvalidValueError,
            "the certificate is that of ada@example.org, not of bob@example.org",
        ),
        (
            lambda: certified(email=None),
            {},
            InvalidValueError,
            "the certificate has no e-mail address",
        ),
    ],
    ids=["password", "expired", "another's", "nameless"],
)
def test_nothing_is_sent_without_the_endorsers_key(
    key: Callable[[], SigningKey],
    more: dict[str, Any],
    kind: type[StratusLabError],
    said: str,
    cloud: Cloud,
    driver: StratusLabNodeDriver,
    tmp_path: Path,
) -> None:
    path = pkcs12_file(tmp_path / "key.p12", key(), "right")
    given: dict[str, Any] = {"ex_p12_certificate": str(path), "ex_p12_password": "right", **more}
    with pytest.raises(kind, match=said):
        driver.ex_deprecate_image(image(driver), **given)
    assert cloud.requests() == []
