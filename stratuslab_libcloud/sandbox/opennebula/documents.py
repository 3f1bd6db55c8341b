"""
The documents of a modern engine (modern 4, 5, 6), written with lxml as the engine writes them with
libxml2.
"""

import base64
import hashlib
import secrets
from collections.abc import Iterable, Mapping

from lxml import etree

from stratuslab_libcloud.sandbox.machines import HOST
from stratuslab_libcloud.sandbox.opennebula.networks import addresses_of
from stratuslab_libcloud.sandbox.opennebula.records import (
    Image,
    Item,
    Machine,
    Network,
    User,
    VmTemplate,
)
from stratuslab_libcloud.sandbox.template import Template, Vector

__all__ = [
    "image_document",
    "machine_document",
    "network_document",
    "template_document",
    "user_document",
    "xml_of",
]

Value = str | int | float | Mapping[str, "Value"] | Iterable[Mapping[str, "Value"]]

_KEY = secrets.token_bytes()
_DATASTORES = {0: "system", 1: "default", 2: "files"}
_POOL_DISK = (
    *("CLONE", "CLONE_TARGET", "DATASTORE", "DATASTORE_ID", "DISK_ID", "DISK_SNAPSHOT_TOTAL_SIZE"),
    *("DISK_TYPE", "IMAGE", "IMAGE_ID", "LN_TARGET", "SIZE", "TM_MAD_SYSTEM", "TYPE"),
)
_POOL_NIC = (
    *("IP", "IP6", "IP6_GLOBAL", "IP6_LINK", "IP6_ULA", "MAC", "NETWORK", "NETWORK_ID", "NIC_ID"),
    "SECURITY_GROUPS",
)
_POOL_USER = ("ERROR", "LABELS", "SCHED_DS_REQUIREMENTS", "SCHED_MESSAGE", "SCHED_REQUIREMENTS")
_POOL = {"DISK": _POOL_DISK, "NIC": _POOL_NIC}


def xml_of(tag: str, values: Mapping[str, Value]) -> str:
    """Write a document: mappings become elements, and lists repeated ones."""
    return etree.tostring(_element(tag, values), encoding="unicode")


def _element(tag: str, values: Mapping[str, Value]) -> etree._Element:
    root = etree.Element(tag)
    for name, value in values.items():
        if isinstance(value, Mapping):
            root.append(_element(name, value))
        elif isinstance(value, str | int | float):
            etree.SubElement(root, name).text = str(value)
        else:
            root.extend(_element(name, one) for one in value)
    return root


def _whose(item: Item) -> dict[str, Value]:
    whose: dict[str, Value] = {"ID": item.id, "UID": item.uid, "GID": item.gid}
    return whose | {"UNAME": item.uname, "GNAME": item.gname, "NAME": item.name}


def _lock(item: Item) -> dict[str, Value]:
    if not item.locked:
        return {}
    return {"LOCK": {"LOCKED": 1, "OWNER": item.uid, "TIME": item.locked, "REQ_ID": 1}}


def _permissions(item: Item) -> dict[str, Value]:
    names = [f"{who}_{right}" for who in ("OWNER", "GROUP", "OTHER") for right in "UMA"]
    return {"PERMISSIONS": dict(zip(names, item.permissions, strict=True))}


def _ids(numbers: Iterable[int]) -> etree._Element:
    holder = etree.Element("IDS")
    for number in numbers:
        etree.SubElement(holder, "ID").text = str(number)
    return holder


def _with_ids(root: etree._Element, **lists: Iterable[int]) -> None:
    for name, numbers in lists.items():
        found = root.find(name)
        if found is not None:
            found.extend(list(_ids(numbers)))


def _snapshots(disk_id: int | None, snapshots: list[dict[str, str]], following: int) -> Value:
    active = next((int(one["ID"]) for one in snapshots if one.get("ACTIVE")), -1)
    values: dict[str, Value] = {"ALLOW_ORPHANS": "NO", "CURRENT_BASE": active}
    if disk_id is not None:
        values["DISK_ID"] = disk_id
    values["NEXT_SNAPSHOT"] = following
    return values | {"SNAPSHOT": [dict(sorted(one.items())) for one in snapshots]}


