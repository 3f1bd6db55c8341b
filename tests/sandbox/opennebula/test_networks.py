"""Networks, their addresses, and the network cards of machines (opennebula-modern 3, 6)."""

import ipaddress

import pytest
from engine_callers import One

from stratuslab_libcloud.sandbox.site import Sandbox

KINDS = {
    "IP4": {"IP"},
    "ETHER": set(),
    "IP6": {"IP6_GLOBAL", "IP6_ULA", "IP6_LINK"},
    "IP4_6": {"IP", "IP6_GLOBAL", "IP6_ULA", "IP6_LINK"},
    "IP6_STATIC": {"IP6"},
    "IP4_6_STATIC": {"IP", "IP6"},
}
ADDRESSES = ("IP", "IP6", "IP6_GLOBAL", "IP6_ULA", "IP6_LINK")
LEASE = "Cannot get IP/MAC lease from virtual network {}."


@pytest.fixture(scope="module")
def networks(both: Sandbox) -> dict[str, int]:
    return {kind: both.opennebula.add_network(kind.lower(), kind) for kind in KINDS}


@pytest.fixture
def her(both: Sandbox, networks: dict[str, int]) -> One:
    return One(both, "alice:pw-a")


def nic(number: int, *more: str) -> str:
    return f"NIC=[{','.join((f'NETWORK_ID={number}', *more))}]"


@pytest.mark.parametrize("kind", KINDS)
def test_the_addresses_of_a_machine(her: One, networks: dict[str, int], kind: str) -> None:
    """As soon as it is there, and in both listings."""
    number = her("vm.allocate", f"CPU=1\nMEMORY=64\n{nic(networks[kind])}", True)
    pools = [
        her.document(pool, -3, number, number, -1)[0]
        for pool in ("vmpool.info", "vmpool.infoextended")
    ]
    for machine in (her.vm(number), *pools):
        found = {tag: machine.findtext(f"TEMPLATE/NIC/{tag}") for tag in ADDRESSES}
        assert {tag for tag, text in found.items() if text} == KINDS[kind]
        for tag, text in found.items():
            if text:
                assert ipaddress.ip_address(text).version == (4 if tag == "IP" else 6)
        assert machine.findtext("TEMPLATE/NIC/NETWORK") == kind.lower()
        assert machine.findtext("TEMPLATE/NIC/MAC", "").startswith("02:00:")


@pytest.mark.parametrize("kind", KINDS)
def test_the_document_of_a_network(her: One, networks: dict[str, int], kind: str) -> None:
    number = networks[kind]
    before = int(her.document("vn.info", number).findtext("USED_LEASES", ""))
    vm = her.start(nic(number))
    network = her.document("vn.info", number)
    pool = her.document("vnpool.info", -2, -1, -1)
    (short,) = [one for one in pool if one.findtext("ID") == str(number)]
    for found in (network, short):
        assert found.findtext("USED_LEASES") == str(before + 1)
        assert found.findtext("AR_POOL/AR/TYPE") == kind
        assert (found.find("AR_POOL/AR/IP") is not None) == ("IP" in KINDS[kind])
        new = her("system.version") == "7.4.0"
        assert (found.find("AR_POOL/AR/SHARED") is not None) == new
    leases = network.findall("AR_POOL/AR/LEASES/LEASE")
    assert str(vm) in [one.findtext("VM") for one in leases]
    her("vm.action", "terminate", vm)
    assert her.document("vn.info", number).findtext("USED_LEASES") == str(before)
    assert her.vm(vm).find("TEMPLATE/NIC/MAC") is not None  # it stays in the document


def test_an_address_may_be_asked_for(her: One, networks: dict[str, int]) -> None:
    number = networks["IP4"]
    begin = her.document("vn.info", number).findtext("AR_POOL/AR/IP", "")
    wanted = str(ipaddress.ip_address(begin) + 500)
    vm = her.start(nic(number, f"IP={wanted}"))
    assert her.vm(vm).findtext("TEMPLATE/NIC/IP") == wanted
    text = "CPU=1\nMEMORY=64\n" + nic(number, f"IP={wanted}")
    assert her.refusal("vm.allocate", text) == (8192, LEASE.format(number))
    number = networks["IP6_STATIC"]  # which has none of IPv4
    text = "CPU=1\nMEMORY=64\n" + nic(number, f"IP={wanted}")
    assert her.refusal("vm.allocate", text) == (8192, LEASE.format(number))


def test_networks_by_name(her: One) -> None:
    vm = her.start('NIC=[NETWORK="ip4_6",NETWORK_UNAME="oneadmin"]')
    assert her.vm(vm).findtext("TEMPLATE/NIC/IP6_GLOBAL")
    uid = her.document("user.info", -1).findtext("ID")
    words = f"User {uid} does not own a network with name: ip4_6 . "
    words += "Set NETWORK_UNAME or NETWORK_UID of owner in NIC."
    text = 'CPU=1\nMEMORY=64\nNIC=[NETWORK="ip4_6"]'
    assert her.refusal("vm.allocate", text) == (8192, words)


