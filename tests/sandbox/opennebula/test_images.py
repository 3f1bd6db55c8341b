"""Images and volumes: every refusal in the engine's words (opennebula-modern 4)."""

import itertools

import pytest
from engine_callers import One

from stratuslab_libcloud.sandbox.site import Sandbox

NEW = "Error allocating a new image. "
SIZE = "Cannot parse image SIZE: Wrong number or missing SIZE attribute."
NAMES = itertools.count()


@pytest.fixture
def her(both: Sandbox) -> One:
    return One(both, "alice:pw-a")


@pytest.fixture
def him(both: Sandbox) -> One:
    return One(both, "bob:pw-b")


@pytest.fixture
def volume(her: One) -> int:
    return her.volume(f"v{next(NAMES)}")


@pytest.mark.parametrize(
    ("text", "datastore", "code", "words"),
    [
        ('NAME="n"\nSIZE=1', -1, 1024, "Error getting datastore Pool."),
        ('NAME="n"\nSIZE=1', 99, 1024, "Error getting datastore [99]."),
        (
            'NAME="n"\nSIZE=1',
            0,
            16384,
            f"{NEW}New images can only be allocated in a files or image datastore.",
        ),
        (
            'NAME="n"\nSIZE=1',
            2,
            16384,
            f"{NEW}Only IMAGES of type KERNEL, RAMDISK and CONTEXT can be registered in a FILE_DS "
            "datastore",
        ),
        ('NAME="n"\nTYPE=X\nSIZE=1', 1, 16384, f"{NEW}Unknown type "),
        ('NAME="n"', 1, 8192, SIZE),
        ('NAME="n"\nSIZE=abc', 1, 8192, SIZE),
        ('NAME="n"\nSIZE=1.5', 1, 8192, SIZE),
        ('NAME="n"\nSIZE=1G', 1, 8192, SIZE),
        ('NAME="n"\nSIZE="9999999999"', 1, 2048, "Not enough space in datastore"),
        ("SIZE=1", 1, 16384, f"{NEW}Invalid NAME, it cannot be empty"),
        ('NAME=""\nSIZE=1', 1, 16384, f"{NEW}Invalid NAME, it cannot be empty"),
        (f'NAME="{"é" * 65}"\nSIZE=1', 1, 16384, f"{NEW}Invalid NAME, max length is 128 chars"),
        ('NAME="n"\nFROM_APP=7', 1, 8192, "Cannot determine image SIZE."),
    ],
)
def test_what_makes_no_image(her: One, text: str, datastore: int, code: int, words: str) -> None:
    assert her.refusal("image.allocate", text, datastore) == (code, words)


def test_a_negative_size_and_a_restricted_attribute_are_matters_of_rights(her: One) -> None:
    uid = her.document("user.info", -1).findtext("ID")
    who = f"User [{uid}] : "
    words = f"{who}user [{uid}] Image size must be a positive integer value."
    assert her.refusal("image.allocate", 'NAME="n"\nSIZE="-5"', 1) == (512, words)
    words = f"{who}Template includes a restricted attribute SOURCE."
    assert her.refusal("image.allocate", 'NAME="n"\nSIZE=1\nSOURCE="/x"', 1) == (512, words)


@pytest.mark.parametrize("char", list("<>&'/:;|$#{}\n\t"), ids=lambda char: f"u{ord(char):04x}")
def test_a_character_that_no_name_may_have(her: One, char: str) -> None:
    words = f"{NEW}Invalid NAME, char '{char}' is not allowed"
    assert her.refusal("image.allocate", f'NAME="a{char}b"\nSIZE=1', 1) == (16384, words)


