"""Commands about machines that there are: list them, end them (config-and-cli 3.7, 3.8)."""

import ipaddress
import socket
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stratuslab_libcloud import errors
from stratuslab_libcloud.cli import output
from stratuslab_libcloud.cli.completion import machine_ids
from stratuslab_libcloud.cli.options import (
    ENDPOINT,
    JSON,
    LOGIN,
    PAT,
    Command,
    Given,
    command,
    pass_given,
)
from stratuslab_libcloud.untrusted.text import one_line, printable

if TYPE_CHECKING:
    from stratuslab_libcloud import Cloud, Machine

__all__ = ["describe_instance", "kill_instance", "shutdown_instance"]

_COLUMNS = (("id", 4), ("state", 10), ("vcpu", 5), ("memory", 10), ("cpu%", 5), ("host/ip", 24))
_COLOURS = {"Running": "green", "Failed": "red", "Failure": "red", "Unknown": "red"}


@command(
    "stratus-describe-instance",
    ENDPOINT,
    LOGIN,
    PAT,
    JSON,
    examples=("stratus-describe-instance", "stratus-describe-instance -n 5507 5508"),
)
@click.option("-n", "numeric", is_flag=True, help="Show addresses, not the names of hosts.")
@click.option("-m", "sites", is_flag=True, help="List the sites that the file's `endpoints` names.")
@click.argument("ids", metavar="[VM-ID]...", nargs=-1, shell_complete=machine_ids)
@pass_given
def describe_instance(given: Given, numeric: bool, sites: bool, ids: tuple[str, ...]) -> int:
    """
    Show your machines, or those with these ids: state, processors, memory in KiB, and where they
    are.

    With -v the cloud's words about a failure follow; with -vvv and one id all that it says.
    """
    cloud = given.cloud("marketplace" if sites else "compute")
    if sites and not ids and cloud.settings.options.endpoints:
        return _describe_sites(given, cloud, numeric)
    machines: list[Machine] = []
    if not ids:
        machines = cloud.machines()
    status = output.each(ids, lambda vm_id: machines.append(cloud.machine(vm_id)))
    if given.json:
        output.as_json([output.shape(machine) for machine in machines])
    elif given.verbose > 2 and len(ids) == 1:
        for machine in machines:
            _show_attributes(machine, cloud.machine_attributes(machine.id))
    elif machines or not ids:
        _show_table(machines, numeric, bool(given.verbose))
    return status


def _describe_sites(given: Given, cloud: "Cloud", numeric: bool) -> int:
    """The machines of each line of ``endpoints``: endpoint, user name, password."""
    from stratuslab_libcloud import connect
    from stratuslab_libcloud.configuration.endpoints import without_login

    timeout = cloud.settings.options.endpoint_timeout
    status, shapes = 0, []
    for number, line in enumerate(filter(None, cloud.settings.options.endpoints.split("\n")), 1):
        fields = line.split()
        if len(fields) != 3:
            output.error(f"line {number} of endpoints is not an endpoint, a user and a password")
            status = 1
            continue
        login = dict(zip(("endpoint", "username", "password"), fields, strict=True))
        try:
            site = connect(given.config, given.section or None, options=login)
            machines = site.machines(timeout)
        except errors.StratusLabError as error:
            output.error(str(error))
            status = 1
            continue
        if given.json:
            where = {"endpoint": site.settings.endpoint, "username": fields[1]}
            shapes += [{**where, **output.shape(machine)} for machine in machines]
        else:
            click.echo(printable(f"::: {without_login(fields[0])} : {fields[1]} :::"))
            _show_table(machines, numeric, bool(given.verbose))
    if given.json:
        output.as_json(shapes)
    return status


def _show_table(machines: Sequence["Machine"], numeric: bool, verbose: bool) -> None:
    hosts = {} if numeric else _names({machine.address or "" for machine in machines})
    rows = [
        [
            machine.id,
            machine.summary,
            _shown(machine.cpus),
            _shown(machine.memory_kib),
            _shown(machine.cpu_percent),
            hosts.get(machine.address or "", machine.address or ""),
        ]
        for machine in machines
    ]
    widths = []
    for place, (_, least) in enumerate(_COLUMNS):
        longest = max((len(row[place]) for row in rows), default=0)
        widths.append(longest + 1 if longest >= least else least)
    click.echo(_line([head for head, _ in _COLUMNS], widths) + "name")
    for machine, row in zip(machines, rows, strict=True):
        line = _line(row, widths)
        state = line[widths[0] : widths[0] + widths[1]]
        coloured = output.paint(state, _COLOURS.get(machine.summary, "yellow"))
        click.echo(
            line[: widths[0]] + coloured + line[widths[0] + widths[1] :] + printable(machine.name)
        )
        if verbose and machine.error:
            click.echo(" " * widths[0] + one_line(machine.error))


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "".join(printable(cell).ljust(width) for cell, width in zip(cells, widths, strict=True))


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.10g}"


def _names(addresses: set[str]) -> dict[str, str]:
    """What the addresses are called, where that is known; they are asked for at the same time."""
    from stratuslab_libcloud.parallel import ask_all

    known: dict[str, str]
    known, _unknown = ask_all(
        {
            address: partial(_name_of, address)
            for address in addresses
            if address and not _is_of_this_host(address)
        }
    )
    return known


def _name_of(address: str) -> str:
    return socket.gethostbyaddr(address)[0]


def _is_of_this_host(address: str) -> bool:
    """As a sandbox's are, which are all called localhost, or nothing."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return True  # nothing to ask anybody about


def _show_attributes(machine: "Machine", attributes: Sequence[tuple[str, str]]) -> None:
    click.echo("-" * 25)
    click.echo(f"{machine.id} (all attributes)")
    for name, value in sorted([*attributes, ("state_summary", machine.summary)]):
        click.echo(printable(f"  {name} = {value}"))


# -- the end ------------------------------------------------------------------------------------


def _ending_command(name: str, word: str, text: str) -> Command:
    """A command that ends machines; ``word`` is the request's."""

    @command(name, ENDPOINT, LOGIN, examples=(f"{name} 5507", f"{name} -i ids.txt"))
    @click.option(
        "-i",
        "--input",
        "file",
        metavar="FILE",
        type=click.Path(path_type=Path),
        help="A file with ids, one a line, as -o of stratus-run-instance writes them.",
    )
    @click.argument("ids", metavar="[VM-ID]...", nargs=-1, shell_complete=machine_ids)
    @pass_given
    def end(given: Given, file: Path | None, ids: tuple[str, ...]) -> int:
        wanted = file.read_text().split() if file else ids
        if not wanted:
            raise click.UsageError("Missing vm-id or input file (-i/--input)")
        cloud = given.cloud()
        act: Any = cloud.kill_machine if word == "Kill" else cloud.shut_down_machine
        done = []

        def send(vm_id: str) -> None:
            given.say(f'Sending "{word}" request for instance {vm_id}.')
            act(vm_id)
            done.append(vm_id)

        status = output.each(wanted, send)
        given.say(f'"{word}" {len(done)} VM{"" if len(done) == 1 else "s"}: {", ".join(done)}')
        return status

    end.help = text
    return end


kill_instance = _ending_command(
    "stratus-kill-instance",
    "Kill",
    "End machines at once. Nothing but persistent disks is kept.",
)
shutdown_instance = _ending_command(
    "stratus-shutdown-instance",
    "Shutdown",
    "Ask running machines to shut down, which then end by themselves.",
)
