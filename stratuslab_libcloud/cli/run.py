"""``stratus-run-instance``: start machines (guide 6.1.1, 7.3.1; config-and-cli 3.6)."""

import ipaddress
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.completion import volume_ids
from stratuslab_libcloud.cli.options import (
    ENDPOINT,
    FILE,
    JSON,
    LOGIN,
    MARKETPLACE,
    STORAGE,
    Given,
    command,
    pass_given,
    seconds,
    setting,
)
from stratuslab_libcloud.cli.saving import SAVE, new_image, saved_name

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud, Machine, NewImage, NewMachine
    from stratuslab_libcloud.cli.cloud_init import CloudInit
    from stratuslab_libcloud.configuration.instance_types import InstanceType
    from stratuslab_libcloud.configuration.settings import Settings

__all__ = [
    "MACHINE",
    "Started",
    "check_disk",
    "list_types_of",
    "only_image",
    "order",
    "run_instance",
]

_SMALL = "m1.small"
_NO_EFFECT = {
    "qcow_disk_format": "--qcow-disk-format: the Marketplace says which format an image has",
    "no_check_image_url": "--no-check-image-url: the Marketplace must say what format an image has",
    "notify": "--notify: nobody is notified",
}


def _refuse_template(ctx: click.Context, option: click.Parameter, value: object) -> None:
    if value:
        raise click.UsageError(
            "--vm-template-file is not supported: the other options say all that a template can"
        )


def _listen(ctx: click.Context, option: click.Parameter, value: str | None) -> str:
    try:
        return str(ipaddress.ip_address(value)) if value else ""
    except ValueError:
        raise click.UsageError("VNC listen IP is not valid") from None


def _option(*names: str, **more: Any) -> click.Option:
    return click.Option(names, **more)


MACHINE = (
    setting(
        "user_public_key_file",
        "-k",
        "--key",
        metavar="FILE",
        text="The SSH public key, or keys, to let in.",
    ),
    setting("default_instance_type", "-t", "--type", metavar="TYPE", text="The type of machine."),
    _option(
        "-l",
        "--list-types",
        "--list-type",
        "list_types",
        is_flag=True,
        help="List the types, and exit.",
    ),
    _option("--cpu", type=click.IntRange(1), metavar="CORES", help="Cores, instead of the type's."),
    _option("--ram", type=click.IntRange(1), metavar="MB", help="RAM, instead of the type's."),
    _option("--swap", type=click.IntRange(0), metavar="MB", help="Swap, instead of the type's."),
    _option(
        "--context-file",
        type=FILE,
        metavar="FILE",
        help="Values for the machine: key=value lines.",
    ),
    _option("--context", metavar="CONTEXT", help="Values for the machine: key=value#key=value."),
    setting(
        "default_context_method",
        "--context-method",
        metavar="METHOD",
        text="How they get there: one or cloud-init.",
    ),
    _option(
        "--cloud-init",
        metavar="PAIRS",
        help="For cloud-init: mimetype,file#mimetype,file; ssh,FILE is a public key.",
    ),
    _option(
        "--vnc-port", type=int, default=-1, metavar="PORT", help="TCP port of its screen (VNC)."
    ),
    _option("--vnc-listen", callback=_listen, metavar="ADDRESS", help="Address of its screen."),
    _option("--keymap", default="en-us", metavar="LANGUAGE", help="Keyboard of its screen."),
    _option("--use-host-cpu", is_flag=True, help="Give it all features of its host's processor."),
    _option("--vm-requirements", metavar="REQUIREMENTS", help="What its host must be like."),
    _option("--vm-network-model", metavar="MODEL", help="Network card, such as virtio."),
    _option("--vm-cpu-amount", type=float, metavar="CPU", help="Share of its host's processors."),
    _option("--vm-disks-bus", metavar="BUSTYPE", help="ide, scsi or virtio, not the image's own."),
    _option(
        "--vm-template-file",
        metavar="FILE",
        help="Not supported.",
        expose_value=False,
        callback=_refuse_template,
    ),
)


