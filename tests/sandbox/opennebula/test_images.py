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


@pytest.mark.parametrize(
    ("text", "kind", "size", "form"),
    [
        ('NAME="{}"\nSIZE=5', "0", "5", "raw"),
        ('NAME="{}"\nSIZE=0', "0", "0", "raw"),
        ('NAME="{}"\nSIZE=5\nTYPE=cdrom', "1", "5", "raw"),
        ('NAME="{}"\nSIZE=5\nTYPE=DATABLOCK\nFORMAT=qcow2', "2", "5", "qcow2"),
        ("<I><NAME>{}</NAME><SIZE>5</SIZE><TYPE>DATABLOCK</TYPE></I>", "2", "5", "raw"),
    ],
    ids=["no type", "no size", "lower case", "format", "XML"],
)
def test_what_makes_an_image(her: One, text: str, kind: str, size: str, form: str) -> None:
    image = her.image(her("image.allocate", text.format(f"m{next(NAMES)}"), 1))
    said = [image.findtext(tag) for tag in ("TYPE", "SIZE", "FORMAT", "STATE", "PERSISTENT")]
    assert said == [kind, size, form, "1", "0"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", SIZE),
        ("X", "Parse error: syntax error, unexpected "),
        ("<NAME>n</NAME><SIZE>1</SIZE>", "Parse error: XML Template malformed."),
    ],
    ids=["empty", "no template", "no root"],
)
def test_what_is_no_template(her: One, text: str, words: str) -> None:
    code, said = her.refusal("image.allocate", text, 1)
    assert (code, said[: len(words)]) == (8192, words)


def test_a_file_goes_to_the_datastore_of_files_and_into_no_machine(her: One) -> None:
    name = f"f{next(NAMES)}"
    number = her("image.allocate", f'NAME="{name}"\nTYPE=CONTEXT\nSIZE=1', 2)
    image = her.image(number)
    assert (image.findtext("TYPE"), image.findtext("DATASTORE")) == ("5", "files")
    words = f"Image {number} (context file) of type CONTEXT cannot be used as DISK."
    disk = f"DISK=[IMAGE_ID={number}]"
    assert her.refusal("vm.attach", her.start(), disk) == (2048, words)
    text = f"CPU=1\nMEMORY=64\n{disk}"
    assert her.refusal("vm.allocate", text) == (8192, f"DISK 0: {words}")


def test_several_machines_share_a_volume_that_says_so(her: One) -> None:
    number = her.volume(f"h{next(NAMES)}", 'PERSISTENT_TYPE="SHAREABLE"')
    machines = [her.start(f"DISK=[IMAGE_ID={number}]") for _ in range(2)]
    image = her.image(number)
    assert (image.findtext("STATE"), image.findtext("RUNNING_VMS")) == ("8", "2")
    assert [int(one.text or "") for one in image.iterfind("VMS/ID")] == machines
    her("vm.action", "terminate", machines[0])
    assert her.image_state(number) == 8
    her("vm.action", "terminate", machines[1])
    assert her.image_state(number) == 1


def test_an_image_is_used_by_a_machine_that_waits_or_rests(her: One) -> None:
    number = her("image.allocate", f'NAME="u{next(NAMES)}"\nSIZE=1', 1)
    held = her("vm.allocate", f"CPU=1\nMEMORY=64\nDISK=[IMAGE_ID={number}]", True)
    off = her.start(f"DISK=[IMAGE_ID={number}]")
    her("vm.action", "poweroff", off)
    image = her.image(number)
    assert (image.findtext("STATE"), image.findtext("RUNNING_VMS")) == ("2", "2")
    words = "Could not make image persistent: Image cannot be in state USED."
    assert her.refusal("image.persistent", number, True) == (8192, words)
    words = "Could not disable image: Image cannot be in state USED."
    assert her.refusal("image.enable", number, False) == (8192, words)
    assert her("image.chtype", number, "DATABLOCK") == number  # even so
    her("image.rename", number, f"u{next(NAMES)}")
    name = her.vm(off).findtext("TEMPLATE/DISK/IMAGE")
    assert name != her.image(number).findtext("NAME")  # as it was then
    for vm in (held, off):
        her("vm.action", "terminate", vm)
    assert her.image_state(number) == 1


EVERY_CHANGE: dict[str, tuple[object, ...]] = {
    "rename": ("x",),
    "update": ("A=1", 1),
    "chmod": (-1, -1, -1, -1, -1, -1, 1, -1, -1),
    "chown": (-1, 1),
    "persistent": (False,),
    "enable": (False,),
    "chtype": ("OS",),
    "lock": (1,),
    "delete": (),
    "snapshotdelete": (0,),
    "snapshotrevert": (0,),
    "snapshotflatten": (0,),
}


