"""From the DISKs of a template to files."""

import json
import shutil
import subprocess
import threading
from pathlib import Path

import pytest

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.images.fetched import FetchedImage
from stratuslab_libcloud.sandbox.machines import drives
from stratuslab_libcloud.sandbox.machines.drives import PATH, Drive, lay_out
from stratuslab_libcloud.sandbox.template import parse

UUID = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
ENTRY = "https://marketplace.example.org/metadata/MMZu9WvwKIro-rtBQfDk4PsKO7_"

needs_tools = pytest.mark.skipif(
    not all(shutil.which(tool, path=PATH) for tool in ("qemu-img", "mkswap", "mke2fs")),
    reason="qemu-img, mkswap or mke2fs is not installed",
)


class Lay:
    """DISKs to files, in a folder; the image of ENTRY is there."""

    def __init__(self, tmp_path: Path) -> None:
        self.folder, self.image = tmp_path / "machine", tmp_path / "origin: odd, name"
        self.disks = tmp_path / "disks"
        self.folder.mkdir()
        self.image.write_bytes(b"an image".ljust(1 << 20, b"\0"))

    def __call__(self, *disks: str) -> list[Drive]:
        text = "\n".join(f"DISK = [ {disk} ]" for disk in disks)
        fetch = {ENTRY: FetchedImage(self.image, "raw")}.__getitem__
        return lay_out(
            parse(text), self.folder, self.disks, lambda s, _: fetch(s), threading.Event()
        )


@pytest.fixture
def lay(tmp_path: Path) -> Lay:
    return Lay(tmp_path)


@needs_tools
def test_the_first_image_gets_a_layer_of_the_machines_own(lay: Lay) -> None:
    assert lay(f'source = "{ENTRY}", target = vda') == [Drive("vda", "vda", "qcow2")]
    layer = lay.folder / "vda"
    assert layer.stat().st_size < 1 << 20
    told = subprocess.run(["qemu-img", "compare", "-q", layer, lay.image])
    assert told.returncode == 0


@needs_tools
def test_so_do_further_ones(lay: Lay) -> None:
    _, second = lay(f'source = "{ENTRY}", target = vda', f'source = "{ENTRY}", target = vdc')
    assert second == Drive("vdc", "vdc", "qcow2")


@needs_tools
def test_a_layer_is_made_larger_at_first_and_later_and_keeps_what_is_on_it(lay: Lay) -> None:
    layer = lay.folder / "vda"
    for mib in (2, 3, 3):
        lay(f'source = "{ENTRY}", target = vda, grown_to = {mib}')
        told = subprocess.check_output(["qemu-img", "info", "--output=json", layer])
        assert json.loads(told)["virtual-size"] == mib << 20
    compared = subprocess.run(["qemu-img", "compare", "-q", layer, lay.image])
    assert compared.returncode == 0  # beyond its end there are zeros
    with pytest.raises(MachineError, match=r"^qemu-img failed: .*shrink"):
        lay(f'source = "{ENTRY}", target = vda, grown_to = 1')


def test_a_persistent_disk_is_itself(lay: Lay, tmp_path: Path) -> None:
    (drive,) = lay(f'source = "pdisk:https://x.org/pdisk/{UUID}", target = vdc, type = block')
    assert drive == Drive("vdc", str(tmp_path / "disks" / UUID), serial=UUID[:20])


@needs_tools
def test_swap_has_its_size_and_signature(lay: Lay) -> None:
    assert lay("type = swap, size = 64, target = vdb") == [Drive("vdb", "vdb")]
    swap = lay.folder / "vdb"
    assert swap.stat().st_size == 64 << 20
    assert b"SWAPSPACE2" in swap.read_bytes()[:4096]


@needs_tools
def test_a_volatile_disk_has_a_file_system(lay: Lay) -> None:
    lay("FORMAT=ext3, SIZE=8, TARGET=vdc, TYPE=fs")
    assert (lay.folder / "vdc").stat().st_size == 8 << 20
    assert (lay.folder / "vdc").read_bytes()[1080:1082] == b"\x53\xef"


def test_a_swap_without_size_is_none(lay: Lay) -> None:
    assert lay("type = swap, size = 0, target = vdb") == []


def test_two_disks_with_one_target_are_refused(lay: Lay) -> None:
    disk = f"source = pdisk:x/{UUID}, target = vdc"
    with pytest.raises(MachineError, match=r"^two disks have the target vdc$"):
        lay(disk, disk)


def test_more_disks_than_there_are_letters_are_refused(lay: Lay) -> None:
    with pytest.raises(MachineError, match=r"^two disks have the target hda$"):
        lay(*[f"source = pdisk:x/{UUID}"] * 27)


def test_a_disk_without_target_gets_one(lay: Lay) -> None:
    assert [drive.target for drive in lay(f"source = pdisk:x/{UUID}")] == ["hda"]


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (f"type = swap, size = {'9' * 5000}, target = vdb", "cannot have a SIZE of 999"),
        ("type = swap, size = 1, target = xvda", "^xvda is not the target of a disk$"),
        ('type = swap, size = 1, target = "../x"', r"^\.\./x is not the target of a disk$"),
        ('type = swap, size = 1, target = "/tmp/x"', "^/tmp/x is not the target of a disk$"),
        ('type = swap, size = 1, target = "vda\n"', "is not the target of a disk$"),
        ("type = swap, size = huge, target = vdb", "disk vdb cannot have a SIZE of huge MiB"),
        ("type = swap, size = 9999999, target = vdb", "cannot have a SIZE of 9999999 MiB"),
        ("type = block, size = 1, target = vdb", "has no SOURCE, and is neither swap nor a file"),
        ("type = fs, format = ntfs, size = 1, target = vdb", "is neither swap nor a file system"),
    ],
)
def test_what_cannot_be_made_is_told(lay: Lay, disk: str, reason: str) -> None:
    with pytest.raises(MachineError, match=reason):
        lay(disk)
    assert list(lay.folder.iterdir()) == []


@needs_tools
def test_what_was_left_half_made_is_made_anew(lay: Lay, monkeypatch: pytest.MonkeyPatch) -> None:
    disks = (f'source = "{ENTRY}", target = vda', "type = swap, size = 64, target = vdb")

    def killed(folder: Path, command: list[str], stop: threading.Event) -> None:
        (folder / command[-1]).write_bytes(b"half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(drives, "_run", killed)
        for disk in disks:
            with pytest.raises(KeyboardInterrupt):
                lay(disk)
    assert [drive.target for drive in lay(*disks)] == ["vda", "vdb"]
    assert (lay.folder / "vda").read_bytes().startswith(b"QFI")
    assert b"SWAPSPACE2" in (lay.folder / "vdb").read_bytes()[:4096]
    assert sorted(path.name for path in lay.folder.iterdir()) == ["vda", "vdb"]


def test_a_program_that_takes_long_is_ended_when_the_machine_is_not_wanted_any_more(
    tmp_path: Path,
) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(MachineError, match=r"^sleep was stopped$"):
        drives._run(tmp_path, ["sleep", "600"], stop)