def test_cards_without_a_network_or_with_any(her: One) -> None:
    machine = her.vm(her.start("NIC=[]", 'NIC=[NETWORK_MODE="auto"]'))
    bare, auto = machine.findall("TEMPLATE/NIC")
    assert (bare.find("IP"), bare.find("NETWORK")) == (None, None)
    assert (auto.findtext("NETWORK"), auto.find("IP") is not None) == ("public", True)


def test_a_further_address_is_an_alias_and_in_the_pool_a_card(
    her: One, networks: dict[str, int]
) -> None:
    alias = f'NIC_ALIAS=[NETWORK_ID={networks["IP6_STATIC"]},PARENT="NIC0"]'
    number = her.start(nic(0), alias)
    machine = her.vm(number)
    assert len(machine.findall("TEMPLATE/NIC")) == 1
    assert machine.findtext("TEMPLATE/NIC_ALIAS/NIC_ID") == "1"
    six = machine.findtext("TEMPLATE/NIC_ALIAS/IP6")
    (short,) = her.document("vmpool.info", -3, number, number, -1)
    assert [one.findtext("IP6") for one in short.iterfind("TEMPLATE/NIC")] == [None, six]


@pytest.mark.parametrize("state", ["RUNNING", "POWEROFF"])
def test_a_card_comes_and_goes(her: One, networks: dict[str, int], state: str) -> None:
    vm, number = her.start(nic(0)), networks["IP4_6"]
    if state == "POWEROFF":
        her("vm.action", "poweroff", vm)
    now, used = her.state(vm), her.document("vn.info", number).findtext("USED_LEASES")
    for _ in range(2):
        assert her("vm.attachnic", vm, nic(number)) == vm
        (_, added) = her.vm(vm).findall("TEMPLATE/NIC")
        assert (added.findtext("NIC_ID"), added.find("ATTACH")) == ("1", None)
        assert added.findtext("IP6_GLOBAL")
        assert her("vm.detachnic", vm, 1) == vm
        assert len(her.vm(vm).findall("TEMPLATE/NIC")) == 1
    assert her.state(vm) == now
    assert her.document("vn.info", number).findtext("USED_LEASES") == used


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("NIC=[NETWORK_ID=99]", 2048, "Virtual network with ID: 99 does not exist"),
        ("NIC=[NETWORK_ID=0,IP=10.0.0.1]", 2048, LEASE.format(0)),
        ("X=1", 2048, "Internal error parsing NIC attribute"),
        ("NIC=[", 8192, "Parse error: syntax error, unexpected $end, "),
        ("NIC=[NETWORK_ID=0,MAC=x]", 512, "User ["),
    ],
    ids=["unknown", "taken", "none", "no template", "restricted"],
)
def test_what_is_no_card(her: One, text: str, code: int, words: str) -> None:
    vm = her.start()
    used = her.document("vn.info", 0).findtext("USED_LEASES")
    assert her.refusal("vm.attachnic", vm, text)[0] == code
    assert her.refusal("vm.attachnic", vm, text)[1].startswith(words)
    assert her.document("vn.info", 0).findtext("USED_LEASES") == used
    assert her.refusal("vm.detachnic", vm, 7)[0] == 2048


def test_what_is_no_kind_of_network(both: Sandbox) -> None:
    with pytest.raises(ValueError, match="IP4, ETHER, IP6"):
        both.opennebula.add_network("x", "IPX")


def test_where_things_are(her: One) -> None:
    """Datastores, of which none is the default; and what users do not see at all."""
    pool = her.document("datastorepool.info")
    kinds = {one.findtext("ID"): one.findtext("TEMPLATE/TYPE") for one in pool}
    assert kinds == {"0": "SYSTEM_DS", "1": "IMAGE_DS", "2": "FILE_DS"}
    image = her.volume("where")
    store = her.document("datastore.info", 1)
    assert (store.findtext("TYPE"), store.findtext("STATE")) == ("0", "0")
    assert str(image) in [one.text for one in store.iterfind("IMAGES/ID")]
    assert her.refusal("datastore.info", 9) == (1024, "Error getting datastore [9].")
    for pool_name, tag in (("hostpool", "HOST_POOL"), ("clusterpool", "CLUSTER_POOL")):
        assert her(f"{pool_name}.info") == f"<{tag}></{tag}>"
    for what in ("host", "cluster"):
        words = her.refusal(f"{what}.info", 0)
        assert (words[0], words[1].split(" : ")[1]) == (
            512,
            f"Not authorized to perform USE {what.upper()} [0].",
        )
    for method, what in (("vn.allocate", "NET"), ("datastore.allocate", "DATASTORE")):
        code, said = her.refusal(method, "NAME=x", 0)
        assert (code, f"CREATE {what}" in said) == (512, True)
    new = her("system.version") == "7.4.0"
    zone = her.document("zonepool.info")[0]
    assert zone.findtext("TEMPLATE/ENDPOINT")
    assert (zone.find("TEMPLATE/ENDPOINT_GRPC") is not None) == new
    assert [one.findtext("NAME") for one in her.document("grouppool.info").iterfind("GROUP")] == [
        "users"
    ]