def test_a_volume_as_its_document_says(her: One) -> None:
    name = f" b ,!?*%@=[]()~^` é{next(NAMES)} "
    number = her.volume(name, 'DESCRIPTION="d & <d>"', 'TAG="t"')
    image = her.image(number)
    assert image.findtext("NAME") == name.strip()
    said = [image.findtext(tag) for tag in ("TYPE", "PERSISTENT", "SIZE", "STATE", "FORMAT")]
    assert said == ["2", "1", "10", "1", "raw"]
    assert {leaf.tag: leaf.text for leaf in image.iterfind("TEMPLATE/*")} == {
        "DESCRIPTION": "d & <d>",
        "DEV_PREFIX": "sd",
        "TAG": "t",
    }
    assert (image.find("MODTIME") is not None) == (her("system.version") == "7.4.0")


@pytest.mark.parametrize(("text", "is_so"), [("YES", "1"), ("yes", "1"), ("true", "0"), ("1", "0")])
def test_persistent_is_yes_and_nothing_else(her: One, text: str, is_so: str) -> None:
    template = f'NAME="p{next(NAMES)}"\nSIZE=1\nPERSISTENT="{text}"'
    assert her.image(her("image.allocate", template, 1)).findtext("PERSISTENT") == is_so


def test_a_name_is_taken_by_an_own_image_only(her: One, him: One) -> None:
    name = f"n{next(NAMES)}"
    number = her.volume(name)
    words = f"{NEW}NAME is already taken by IMAGE {number}."
    assert her.refusal("image.allocate", f'NAME="{name}"\nSIZE=1', 1) == (16384, words)
    assert her.refusal("image.clone", number, name) == (16384, words)
    him.volume(name)
    other = her.volume(name.upper())
    words = f"image cannot be renamed to {name} because it collides with image {number}"
    assert her.refusal("image.rename", other, name) == (2048, words)
    assert her("image.rename", number, name) == number
    words = "Invalid NAME, char '/' is not allowed"
    assert her.refusal("image.rename", number, "a/b") == (2048, words)


def test_an_update_merges_or_replaces(her: One, volume: int) -> None:
    her("image.update", volume, 'A="1"', 1)
    assert her.image(volume).findtext("TEMPLATE/DEV_PREFIX") == "sd"
    her("image.update", volume, 'B="2"')
    assert [leaf.tag for leaf in her.image(volume).iterfind("TEMPLATE/*")] == ["B"]
    assert her.refusal("image.update", volume, 'B="2"', 7) == (4096, "Wrong update type")
    words = "Cannot update template. User Template includes a restricted attribute SOURCE"
    assert her.refusal("image.update", volume, 'SOURCE="x"', 1) == (8192, words)


