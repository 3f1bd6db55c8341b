"""The networks, and the addresses that machines lease from them (modern 3, 6)."""

import socket
from collections.abc import Iterable
from ipaddress import IPv4Address

from stratuslab_libcloud.sandbox import addresses
from stratuslab_libcloud.sandbox.opennebula.records import Book, Machine, Network
from stratuslab_libcloud.sandbox.opennebula.refusals import INTERNAL, RefusedError
from stratuslab_libcloud.sandbox.opennebula.rights import obtain
from stratuslab_libcloud.sandbox.opennebula.templates import whole
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Vector

__all__ = ["KINDS", "add_network", "addresses_of", "lease", "release", "release_one"]

KINDS = ("IP4", "ETHER", "IP6", "IP4_6", "IP6_STATIC", "IP4_6_STATIC")
_PUBLIC = "110000100"
_SIZE = 1000  # addresses of one network


def add_network(book: Book, name: str, kind: str = "IP4") -> Network:
    """Add a network, whose addresses no other has."""
    if kind not in KINDS:
        raise ValueError(f"there are no networks {kind}, but {', '.join(KINDS)}")
    number = len(book.all(Network))
    first = IPv4Address(addresses.spare_block(book.db)) + 10 + number * _SIZE
    network = Network(name=name, permissions=_PUBLIC, type=kind, first=str(first), size=_SIZE)
    book.add(network)
    return network


def lease(book: Book, account: Account, machine: Machine, nics: list[Vector]) -> None:
    """
    Lease the addresses that NICs ask for, or the next free ones.

    :raises RefusedError: a network or an address is not available.
    """
    others = [nic for nic in machine.nics if all(nic is not one for one in nics)]
    used = {int(nic["NIC_ID"]) for nic in others}
    for number, nic in enumerate(nics, max(used, default=-1) + 1):
        nic["NIC_ID"] = str(number)
        if nic.get("NETWORK_MODE", "").lower() == "auto" and "NETWORK" not in nic:
            nic["NETWORK_ID"] = str(min(network.id for network in book.all(Network)))
        network = _network(book, account, nic)
        if network is None:
            continue
        address = _free(book, network, nic.get("IP"))
        if address is None:
            text = f"Cannot get IP/MAC lease from virtual network {network.id}."
            raise RefusedError(text, INTERNAL)
        network.leases[address] = machine.id
        network.last = network.last if "IP" in nic else address
        book.put(network)
        nic |= {
            "AR_ID": "0",
            "BRIDGE": f"br{network.id}",
            "NETWORK": network.name,
            "NETWORK_ID": str(network.id),
            "NETWORK_UNAME": network.uname,
            "SECURITY_GROUPS": "0",
            "TARGET": f"one-{machine.id}-{number}",
            **addresses_of(network, address),
        }


def addresses_of(network: Network, address: str) -> dict[str, str]:
    """
    Return the addresses that a network shows, by the names that the engine has for them.

    :param address: the one of IPv4 that they follow from.
    """
    shown = {"MAC": "02:00:" + socket.inet_aton(address).hex(":")}
    if network.type.startswith("IP4"):
        shown["IP"] = address
    end = f"{network.id:x}::{int(IPv4Address(address)) & 0xFFFF:x}"
    if network.type.endswith("_STATIC"):
        shown["IP6"] = f"2001:db8:{end}"
    elif "6" in network.type:
        shown |= {"IP6_GLOBAL": f"2001:db8:{end}", "IP6_ULA": f"fd00:db8:{end}"}
        shown["IP6_LINK"] = f"fe80::{int(IPv4Address(address)) & 0xFFFF:x}"
    return shown


def release(book: Book, machine: Machine) -> None:
    """Free a machine's addresses; its document keeps showing them."""
    for network in book.all(Network):
        _free_those(book, network, [one for one, vm in network.leases.items() if vm == machine.id])


def release_one(book: Book, nic: Vector) -> None:
    """Free the address of a network card."""
    network = book.find(Network, int(nic["NETWORK_ID"])) if nic.get("NETWORK_ID") else None
    if network:
        mac = nic["MAC"]
        _free_those(
            book,
            network,
            [one for one in network.leases if addresses_of(network, one)["MAC"] == mac],
        )


def _free_those(book: Book, network: Network, those: Iterable[str]) -> None:
    for address in those:
        del network.leases[address]
        book.put(network)


def _network(book: Book, account: Account, nic: Vector) -> Network | None:
    """Return the network that a NIC names; None if it names none."""
    if number := nic.get("NETWORK_ID"):
        found = whole(number)
        if found is None or book.find(Network, found) is None:
            raise RefusedError(f"Virtual network with ID: {number} does not exist", INTERNAL)
        return obtain(book, account, Network, found, "USE")
    name = nic.get("NETWORK")
    if not name:
        return None
    owner = nic.get("NETWORK_UNAME")
    uid = account.uid
    if owner is not None or "NETWORK_UID" in nic:
        if owner not in (None, "oneadmin") or nic.get("NETWORK_UID", "0") != "0":
            raise RefusedError("User set in NETWORK_UNAME does not exist", INTERNAL)
        uid = 0
    network = book.named(Network, uid, name)
    if network is None:
        text = f"User {uid} does not own a network with name: {name} . "
        text += "Set NETWORK_UNAME or NETWORK_UID of owner in NIC."
        raise RefusedError(text, INTERNAL)
    return network


def _free(book: Book, network: Network, wanted: str | None) -> str | None:
    """Return a free address: not one of the last, since SSH clients remember host keys."""
    hosts = [str(IPv4Address(network.first) + number) for number in range(network.size)]
    if wanted and not network.type.startswith("IP4"):
        return None
    begin = hosts.index(network.last) + 1 if network.last in hosts else 0
    for address in hosts[begin:] + hosts[:begin]:
        if address in network.leases or wanted not in (None, "", address):
            continue
        if not addresses.is_served(address, addresses.ssh_port(book.db)):
            return address
    return None
