"""``stratus-create-image``: an image made from another one (config-and-cli 3.16)."""

import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.completion import volume_ids
from stratuslab_libcloud.cli.options import (
    ENDPOINT,
    JSON,
    LOGIN,
    MARKETPLACE,
    STORAGE,
    Given,
    command,
    pass_given,
    seconds,
)
from stratuslab_libcloud.cli.run import (
    MACHINE,
    Started,
    check_disk,
    list_types_of,
    only_image,
    order,
)
from stratuslab_libcloud.cli.saving import IMAGE, described

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud, Image, Machine, NewImage

__all__ = ["create_image"]

_MANDATORY = {
    "title": "Provide a title describing the new image",
    "comment": "Provide a comment describing the new image",
    "author": "Provide an author for the new image",
    "author_email": "Provide a valid Email address of the author of the image.",
}
_ONLY_TO_RUN = ("local_ip", "private_ip", "address", "vm_name", "readonly_disk", "volatile_disk")
_INSTALLERS = {
    **dict.fromkeys(("centos", "fedora", "sl", "scientificlinux"), "yum"),
    **dict.fromkeys(("debian", "ubuntu"), "apt"),
}
_ADD_REPOSITORY = {"apt": "add-apt-repository -y", "yum": "yum-config-manager --add-repo"}
_UPDATE = {"apt": "apt-get -q update", "yum": "yum -q -y update"}
_INSTALL = {
    "apt": "DEBIAN_FRONTEND=noninteractive apt-get -q -y install",
    "yum": "yum -q -y install",
}
_STANDARD_ERROR = 2  # standard output is for results
_PAUSE = 2.0  # seconds between two attempts to log in


@command(
    "stratus-create-image",
    *(IMAGE, MACHINE, STORAGE, MARKETPLACE, ENDPOINT, LOGIN, JSON),
    examples=(
        "stratus-create-image --title 'With a wiki' --comment 'And a wiki.' --author Jane "
        "--author-email jane@example.org -a apache2,php -s 'setup.sh --quick' "
        "BN1EEkPiBx87_uLj2-sdybSI-Xb",
        "stratus-create-image --title Tools --comment 'With tools.' --author Jane "
        "--author-email jane@example.org -a gcc --wait BN1EEkPiBx87_uLj2-sdybSI-Xb",
    ),
)
@click.option("-s", "--scripts", metavar="FILE", help="Scripts to run there, with commas between.")
@click.option(
    "-a", "--packages", metavar="PACKAGE", help="Packages to install, with commas between."
)
@click.option(
    "--os", metavar="OS", help="Its operating system.  [default: as the Marketplace says]"
)
@click.option("--installer", metavar="NAME", help="apt or yum.  [default: the system's own]")
@click.option(
    "--extra-os-repos", metavar="URL", help="Repositories of packages, with commas between."
)
@click.option(
    "--persistent-disk", metavar="UUID", shell_complete=volume_ids, help="Attach this disk."
)
@click.option("--no-shutdown", is_flag=True, help="Leave the machine running; there is no image.")
@click.option("--no-upload", is_flag=True, help="Needs --no-shutdown; changes nothing.")
@seconds("--vm-start-timeout", 600, "How long to wait until the machine runs.")
@seconds("--vm-ping-timeout", 300, "How long to wait for its network and SSH.")
@click.option("--wait", is_flag=True, help="Wait for the image, and print its identifier.")
@seconds("--timeout", 1800, "How long to wait for the image.", min_open=True)
@click.option("-n", "--name", metavar="NAME", help="Accepted; changes nothing.")
@click.option("--name-version", metavar="VERSION", help="Accepted; changes nothing.")
@click.option("--image-group", metavar="NAME", help="Accepted; changes nothing.")
@click.option("--exclude", metavar="FILE", help="Accepted; changes nothing.")
@click.argument("images", metavar="BASE-IMAGE-ID", nargs=-1)
@pass_given
def create_image(given: Given, /, images: tuple[str, ...], list_types: bool, **asked: Any) -> int:
    """
    Make an image from another one: start a machine of it, install packages, run scripts, and shut
    the machine down, which saves it.

    The new image is a persistent disk of yours. Its entry in the Marketplace is valid for two days;
    sign it with your own certificate and upload it within that time.

    On OpenNebula the title is the name of the new image, and the comment its description. It is
    always waited for.
    """
    if list_types:
        list_types_of(given)
        return 0
    from stratuslab_libcloud.client.opennebula.names import checked_name

    base = only_image(images)
    if asked["no_upload"] and not asked["no_shutdown"]:
        raise click.UsageError(
            "If you specify --no-upload you also need to specify --no-shutdown, otherwise you'll "
            "never be able to retrieve the new image"
        )
    for name, text in _MANDATORY.items():
        if not asked[name]:
            raise click.UsageError(text)
    save_as = described(asked)
    cloud = given.cloud()
    told = _Told(given)
    told.box("Starting image creation")
    told.step("Checking that base image exists")
    steps = _Steps.of(cloud.image(base).details().get("os"), asked)
    asked |= dict.fromkeys(_ONLY_TO_RUN)
    if not cloud.saves_as_it_ends:
        checked_name("image", save_as.title)  # before all the work, not after it
    wanted = order(cloud, base, asked, save_as if cloud.saves_as_it_ends else None)
    if asked["persistent_disk"]:
        check_disk(cloud, asked["persistent_disk"], 1)
    told.step("Starting base image")
    started = Started(given, 1, None, brief=False)
    if started.start(cloud, wanted):
        return 1
    ((vm_id, _),) = started.machines.items()
    with _ended_if_it_fails(cloud, vm_id, asked["no_shutdown"]):
        machine = _ready(given, cloud, vm_id, asked)
        steps.take(_Guest(machine, cloud), told)
    told.box("Finished building image increment.")
    if asked["no_shutdown"]:
        told.step("Machine ready for use")
        told.line(f"\n\tMachine IP: {machine.address}\tRemember to stop the machine when finished")
        return 0
    if cloud.saves_as_it_ends:
        told.box(f"Please check {save_as.email} for new image ID and instruction.")
    told.step("Shutting down machine")
    if not asked["wait"] and cloud.saves_as_it_ends:
        cloud.shut_down_machine(vm_id)
        return 0
    with output.Progress(bool(given.quiet)) as progress:
        save = _save_at_its_end if cloud.saves_as_it_ends else _save_at_rest
        image = save(cloud, vm_id, save_as, time.monotonic() + asked["timeout"], progress)
    if given.json:
        output.as_json([output.shape(image)])
    else:
        click.echo(f"IMAGE {image.id}")
    return 0