def test_sharing_needs_manage_and_no_more(her: One, him: One, volume: int) -> None:
    theirs = him.document("user.info", -1).findtext("ID")
    words = f"User [{theirs}] : Not authorized to perform USE IMAGE [{volume}]."
    assert him.refusal("image.info", volume) == (512, words)
    her("image.chmod", volume, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    assert him.image(volume).findtext("ID") == str(volume)
    assert him.refusal("image.delete", volume)[0] == 512
    code, words = her.refusal("image.chmod", volume, -1, -1, 1, -1, -1, -1, -1, -1, -1)
    assert (code, words.endswith(f"Not authorized to perform ADMIN IMAGE [{volume}].")) == (
        512,
        True,
    )
    assert her.refusal("image.chown", volume, 0, -1)[1].endswith("MANAGE USER [0].")
    assert her.refusal("image.chown", volume, -1, 0)[1].endswith("USE GROUP [0].")
    assert her("image.chown", volume, -1, 1) == volume


def test_locked_by_hand(her: One, volume: int) -> None:
    her("image.lock", volume, 1)
    assert her.image(volume).findtext("LOCK/LOCKED") == "1"
    code, words = her.refusal("image.rename", volume, "x")
    assert (code, words.endswith(f"Not authorized to perform MANAGE IMAGE [{volume}].")) == (
        512,
        True,
    )
    her("image.unlock", volume)
    her("image.delete", volume)


def test_deleting(her: One, volume: int) -> None:
    assert her("image.delete", volume) == volume
    assert her.refusal("image.delete", volume) == (1024, f"Error getting image [{volume}].")
    assert her.refusal("image.delete", -1) == (1024, "Error getting image Pool.")
    assert her.raw("image.delete", volume)[3:] == [volume, -1]


def test_a_deletion_that_failed_can_be_repeated(both: Sandbox, her: One, volume: int) -> None:
    both.opennebula.fail("delete", "no such host")
    her("image.delete", volume)
    image = her.image(volume)
    assert image.findtext("STATE") == "5"
    assert "Error removing image from datastore. Retry" in image.findtext("TEMPLATE/ERROR", "")
    her("image.delete", volume)
    assert her.refusal("image.info", volume)[0] == 1024


def test_what_uses_an_image_keeps_it(her: One, volume: int) -> None:
    vm = her.start(f"DISK=[IMAGE_ID={volume}]")
    assert her.image_state(volume) == 8
    words = "Cannot delete image. There are 1 VMs using it."
    assert her.refusal("image.delete", volume) == (2048, words)
    words = "Could not make image non-persistent: Image cannot be in state USED."
    assert her.refusal("image.persistent", volume, False) == (8192, words)
    words = "Could not disable image: Image cannot be in state USED."
    assert her.refusal("image.enable", volume, False) == (8192, words)
    words = f"{NEW}Cannot clone image in state: USED"
    assert her.refusal("image.clone", volume, "c") == (16384, words)
    assert [one.text for one in her.image(volume).iterfind("VMS/ID")] == [str(vm)]
    her("vm.action", "terminate-hard", vm)
    assert her.image_state(volume) == 1


def test_a_disabled_image_is_not_used(her: One, volume: int) -> None:
    her("image.enable", volume, False)
    assert her.image_state(volume) == 3
    vm = her.start()
    words = f"Cannot acquire image {volume}, it is in state: DISABLED"
    assert her.refusal("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]") == (2048, words)
    her("image.enable", volume, True)
    her("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]")


def test_a_public_image_is_cloned_by_anybody(her: One) -> None:
    public = min(int(one.findtext("ID", "")) for one in her.document("imagepool.info", -2, -1, -1))
    name = f"c{next(NAMES)}"
    copy = her.image(her("image.clone", public, name))
    assert (copy.findtext("NAME"), copy.findtext("UNAME"), copy.findtext("STATE")) == (
        name,
        "alice",
        "1",
    )
    assert her.refusal("image.delete", public)[0] == 512


def test_a_copy_that_fails_is_in_error_with_the_reason(both: Sandbox, her: One) -> None:
    both.opennebula.fail("image", "injected: no")
    image = her.image(her.volume(f"f{next(NAMES)}"))
    assert image.findtext("STATE") == "5"
    error = image.findtext("TEMPLATE/ERROR", "")
    assert error.endswith(" : Error copying image in the datastore: injected: no")


def test_a_pool_is_filtered_and_cut(her: One, him: One) -> None:
    mine = sorted((her.volume(f"r{next(NAMES)}") for _ in range(4)), reverse=True)
    theirs = him.volume(f"r{next(NAMES)}")

    def numbers(flag: int, start: int = -1, end: int = -1) -> list[int]:
        pool = her.document("imagepool.info", flag, start, end)
        return [int(one.findtext("ID", "")) for one in pool]

    assert numbers(-3)[:4] == mine
    assert theirs not in numbers(-2)
    assert numbers(-3, mine[2], mine[1]) == [mine[1], mine[2]]
    assert numbers(-3, mine[1]) == mine[:2]
    assert numbers(-3, 1, -2) == mine[1:3]
    assert numbers(-3, -1, -2) == mine[:2]
    assert numbers(-3, 9, 8) == []
    assert numbers(int(her.document("user.info", -1).findtext("ID", "")))[:4] == mine
    assert 0 in numbers(0)
    assert her.refusal("imagepool.info", -5, -1, -1) == (4096, "Incorrect filter_flag")
    assert numbers(999) == []