@pytest.mark.parametrize("verb", EVERY_CHANGE)
def test_nothing_is_changed_that_is_locked_by_hand_or_the_sites(her: One, verb: str) -> None:
    """What is public may be used, and no more."""
    locked = her.volume(f"l{next(NAMES)}")
    her("image.lock", locked, 1)
    for number in (locked, 0):
        code, words = her.refusal(f"image.{verb}", number, *EVERY_CHANGE[verb])
        said = words.split(" : ")[1]
        assert (code, said) == (512, f"Not authorized to perform MANAGE IMAGE [{number}].")
    if verb == "chmod":
        code, words = her.refusal("image.chmod", locked, -1, -1, -1, -1, -1, -1, 2, -1, -1)
        assert (code, words.endswith(f"ADMIN IMAGE [{locked}].")) == (512, True)
    assert her.image_state(locked) == 1


def test_a_stranger_unlocks_nothing(her: One, him: One, volume: int) -> None:
    vm = her.start()
    her("image.chmod", volume, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    her("vm.chmod", vm, -1, -1, -1, -1, -1, -1, 1, -1, -1)
    for kind, number in (("image", volume), ("vm", vm)):
        her(f"{kind}.lock", number, 1)
        assert him.refusal(f"{kind}.unlock", number)[0] == 512
        document = her.document(f"{kind}.info", number)
        assert document.findtext("LOCK/LOCKED") == "1"
        her(f"{kind}.unlock", number)
        assert her.document(f"{kind}.info", number).find("LOCK") is None


def test_a_machine_is_public_or_locked_as_an_image_is(her: One, him: One) -> None:
    vm = her.start()
    public = (-1, -1, -1, -1, -1, -1, 1, -1, -1)
    assert him.refusal("vm.info", vm)[0] == 512
    her("vm.chmod", vm, *public)
    assert him.vm(vm).findtext("PERMISSIONS/OTHER_U") == "1"
    manage = f"Not authorized to perform MANAGE VM [{vm}]."
    for who in (him, her):
        if who is her:
            her("vm.lock", vm, 1)
        code, words = who.refusal("vm.chmod", vm, *public)
        assert (code, words.split(" : ")[1]) == (512, manage)
    her("vm.unlock", vm)
    code, words = her.refusal("vm.chmod", vm, -1, -1, 1, -1, -1, -1, -1, -1, -1)
    assert (code, words.split(" : ")[1]) == (512, f"Not authorized to perform ADMIN VM [{vm}].")


def test_a_copy_of_what_is_disabled_is_refused(her: One, volume: int) -> None:
    her("image.enable", volume, False)
    words = f"{NEW}Cannot clone image in state: DISABLED"
    assert her.refusal("image.clone", volume, "c") == (16384, words)


def test_an_empty_pool_is_no_error(both: Sandbox) -> None:
    him = One(both, "bob:pw-b")
    uid = int(him.document("user.info", -1).findtext("ID", "")) + 1000
    assert him("imagepool.info", uid, -1, -1) == "<IMAGE_POOL></IMAGE_POOL>"
    assert him("vmpool.info", uid, -1, -1, -2) == "<VM_POOL></VM_POOL>"


def test_a_range_without_a_beginning_is_everything(her: One) -> None:
    whole = her("imagepool.info", -2, -1, -1)
    assert her("imagepool.info", -2, -1, 1) == whole
    assert her("imagepool.info", -2, -1, -1, "more", 7) == whole  # further ones are ignored
    machines = her("vmpool.info", -3, -1, -1, -2)
    assert her("vmpool.info", -3, -1, 0, -2) == machines


def test_snapshots_of_an_image_are_taken_back_to_and_forgotten(her: One, volume: int) -> None:
    vm = her.start()
    her("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]")
    for name in ("one", "two", "three"):
        her("vm.disksnapshotcreate", vm, 0, name)
    her("vm.detach", vm, 0)
    her("vm.attach", vm, f"DISK=[IMAGE_ID={volume}]")  # with what it has
    assert len(her.vm(vm).findall("SNAPSHOTS/SNAPSHOT")) == 3
    her("vm.disksnapshotrename", vm, 0, 1, "second")
    her("vm.disksnapshotdelete", vm, 0, 1)
    assert her("vm.disksnapshotcreate", vm, 0, "") == 3  # ids are never used again
    her("vm.detach", vm, 0)
    found = her.image(volume)
    assert found.findtext("SNAPSHOTS/NEXT_SNAPSHOT") == "4"
    ids = [one.findtext("ID") for one in found.iterfind("SNAPSHOTS/SNAPSHOT")]
    assert ids == ["0", "2", "3"]
    her("image.snapshotrevert", volume, 0)
    assert her.image(volume).findtext("SNAPSHOTS/CURRENT_BASE") == "0"
    her("image.snapshotflatten", volume, 0)
    assert her.image(volume).find("SNAPSHOTS/SNAPSHOT") is None