def _save_at_its_end(
    cloud: "Cloud", vm_id: str, save_as: "NewImage", end: float, progress: output.Progress
) -> "Image":
    """Shut a machine down that was started to be saved."""
    return cloud.save_image(
        vm_id,
        save_as.title,
        timeout=max(0.0, end - time.monotonic()),
        waiting=lambda state: progress.show(f"machine {vm_id} is {state}"),
    )


def _save_at_rest(
    cloud: "Cloud", vm_id: str, save_as: "NewImage", end: float, progress: output.Progress
) -> "Image":
    """Stop a machine, so that everything is on its disk, save that, and end the machine."""
    from stratuslab_libcloud.cli.waiting import until_stopped

    try:
        cloud.stop_machine(vm_id)
        until_stopped(cloud, vm_id, end, progress)
        image = cloud.save_image(
            vm_id,
            save_as.title,
            save_as.comment,
            timeout=max(0.0, end - time.monotonic()),
            waiting=lambda state: progress.show(f"machine {vm_id} is {state}"),
        )
    except BaseException:
        progress.clear()
        output.warning(f"machine {vm_id} is left, with all that was done on it")
        raise
    cloud.kill_machine(vm_id)
    return image


class _Told:
    """What is said about the work, unless nobody reads it."""

    def __init__(self, given: Given) -> None:
        self._tells = not given.quiet and not given.json

    def line(self, text: str) -> None:
        if self._tells:
            click.echo(text)

    def step(self, text: str) -> None:
        self.line(f" :: {text}")

    def box(self, text: str) -> None:
        self.line(output.box(text))


@contextmanager
def _ended_if_it_fails(cloud: "Cloud", vm_id: str, keep: bool) -> Iterator[None]:
    """Kill a machine that cannot be worked on, unless its owner wants to see it."""
    try:
        yield
    except BaseException:
        if keep:
            output.warning(f"machine {vm_id} is left running")
        else:
            with suppress(errors.StratusLabError):
                cloud.kill_machine(vm_id)
        raise