def image_document(image: Image, new: bool) -> str:
    """Write an image, for itself and in the pool."""
    values = {
        **_whose(image),
        **_lock(image),
        **_permissions(image),
        "TYPE": image.type,
        "DISK_TYPE": 0,
        "PERSISTENT": int(image.persistent),
        "REGTIME": image.born,
        **({"MODTIME": image.changed or image.born} if new else {}),
        "SOURCE": f"/var/lib/one/datastores/1/{image.source.rpartition('/')[2]}"
        if image.source
        else "",
        "PATH": "",
        "FORMAT": image.format,
        "FS": "",
        "SIZE": image.size,
        "STATE": image.state,
        "PREV_STATE": image.prev_state,
        "RUNNING_VMS": len(image.vms),
        "CLONING_OPS": image.cloning,
        "CLONING_ID": image.cloning_id,
        "TARGET_SNAPSHOT": -1,
        "DATASTORE_ID": image.datastore,
        "DATASTORE": _DATASTORES[image.datastore],
        "VMS": {},
        "CLONES": {},
        "APP_CLONES": {},
        "TEMPLATE": dict(sorted(image.template.items())),
        "SNAPSHOTS": _snapshots(None, image.snapshots, image.next_snapshot),
        "BACKUP_INCREMENTS": {},
        "BACKUP_DISK_IDS": {},
    }
    root = _element("IMAGE", values)
    _with_ids(root, VMS=image.vms)
    return etree.tostring(root, encoding="unicode")


def machine_document(machine: Machine, new: bool, *, full: bool) -> str:
    """
    Write a machine.

    :param new: as 7.4 does.
    :param full: as ``info`` and ``infoextended`` do, not as the plain pool does.
    """
    values: dict[str, Value] = {
        **_whose(machine),
        **(_permissions(machine) if full else {}),
        **_lock(machine),
        "LAST_POLL": 0,
        "STATE": machine.state,
        "LCM_STATE": machine.lcm,
        "PREV_STATE": machine.prev_state,
        "PREV_LCM_STATE": machine.prev_lcm,
        "RESCHED": 0,
        "STIME": machine.born,
        "ETIME": machine.ended,
        "DEPLOY_ID": f"one-{machine.id}" if machine.history else "",
        "MONITORING": {},
    }
    if not full:
        del values["PREV_STATE"], values["PREV_LCM_STATE"]
    root = _element("VM", values)
    template = Template(_concealed(machine.template) if full else _pooled(machine.template))
    root.append(template.element())
    user = [
        (name, value)
        for name, value in machine.user_template.attributes
        if full or name in _POOL_USER
    ]
    user_template = Template(user).element()
    user_template.tag = "USER_TEMPLATE"
    root.append(user_template)
    records = etree.SubElement(root, "HISTORY_RECORDS")
    for record in machine.history if full else machine.history[-1:]:
        records.append(_element("HISTORY", _history(machine.id, record, new, full)))
    if full:
        for disk_id, snapshots in machine.disk_snapshots.items():
            if not snapshots:
                continue
            following = machine.next_disk_snapshots.get(disk_id, 0)
            shown = _snapshots(int(disk_id), snapshots, following)
            assert isinstance(shown, Mapping)  # noqa: S101 - for mypy
            root.append(_element("SNAPSHOTS", shown))
        root.append(_element("BACKUPS", {"BACKUP_CONFIG": {}, "BACKUP_IDS": {}}))
    return etree.tostring(root, encoding="unicode")


def _concealed(template: Template) -> list[tuple[str, str | Vector]]:
    """Return a template whose password nobody can read, as the engine encrypts it (modern 6)."""
    shown: list[tuple[str, str | Vector]] = []
    for name, value in template.attributes:
        if name == "CONTEXT" and isinstance(value, dict) and "PASSWORD" in value:
            digest = hashlib.blake2b(value["PASSWORD"].encode(), key=_KEY).digest()
            value = {**value, "PASSWORD": base64.b64encode(digest).decode()}
        shown.append((name, value))
    return shown


def _pooled(template: Template) -> list[tuple[str, str | Vector]]:
    """Return what the plain pool shows of a template."""
    kept: list[tuple[str, str | Vector]] = []
    for name in ("CPU", "MEMORY", "VCPU"):
        kept.append((name, template.text(name)))
    for name in ("DISK", "NIC", "NIC_ALIAS"):
        keys = _POOL.get(name, _POOL_NIC)
        shown = "NIC" if name == "NIC_ALIAS" else name
        for vector in template.vectors(name):
            some = {key: vector[key] for key in keys if key in vector}
            if name == "DISK":  # of a disk without an image they are empty
                some = {"CLONE": "", "IMAGE": "", "IMAGE_ID": "", **some}
            kept.append((shown, some))
    kept += [("GRAPHICS", vector) for vector in template.vectors("GRAPHICS")]
    return kept


