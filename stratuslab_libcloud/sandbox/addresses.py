"""The addresses of machines: three adjacent networks in 127.0.0.0/8 (opennebula-engines 4)."""

import contextlib
import functools
import ipaddress
import os
import secrets
import socket
import sqlite3
from collections.abc import Iterable

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.store import Settings, Store
from stratuslab_libcloud.sandbox.template import TemplateError, Vector

__all__ = [
    "SSH_PORTS",
    "cannot_listen",
    "choose_ssh_port",
    "is_served",
    "lease",
    "reserve",
    "spare_block",
    "ssh_port",
]

_NETWORKS = {"public": 0, "local": 1, "private": 2}  # their order after the base address
_OWNER = "oneadmin"  # of the networks
_NETWORK_SIZE = 1 << 12
_BASES = [f"127.{second}.{third}.0" for second in range(1, 255) for third in (0, 64, 128, 192)]
_MAX_NICS = 16
_NO_LEASE = "Could not get virtual network for VM."
_LOCK_PORT = 28445
SSH_PORTS = (22, *range(2222, 2232))


def reserve(store: Store) -> contextlib.AbstractContextManager[object]:
    """
    Choose a new site's base address, so that sandboxes side by side do not clash.

    :return: a context manager that keeps other new sites from this base until its end.
    """
    with store.transaction() as db:
        settings = Settings(db)
        known = settings.get("addresses")
        # A site keeps its base. So two sites may share one, if they were new at different times.
        first = secrets.randbelow(len(_BASES))
        bases = [known] if known else [*_BASES[first:], *_BASES[:first]]
        base, lock = bases[0], None
        for candidate in bases:
            if lock := _locked(candidate):
                base = candidate
                break
        settings.set("addresses", base)
    return lock or contextlib.nullcontext()


def choose_ssh_port(store: Store) -> tuple[int, str | None]:
    """
    Choose the port on which the machines' SSH servers can be reached: 22 if possible.

    A previous choice is kept, since machines that live on use it.

    :return: the port, and the reason if it is not 22.
    :raises SandboxError: no port can be used.
    """
    first = SSH_PORTS[0]
    with store.transaction() as db:
        settings = Settings(db)
        # Not a machine's address, so that machines which live on do not interfere.
        probe = str(_first(_base(settings), len(_NETWORKS)) + 1)
        why = "as it was before"
        for port in (_ssh_port(settings), *SSH_PORTS):
            reason = cannot_listen(probe, port)
            if reason is None:
                settings.set("ssh_port", str(port))
                return port, None if port == first else why
            if port == first:
                why = f"port {port} failed ({reason})"
    raise SandboxError(f"no port for SSH is available on {probe}: {reason}")


def cannot_listen(address: str, port: int) -> str | None:
    """Return why it is impossible to listen there, found out by trying; None if it is possible."""
    try:
        socket.create_server((address, port)).close()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return None


def spare_block(db: sqlite3.Connection) -> ipaddress.IPv4Address:
    """Return the first of the site's addresses after its three networks; the second is taken."""
    return _first(_base(Settings(db)), len(_NETWORKS))


def ssh_port(db: sqlite3.Connection) -> int:
    """Return the port on which the machines' SSH servers can be reached."""
    return _ssh_port(Settings(db))


def _locked(base: str) -> socket.socket | None:
    """Bind a socket to an address of this base that no machine gets; None if it is taken."""
    lock = socket.socket(type=socket.SOCK_DGRAM)
    try:
        lock.bind((str(_first(base, len(_NETWORKS)) + 1), _LOCK_PORT))
    except OSError:  # taken; or (not on Linux) this machine has no such address, and none is free
        lock.close()
        return None
    return lock


def _base(settings: Settings) -> str:
    """Return the site's base address, which :func:`reserve` has chosen."""
    return settings.get("addresses") or _BASES[0]


def _ssh_port(settings: Settings) -> int:
    return int(settings.get("ssh_port") or SSH_PORTS[0])


def _first(base: str, network: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(base) + network * _NETWORK_SIZE


def lease(db: sqlite3.Connection, vm_id: int, nics: list[Vector]) -> None:
    """
    Lease the addresses that a machine's NICs ask for, or the next free ones.

    An address is not reused soon, not even after a restart, since SSH clients remember its host
    key. OpenNebula 7.4 does the same; 3.2 took the lowest free address.

    A NIC that names no network is left as it is.

    :raises TemplateError: a network or an address is not available, or there are too many NICs.
    """
    settings = Settings(db)
    base, ssh_port = _base(settings), _ssh_port(settings)
    taken = {address for (address,) in db.execute("SELECT address FROM addresses")}
    if len(nics) > _MAX_NICS:
        raise TemplateError(_NO_LEASE)
    for nic in nics:
        if not nic.keys() & {"NETWORK", "NETWORK_ID"}:
            continue
        network = _network(nic)
        address = None
        if network in _NETWORKS:
            last = settings.get(f"last {network} address") or ""
            hosts = _following(_hosts(_first(base, _NETWORKS[network]), _NETWORK_SIZE), last)
            address = _free_address(hosts, taken, nic.get("IP"), ssh_port)
        if address is None:
            raise TemplateError(_NO_LEASE)
        if (
            "IP" not in nic or hosts.index(address) < len(hosts) // 2
        ):  # a recent address does not set it back
            settings.set(f"last {network} address", address)
        taken.add(address)
        db.execute("INSERT INTO addresses VALUES (?, ?, ?)", (address, network, vm_id))
        nic["NETWORK"] = network
        nic["IP"] = address
        nic["MAC"] = "02:00:" + socket.inet_aton(address).hex(":")
        nic["BRIDGE"] = f"br{_NETWORKS[network]}"
        nic["NETWORK_ID"] = str(_NETWORKS[network])
        nic["VLAN"] = "NO"


def _network(nic: Vector) -> str:
    """Return the network that a NIC names, by name and owner or by id; "" for none."""
    if "NETWORK" in nic:
        return nic["NETWORK"] if nic.get("NETWORK_UNAME") == _OWNER else ""
    numbers = {str(number): name for name, number in _NETWORKS.items()}
    return numbers.get(nic["NETWORK_ID"], "")


@functools.lru_cache(maxsize=8)  # of the last sites; made anew, they take milliseconds each time
def _hosts(first: ipaddress.IPv4Address, size: int) -> tuple[str, ...]:
    """Return a network's addresses, without .0 and .255, which some programs reject."""
    prefixes = (str(first + block).removesuffix(".0") for block in range(0, size, 256))
    return tuple(f"{prefix}.{number}" for prefix in prefixes for number in range(1, 255))


def _following(hosts: tuple[str, ...], last: str) -> tuple[str, ...]:
    """Return them from the one that follows the last that was leased."""
    begin = hosts.index(last) + 1 if last in hosts else 0
    return hosts[begin:] + hosts[:begin]


def _free_address(
    hosts: Iterable[str], taken: set[str], wanted: str | None, ssh_port: int
) -> str | None:
    for address in hosts:
        if address in taken or wanted not in (None, address):
            continue
        if not is_served(address, ssh_port):
            return address
    return None


def is_served(address: str, port: int) -> bool:
    """Return whether somebody else's server answers at this very address."""
    everywhere = "127.255.255.254"  # answers only where a server listens on all addresses
    return _answers(address, port) and not _answers(everywhere, port)


def _answers(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) == 0