def _ready(given: Given, cloud: "Cloud", vm_id: str, asked: dict[str, Any]) -> "Machine":
    """Wait until somebody can log in."""
    from stratuslab_libcloud.cli.waiting import until_running, until_ssh_answers

    with output.Progress(bool(given.quiet)) as progress:
        end = time.monotonic() + asked["vm_start_timeout"]
        machine = until_running(cloud, vm_id, end, progress)
        if not machine.address:
            raise click.ClickException(f"machine {vm_id} has no address to log in at")
        end = time.monotonic() + asked["vm_ping_timeout"]
        port = cloud.settings.options.ssh_port
        until_ssh_answers(vm_id, machine.address, port, end, progress)
        guest = _Guest(machine, cloud)
        while guest.run("true", quiet=True):
            if time.monotonic() >= end:
                raise click.ClickException(f"nobody can log in to machine {vm_id}")
            time.sleep(_PAUSE)
    return machine


class _Guest:
    """A machine that commands are run on, by root."""

    def __init__(self, machine: "Machine", cloud: "Cloud") -> None:
        from stratuslab_libcloud.cli.connect import login

        self._ssh = login(machine, cloud.settings)

    def run(self, words: str, source: IO[bytes] | None = None, *, quiet: bool = False) -> int:
        """Run a command; what it prints goes to standard error. :return: its exit status."""
        try:
            return subprocess.run(
                [*self._ssh, words],
                stdin=source or subprocess.DEVNULL,
                stdout=subprocess.DEVNULL if quiet else _STANDARD_ERROR,
                stderr=subprocess.DEVNULL if quiet else None,
                check=False,
            ).returncode
        except FileNotFoundError:
            raise click.ClickException(
                "there is no ssh program: install an OpenSSH client"
            ) from None


@dataclass(frozen=True)
class _Steps:
    """
    What is done on the machine.

    :ivar scripts: for each its file and its arguments.
    """

    installer: str
    repositories: Sequence[str]
    packages: Sequence[str]
    scripts: Sequence[tuple[Path, Sequence[str]]]

    @classmethod
    def of(cls, os: str | None, asked: dict[str, Any]) -> "_Steps":
        """
        Read the options.

        :param os: the base image's.
        :raises click.ClickException: a script is missing, or nothing can install packages.
        """
        scripts = []
        for words in map(shlex.split, _items(asked["scripts"])):
            path = Path(words[0])
            if not path.is_file():
                raise click.UsageError(f"Script does not exist: {path}")
            scripts.append((path, words[1:]))
        repositories, packages = _items(asked["extra_os_repos"]), _items(asked["packages"])
        os = asked["os"] or os or ""
        installer = asked["installer"] or _INSTALLERS.get(os.lower(), "")
        if (repositories or packages) and installer not in _INSTALL:
            raise click.ClickException(
                f"Unsupported installer: {installer}; known are apt and yum"
                if installer
                else f"Unsupported OS: {os}; give --installer"
            )
        return cls(installer, repositories, packages, scripts)

    def commands(self) -> list[str]:
        """Write the commands that install the packages."""
        if not (self.repositories or self.packages):
            return []
        add, install = _ADD_REPOSITORY[self.installer], _INSTALL[self.installer]
        commands = [f"{add} {shlex.quote(url)}" for url in self.repositories]
        commands.append(_UPDATE[self.installer])
        if self.packages:
            commands.append(f"{install} -- {shlex.join(self.packages)}")
        return commands

    def take(self, guest: _Guest, told: _Told) -> None:
        """
        Do all of it.

        :raises click.ClickException: something failed on the machine.
        """
        commands = self.commands()
        if commands:
            told.step("Installing user packages")
        for words in commands:
            if guest.run(words):
                raise click.ClickException("An error occurred while installing packages")
        if self.scripts:
            told.step("Executing user scripts")
        for path, arguments in self.scripts:
            target = shlex.quote(f"/tmp/{path.name}")  # noqa: S108 - there, where only root works
            with path.open("rb") as file:
                if guest.run(f"cat > {target} && chmod 0755 {target}", file):
                    raise click.ClickException(f"An error occurred while uploading script {path}")
            if guest.run(f"{target} {shlex.join(arguments)}"):
                raise click.ClickException(f"An error occurred while executing script {path}")


def _items(text: str | None) -> list[str]:
    """The parts between commas."""
    return [part.strip() for part in (text or "").split(",") if part.strip()]