def _history(vm_id: int, record: dict[str, int], new: bool, full: bool) -> dict[str, Value]:
    values: dict[str, Value] = {
        "OID": vm_id,
        "SEQ": record["SEQ"],
        "HOSTNAME": HOST,
        "HID": 0,
        "CID": 0,
        "STIME": record["STIME"],
        "ETIME": record["ETIME"],
        "VM_MAD": "kvm",
        "TM_MAD": "local",
        "DS_ID": 0,
    }
    if full:
        values |= {name: record.get(name, 0) for name in ("PSTIME", "PETIME", "RSTIME", "RETIME")}
        values |= {"ESTIME": record.get("ESTIME", 0), "EETIME": record.get("EETIME", 0)}
    values["ACTION"] = record.get("ACTION", 0)
    if full:
        values |= {"UID": -1, "GID": -1, "REQUEST_ID": -1}
        values |= {"PLAN_ID": -1, "ACTION_ID": -1} if new else {}
    return values


def template_document(template: VmTemplate) -> str:
    """Write a template."""
    head = {**_whose(template), **_lock(template), **_permissions(template)}
    root = _element("VMTEMPLATE", head | {"REGTIME": template.born})
    root.append(template.template.element())
    return etree.tostring(root, encoding="unicode")


def network_document(network: Network, last: str, new: bool, *, full: bool) -> str:
    """
    Write a network.

    :param last: its last address.
    :param new: as 7.4 does.
    :param full: with the leases, as ``info`` does.
    """
    leases: list[Mapping[str, Value]]
    leases = [
        {**addresses_of(network, address), "VM": vm} for address, vm in network.leases.items()
    ]
    ar: dict[str, Value] = {"AR_ID": 0, **addresses_of(network, network.first)}
    ar |= {"SIZE": network.size, "TYPE": network.type}
    ar |= {"NEXT_INDEX": len(leases), "SHARED": "NO"} if new else {}
    if full:
        ends = {f"{name}_END": text for name, text in addresses_of(network, last).items()}
        ar |= {**ends, "USED_LEASES": len(leases)}
        ar["LEASES"] = {"LEASE": leases}
    values = {
        **_whose(network),
        **_permissions(network),
        "CLUSTERS": {"ID": 0},
        "BRIDGE": f"br{network.id}",
        "BRIDGE_TYPE": "linux",
        "STATE": 1,
        "PREV_STATE": 1,
        "PARENT_NETWORK_ID": "",
        "VN_MAD": "bridge",
        "PHYDEV": "",
        "VLAN_ID": "",
        "OUTER_VLAN_ID": "",
        "VLAN_ID_AUTOMATIC": 0,
        "OUTER_VLAN_ID_AUTOMATIC": 0,
        "USED_LEASES": len(leases),
        "VROUTERS": {},
        "UPDATED_VMS": {},
        "OUTDATED_VMS": {},
        "UPDATING_VMS": {},
        "ERROR_VMS": {},
        "TEMPLATE": {
            "BRIDGE": f"br{network.id}",
            "NETWORK_MASK": "255.0.0.0",
            "SECURITY_GROUPS": "0",
            "VN_MAD": "bridge",
        },
        "AR_POOL": {"AR": ar},
    }
    return xml_of("VNET", values)


def user_document(
    account: User, quotas: Mapping[str, Value], default_quotas: Mapping[str, Value] | None = None
) -> str:
    """Write a user, with his limits and what he uses."""
    tokens: list[Mapping[str, Value]]
    tokens = [
        {"TOKEN": token, "EXPIRATION_TIME": expires, "EGID": -1}
        for token, expires in account.tokens.items()
    ]
    values: dict[str, Value] = {
        "ID": account.id,
        "GID": 1,
        "GROUPS": {"ID": 1},
        "GNAME": "users",
        "NAME": account.name,
        "PASSWORD": "",
        "AUTH_DRIVER": "core",
        "ENABLED": 1,
        "LOGIN_TOKEN": tokens,
        "TEMPLATE": dict(sorted(account.template.items())),
        **quotas,
    }
    if default_quotas is not None:
        values["DEFAULT_USER_QUOTAS"] = default_quotas
    return xml_of("USER", values)