@command(
    "stratus-run-instance",
    *(MACHINE, SAVE, STORAGE, MARKETPLACE, ENDPOINT, LOGIN, JSON),
    examples=(
        "stratus-run-instance BN1EEkPiBx87_uLj2-sdybSI-Xb",
        "stratus-run-instance -n 2 -t m1.large --wait BN1EEkPiBx87_uLj2-sdybSI-Xb",
        "stratus-run-instance --save --title 'With a wiki' --comment 'And a wiki.' --author Jane "
        "--author-email jane@example.org --image-version 1.1 BN1EEkPiBx87_uLj2-sdybSI-Xb",
    ),
)
@click.option(
    "-n", "--number", type=click.IntRange(1), default=1, metavar="INT", help="How many to start."
)
@click.option("--local-ip", is_flag=True, help="Put it into the local network.")
@click.option("--private-ip", is_flag=True, help="Put it into the private network.")
@click.option("--address", metavar="IP", help="The address that it should have.")
@click.option("--vm-name", metavar="NAME", help="What to call it.")
@click.option(
    "--persistent-disk", metavar="UUID", shell_complete=volume_ids, help="Attach this disk."
)
@click.option("--readonly-disk", metavar="IMAGE-ID", help="Attach this image for reading.")
@click.option("--volatile-disk", type=click.IntRange(0), metavar="GB", help="Add an empty disk.")
@click.option(
    "-o",
    "--output",
    "ids_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the ids to this file, one a line.",
)
@click.option("--wait", is_flag=True, help="Wait until it runs and SSH answers.")
@seconds("--timeout", 600, "How long to wait.")
@click.option("--qcow-disk-format", is_flag=True, help="Accepted; changes nothing.")
@click.option("--no-check-image-url", is_flag=True, help="Accepted; changes nothing.")
@click.option("--notify", multiple=True, metavar="TEXT", help="Accepted; changes nothing.")
@click.argument("images", metavar="IMAGE", nargs=-1)
@pass_given
def run_instance(given: Given, /, images: tuple[str, ...], list_types: bool, **asked: Any) -> int:
    """
    Start machines from IMAGE: the identifier of an image of the Marketplace, or the UUID of a
    bootable disk; on OpenNebula the id of an image.

    Does not wait for them, unless --wait says so.
    """
    if list_types:
        list_types_of(given)
        return 0
    image = only_image(images)
    cloud = given.cloud()
    if asked["context_file"] and not Path(asked["context_file"]).is_file():
        raise click.UsageError("Extra context file does not exist")
    for name, why in _NO_EFFECT.items():
        if asked[name]:
            output.warning(f"{why}; it changes nothing")
    wanted = order(cloud, image, asked, new_image(asked))
    if asked["persistent_disk"]:
        check_disk(cloud, asked["persistent_disk"], asked["number"])
    started = Started(given, asked["number"], asked["ids_file"])
    status = started.start(cloud, wanted)
    if asked["wait"]:
        status = started.wait(cloud, time.monotonic() + asked["timeout"]) or status
    started.end(status)
    return status


# -- what is asked for ----------------------------------------------------------------------------


def only_image(images: tuple[str, ...]) -> str:
    """The one image that the words name."""
    if len(images) != 1:
        raise click.UsageError("Please specify the machine image to start")
    return images[0]


def order(
    cloud: "Cloud", image: str, asked: dict[str, Any], save_as: "NewImage | None"
) -> "NewMachine":
    """The machine that the options ask for."""
    from stratuslab_libcloud import NewMachine

    settings = cloud.settings
    kind = _instance_type(settings)
    values, prepared = _context(asked)
    method = "cloud-init" if prepared else settings.options.default_context_method
    return NewMachine(
        image,
        cpus=asked["cpu"] or kind.cpus,
        ram=asked["ram"] or kind.ram,
        swap=kind.swap if asked["swap"] is None else asked["swap"],
        name=asked["vm_name"] or (saved_name() if save_as else ""),
        network="local" if asked["local_ip"] else "private" if asked["private_ip"] else "",
        volumes=[asked["persistent_disk"]] if asked["persistent_disk"] else [],
        readonly_images=[asked["readonly_disk"]] if asked["readonly_disk"] else [],
        public_keys=(prepared.keys if prepared else []) or _public_keys(settings),
        context=values,
        context_method=method,
        user_data=prepared.user_data if prepared else b"",
        volatile_disk=asked["volatile_disk"] or 0,
        address=asked["address"] or "",
        network_model=asked["vm_network_model"] or "",
        disks_bus=asked["vm_disks_bus"] or "",
        # In 2013 the quotation marks had to be escaped by whoever called.
        requirements=(asked["vm_requirements"] or "").replace('\\"', '"'),
        cpu_amount=asked["vm_cpu_amount"],
        use_host_cpu=asked["use_host_cpu"],
        vnc_port=asked["vnc_port"],
        vnc_listen=asked["vnc_listen"],
        keymap=asked["keymap"],
        save_as=save_as,
    )


def _instance_type(settings: "Settings") -> "InstanceType":
    options = settings.options
    name = options.default_instance_type or options.instance_type or _SMALL
    known = {kind.name: kind for kind in settings.instance_types}
    if name not in known:
        raise click.ClickException(
            f"Unknown instance type: {name}; known are: {', '.join(sorted(known))}"
        )
    return known[name]


def _context(asked: dict[str, Any]) -> tuple[dict[str, str], "CloudInit | None"]:
    """The values for the machine, and what is for cloud-init, if anything is."""
    from stratuslab_libcloud.cli import cloud_init

    lines = Path(asked["context_file"]).read_text().splitlines() if asked["context_file"] else []
    values = cloud_init.context([*lines, *(asked["context"] or "").split("#")])
    prepared = cloud_init.of_context(values)
    if asked["cloud_init"] is not None:
        prepared = cloud_init.of_files(asked["cloud_init"].split("#"))
    return values, prepared


