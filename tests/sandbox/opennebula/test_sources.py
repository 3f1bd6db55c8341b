"""Images that have their content from somewhere: URLs and apps (opennebula-modern 3, 4)."""

import itertools
from collections.abc import Iterator

import pytest
from canned import Canned
from engine_callers import One

from stratuslab_libcloud.sandbox.site import Sandbox

MIB = 1 << 20
NAMES = itertools.count()
CONTENT = b"content " * (MIB // 8) + b"and more"


@pytest.fixture(scope="module")
def site() -> Iterator[Sandbox]:
    with Sandbox(users={"alice": "pw-a"}) as site:
        yield site


@pytest.fixture
def her(site: Sandbox) -> One:
    return One(site, "alice:pw-a")


def allocate(her: One, text: str) -> int:
    return int(her("image.allocate", f'NAME="p{next(NAMES)}"\n{text}', 1))


def content(site: Sandbox, her: One, number: int) -> bytes:
    name = her.image(number).findtext("SOURCE", "").rpartition("/")[2]
    return (site.dir / "datastore" / name).read_bytes()


def test_a_url_says_how_large_the_image_is(site: Sandbox, her: One) -> None:
    """What SIZE says is ignored."""
    with Canned([(200, "application/octet-stream", CONTENT)]) as server:
        number = allocate(her, f'PATH="{server.url}/image.raw"\nSIZE="9999"\nTYPE="DATABLOCK"')
    image = her.image(number)
    assert (image.findtext("SIZE"), image.findtext("STATE")) == ("2", "1")
    found = content(site, her, number)
    assert (found[: len(CONTENT)], len(found)) == (CONTENT, 2 * MIB)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/etc/passwd", "Not allowed to copy image file /etc/passwd"),
        ("file:///etc/passwd", "Not allowed to copy image file file:///etc/passwd"),
        ("URL/gone", "URL/gone answered 404, without the size of a file"),
    ],
    ids=["file", "file URL", "gone"],
)
def test_a_path_that_cannot_be_read_makes_nothing(
    site: Sandbox, her: One, path: str, text: str
) -> None:
    before = her("imagepool.info", -3, -1, -1), list((site.dir / "datastore").iterdir())
    with Canned([(404, "text/plain", b"no")]) as server:
        path, text = (one.replace("URL", server.url) for one in (path, text))
        code, words = her.refusal("image.allocate", f'NAME="n"\nPATH="{path}"\nSIZE=1', 1)
    assert code == 8192
    assert words.startswith(f"Cannot parse image SIZE: {text}")
    assert (her("imagepool.info", -3, -1, -1), list((site.dir / "datastore").iterdir())) == before


@pytest.mark.parametrize(
    ("later", "reason"),
    [
        ((200, "a/b", b"QFI\xfb" + b"x" * 96), "is not raw"),
        ((200, "a/b", b"x" * (MIB + 1)), "has become larger"),
        ((500, "a/b", b""), "answered 500"),
    ],
    ids=["qcow2", "larger", "gone"],
)
def test_a_copy_that_fails_later_is_in_error_and_leaves_no_file(
    site: Sandbox, her: One, later: tuple[int, str, bytes], reason: str
) -> None:
    files = list((site.dir / "datastore").iterdir())
    with Canned([(200, "a/b", b"x" * 100), later]) as server:
        image = her.image(allocate(her, f'PATH="{server.url}/x"'))
    assert (image.findtext("STATE"), image.findtext("SIZE")) == ("5", "1")
    error = image.findtext("TEMPLATE/ERROR", "")
    assert "Error copying image in the datastore: " in error
    assert reason in error
    assert list((site.dir / "datastore").iterdir()) == files


def test_an_app_of_the_marketplace_becomes_an_image(her: One) -> None:
    market = her.document("marketpool.info")[0]
    apps = her.document("marketapppool.info", -2, -1, -1)
    ids = [one.findtext("ID", "") for one in apps]
    assert sorted(one.text or "" for one in market.iterfind("MARKETPLACEAPPS/ID")) == sorted(ids)
    app = apps[-1]
    assert (app.findtext("TYPE"), app.findtext("SIZE")) == ("1", "128")
    image = her.image(allocate(her, f'FROM_APP="{ids[-1]}"\nTYPE="OS"'))
    said = [image.findtext(tag) for tag in ("SIZE", "STATE", "TYPE", "UNAME")]
    assert said == ["128", "1", "0", "alice"]
    mine = image.findtext("ID", "")
    words = "Cannot determine image SIZE."
    for unknown in (mine, "999", "x"):
        refusal = her.refusal("image.allocate", f'NAME="n"\nFROM_APP="{unknown}"', 1)
        assert refusal == (8192, words)
    her("image.update", int(mine), 'IDENTIFIER="forged"', 1)
    assert mine not in her("marketapppool.info", -2, -1, -1).split("<ID>")
    assert len(her.document("marketapppool.info", -2, -1, -1)) == len(ids)
