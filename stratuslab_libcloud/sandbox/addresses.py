"""
The addresses of machines: three networks, side by side in 127.0.0.0/8 (opennebula-engines 4).
"""

import contextlib
import ipaddress
import secrets
import socket
import sqlite3

from stratuslab_libcloud.sandbox.store import Store
from stratuslab_libcloud.sandbox.template import TemplateError, Vector

__all__ = ["lease", "reserve"]

NETWORKS = {"public": 0, "local": 1, "private": 2}  # which of a base's networks
NETWORK_SIZE = 1 << 12
BASES = [f"127.{second}.{third}.0" for second in range(1, 255) for third in (0, 64, 128, 192)]
MAX_NICS = 16
LOCK_PORT = 28445


def reserve(store: Store) -> contextlib.AbstractContextManager[object]:
    """
    Choose a new site's base address, so that sandboxes side by side do not meet.

    :return: what keeps other new sites from this base until it is left.
    """
    with store.transaction() as db:
        query = "SELECT value FROM settings WHERE name = 'addresses'"
        known = db.execute(query).fetchone()
        # A site that has its base keeps it: rarely, two that were new at different times share one.
        bases = [*known] if known else secrets.SystemRandom().sample(BASES, len(BASES))
        base, lock = bases[0], None
        for candidate in bases:
            if lock := _lock(candidate):
                base = candidate
                break
        db.execute("INSERT OR IGNORE INTO settings VALUES ('addresses', ?)", (base,))
    return lock or contextlib.nullcontext()


def _lock(base: str) -> socket.socket | None:
    """A socket on an address of this base that no machine gets; the system closes it for us."""
    lock = socket.socket(type=socket.SOCK_DGRAM)
    try:
        lock.bind((str(_first(base, len(NETWORKS)) + 1), LOCK_PORT))
    except OSError:  # taken; or (not on Linux) this machine has no such address, and none is free
        lock.close()
        return None
    return lock


def _first(base: str, network: int) -> ipaddress.IPv4Address:
    return ipaddress.IPv4Address(base) + network * NETWORK_SIZE


def lease(db: sqlite3.Connection, vm_id: int, nics: list[Vector]) -> None:
    """
    Take the addresses that a machine's NICs ask for, or the lowest free ones.

    :raises TemplateError: there is no such network or address, or there are too many NICs.
    """
    (base,) = db.execute("SELECT value FROM settings WHERE name = 'addresses'").fetchone()
    taken = {address for (address,) in db.execute("SELECT address FROM addresses")}
    for nic in nics:
        network = nic.get("NETWORK", "")
        address = None
        if len(nics) <= MAX_NICS and network in NETWORKS and nic.get("NETWORK_UNAME") == "oneadmin":
            address = _free_address(_first(base, NETWORKS[network]), taken, nic.get("IP"))
        if address is None:
            raise TemplateError("Could not get virtual network for VM.")
        taken.add(str(address))
        db.execute("INSERT INTO addresses VALUES (?, ?, ?)", (str(address), network, vm_id))
        nic["IP"] = str(address)
        nic["MAC"] = "02:00:" + address.packed.hex(":")
        nic["BRIDGE"] = f"br{NETWORKS[network]}"
        nic["NETWORK_ID"] = str(NETWORKS[network])
        nic["VLAN"] = "NO"


def _free_address(
    first: ipaddress.IPv4Address, taken: set[str], wanted: str | None
) -> ipaddress.IPv4Address | None:
    for number in range(NETWORK_SIZE):
        address = first + number
        # .0 and .255 look like no host's address to some programs.
        if number % 256 in (0, 255) or str(address) in taken or wanted not in (None, str(address)):
            continue
        if not _is_served(str(address)):
            return address
    return None


def _is_served(address: str) -> bool:
    """Whether something of another's answers on the SSH port of this very address."""
    everywhere = "127.255.255.254"  # answers only where a server listens on all addresses
    return _answers(address) and not _answers(everywhere)


def _answers(address: str) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, 22)) == 0