def _public_keys(settings: "Settings") -> list[str]:
    from stratuslab_libcloud.ssh import keys

    pair = settings.default_key_pair()
    if pair is None:
        output.warning("there is no SSH public key (see --key): nobody will be able to log in")
        return []
    return keys.read_public(pair[0])


def check_disk(cloud: "Cloud", uuid: str, number: int) -> None:
    """A disk is for one machine at a time (pdisk-rest 3.5)."""
    free = max(0, 1 - (cloud.volume(uuid).users or 0))
    if free < number:
        raise click.ClickException(
            f"disk cannot be attached; it is already mounted ({free}/{number})"
            if not free
            else f"disk cannot be attached to {number} machines; it is for one ({free}/{number})"
        )


# -- what happens --------------------------------------------------------------------------------


class Started:
    """The machines that one call starts, and what is said about them."""

    def __init__(
        self, given: Given, number: int, ids_file: Path | None, *, brief: bool = True
    ) -> None:
        """
        :param brief: whether their ids and addresses are results, so that ``-q`` leaves them.
        """
        self._given = given
        self._number = number
        self._ids_file = ids_file
        self.machines: dict[str, Machine | None] = {}
        self._brief = brief and bool(given.quiet) and not given.json
        self._tells = not given.quiet and not given.json

    def start(self, cloud: "Cloud", order: "NewMachine") -> int:
        """Start them, one after the other, until one cannot be started."""
        if self._ids_file:
            self._ids_file.write_text("")  # fails while there is nothing yet to write down
        self._tell(output.box("Starting machine(s)"))
        self._tell(f" :: Starting {self._number} machine{'' if self._number == 1 else 's'}")
        self._given.say(f"on endpoint: {cloud.settings.endpoint}")
        try:
            for _ in range(self._number):
                self._start_one(cloud, order)
        except errors.StratusLabError as error:
            output.error(str(error))
            return 1
        finally:
            if self._ids_file:
                self._ids_file.write_text("\n".join(self.machines))
        return 0

    def _start_one(self, cloud: "Cloud", order: "NewMachine") -> None:
        sent: list[bool] = []
        try:
            vm_id = cloud.create_machine(order, lambda: sent.append(True))
        except KeyboardInterrupt:
            if sent:
                output.warning("a machine may have been started: see stratus-describe-instance")
            raise
        self.machines[vm_id] = None
        self._tell(f" :: Machine {len(self.machines)} (vm ID: {vm_id})")
        try:
            machine = self.machines[vm_id] = cloud.machine(vm_id)
        except errors.StratusLabError as error:  # it runs, or will
            output.warning(f"machine {vm_id} was started, but cannot be looked at: {error}")
            machine = None
        address = (machine and machine.address) or ""
        network = next((nic["network"] for nic in machine.nics), None) if machine else None
        if address:
            self._tell(f"\t{(network or 'public').title()} ip: {address}")
        if self._brief:
            click.echo(f"{vm_id}, {address}")

    def wait(self, cloud: "Cloud", end: float) -> int:
        """Wait for each of them."""
        from stratuslab_libcloud.cli.waiting import until_running, until_ssh_answers

        with output.Progress(bool(self._given.quiet)) as progress:

            def wait_for(vm_id: str) -> None:
                machine = self.machines[vm_id] = until_running(cloud, vm_id, end, progress)
                if machine.address:
                    port = cloud.settings.options.ssh_port
                    until_ssh_answers(vm_id, machine.address, port, end, progress)

            def told(_vm_id: str, reason: str) -> None:
                progress.clear()
                output.error(reason)

            return output.each(list(self.machines), wait_for, told)

    def end(self, status: int) -> None:
        """Say that this was all."""
        if not status:
            self._tell(" :: Done!")
        if self._given.json:
            output.as_json(
                [
                    output.shape(machine) if machine else {"id": vm_id}
                    for vm_id, machine in self.machines.items()
                ]
            )

    def _tell(self, line: str) -> None:
        if self._tells:
            click.echo(line)


def list_types_of(given: Given) -> None:
    from stratuslab_libcloud import connect

    settings = connect(given.config, given.section or None, options=given.options).settings
    chosen = _instance_type(settings).name
    kinds = sorted(settings.instance_types, key=lambda kind: kind.name)
    if given.json:
        output.as_json(
            [
                {"name": kind.name, "cpus": kind.cpus, "ram": kind.ram, "swap": kind.swap}
                for kind in kinds
            ]
        )
        return
    click.echo(f" {'Type':10}{'CPU':>10}{'RAM':>10}{'SWAP':>10}")
    for kind in kinds:
        flag = "*" if kind.name == chosen else " "
        numbers = f"{kind.cpus} CPU", f"{kind.ram} MB", f"{kind.swap} MB"
        click.echo(" ".join([flag, f"{kind.name:10}", *(f"{text:>10}" for text in numbers)]))
    click.echo()
