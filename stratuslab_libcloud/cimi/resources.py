"""The resources: a row for each, with the calls of a cloud that are behind it."""

import base64
import contextlib
import json
import re
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from stratuslab_libcloud import Machine, NewMachine, errors
from stratuslab_libcloud.cimi.documents import Document, date
from stratuslab_libcloud.cimi.provider import Caller, Known
from stratuslab_libcloud.cimi.table import MAPPED

__all__ = ["CHANGES", "root"]

_MOST = 100  # of a type are kept for each user
_STATES = {
    "ERROR": ".*Failed|.*Failure|-.*",
    "CREATING": "Init|Pending|Cloning|Prolog|Boot",
    "STARTING": "Boot_(Poweroff|Suspended|Stopped|Undeploy)",
    "STOPPING": "Shutdown|Epilog|Shutdown_Poweroff",
    "STOPPED": "Hold|Stopped|Poweroff|Undeployed",
    "SUSPENDED": "Suspended",
    "DELETING": "Cancel|Delete|Cleanup_Delete",
}


def _machines(caller: Caller) -> Iterator[Known]:
    for machine in caller.cloud.machines():
        states = (state for state, words in _STATES.items() if re.fullmatch(words, machine.summary))
        verbs = ["delete", *["stop"] * machine.running]
        if caller.cloud.keeps_stopped_machines:
            verbs += ["edit", *["restart"] * machine.running, *["start"] * machine.resting]
        yield {
            "id": machine.id,
            "name": machine.name,
            "created": date(machine.started),
            "state": next(states, "STARTED"),
            "cpu": machine.cpus,
            "memory": machine.memory and machine.memory * 1024,
            "disks": _disks(machine),
            "volumes": _mounts(caller, machine.id),
            "networkInterfaces": _interfaces(machine),
            "operations": verbs,
        }


def _volumes(caller: Caller) -> Iterator[Known]:
    for volume in caller.cloud.volumes():
        state = volume.state or ("deleting" if volume.quarantine else "available")
        is_own = volume.owner in (None, caller.cloud.settings.options.username)
        yield {
            "id": volume.id,
            "name": volume.name,
            "created": date(volume.created),
            "state": state.upper(),
            "type": MAPPED,
            "capacity": volume.size and volume.size * 10**6,
            "bootable": (volume.type or "").startswith("MACHINE_IMAGE"),
            "operations": ["edit"] * is_own + ["delete"] * (is_own and not volume.users),
        }


def _images(caller: Caller) -> Iterator[Known]:
    for image in caller.confirmed.images():  # which need no login, but CIMI does
        more = image.details()
        yield {
            "id": image.id,
            "name": image.name,
            "description": more.get("description"),
            "created": date(more.get("created")),
            "state": "AVAILABLE",
            "type": "IMAGE",
            "imageLocation": next(iter(more.get("locations", ())), None),
        }


def _sizes(caller: Caller) -> Iterator[Known]:
    for one in caller.confirmed.settings.instance_types:
        swap = [{"capacity": one.swap * 1000, "format": "swap"}] if one.swap else []
        known = {"cpu": one.cpus, "memory": one.ram * 1024, "disks": swap, "cpuArch": "x86_64"}
        yield {"id": one.name, "name": one.name, **known}


def _disks(machine: Machine) -> Iterator[Known]:
    for number, disk in enumerate(machine.disks):
        size, target = disk["size"], disk["target"]
        capacity, place = size and size * 2**20 // 1000, target and f"/dev/{target}"
        yield {"id": disk["id"] or str(number), "capacity": capacity, "initialLocation": place}


def _interfaces(machine: Machine) -> Iterator[Known]:
    for number, nic in enumerate(machine.nics):
        addresses = [{"ip": nic["ip"]}] if nic["ip"] else []
        yield {"id": str(number), "name": nic["network"], "addresses": addresses, "state": "ACTIVE"}


def _mounts(caller: Caller, machine: str) -> Iterator[Known]:
    for volume in caller.cloud.volumes():
        for mount in caller.cloud.volume_mounts(volume.id) if volume.users != 0 else ():
            if mount.machine_id == machine:
                href = caller.url_of("cimi", "volumes", volume.id)
                plugged = {"initialLocation": f"/dev/{mount.device}", "operations": ["delete"]}
                more = plugged if mount.hot_plugged else {}
                yield {"id": volume.id, "volume": {"href": href}, **more}


def _add_machine(caller: Caller, body: Document) -> str:
    given = caller.expand("MachineCreate", body, {"*"}, deep=True)["machineTemplate"]
    config, disks = given["machineConfig"], given["machineConfig"].get("disks", ())
    sizes = {one.get("format") == "swap": one["capacity"] for one in disks}
    network, *others = given.get("networkInterfaces", [{}])
    if others or len(sizes) < len(disks):
        raise errors.NotSupportedError("a machine has one network, one disk for swap, one other")
    volumes = [one.get("volume", one) for one in given.get("volumes", ())]
    key = given["credential"]["key"] if "credential" in given else ""
    user_data = base64.b64decode(given.get("userData", ""))
    new = NewMachine(
        _image_id(caller, given["machineImage"]),
        cpus=config["cpu"],
        ram=-(-config["memory"] // 1024),
        swap=-(-sizes.get(True, 0) // 1000),
        volatile_disk=-(-sizes.get(False, 0) // 10**6),
        name=body.get("name", ""),
        network=network.get("network", {}).get("href", "").rpartition("/")[2],
        address=network.get("addresses", [{}])[0].get("ip", ""),
        volumes=[caller.key(one) for one in volumes],
        public_keys=[bytes.fromhex(key).decode()] if key else [],
        context=body.get("properties", {}),
        context_method="cloud-init" if user_data else "one",
        user_data=user_data,
    )
    return caller.cloud.create_machine(new)


def _image_id(caller: Caller, given: Document) -> str:
    """Find an image by reference or, by value, the one that is, or has its entry, somewhere."""
    if "imageLocation" not in given or "id" in given:
        return caller.key(given)
    where = given["imageLocation"]
    for image in caller.cloud.images():
        if where in image.details().get("locations", ()) or where.endswith(f"/metadata/{image.id}"):
            return image.id
    raise errors.InvalidValueError(f"there is no image at {where!r}")


def _stop(caller: Caller, key: str) -> None:
    cloud = caller.cloud
    (cloud.stop_machine if cloud.keeps_stopped_machines else cloud.shut_down_machine)(key)


def _add_volume(caller: Caller, body: Document) -> str:
    given = caller.expand("VolumeCreate", body, {"*"}, deep=True)["volumeTemplate"]
    capacity = given["volumeConfig"]["capacity"]
    return caller.cloud.create_volume(-(-capacity // 10**6), body.get("name", "")).id


def _attach(caller: Caller, machine: str, body: Document) -> str:
    key = caller.key(caller.expand("MachineVolume", body, {"volume"})["volume"])
    caller.cloud.attach_volume(key, machine)
    return key


def _add_credential(caller: Caller, body: Document) -> str:
    given = body["credentialTemplate"]
    del body["credentialTemplate"]
    return _keep("credentials", caller, Document({**given, **body, "key": given["key"]}))


def _kept(name: str, caller: Caller) -> Iterator[Known]:
    select = "SELECT key, document FROM kept WHERE user=:user AND collection=:name"
    for key, document in _run(select, caller, name=name):
        yield {**json.loads(document), "id": key, "operations": ["edit", "delete"]}


def _keep(name: str, caller: Caller, body: Document) -> str:
    if len(list(_kept(name, caller))) >= _MOST:
        raise errors.ConflictError(f"{_MOST} are kept already: delete one first")
    key, document = secrets.token_hex(8), json.dumps({**body, "created": date(time.time())})
    insert = "INSERT INTO kept VALUES (:user, :name, :key, :document)"
    _run(insert, caller, key, name, document)
    return key


def _run(
    statement: str, caller: Caller, key: str = "", name: str = "", document: str = ""
) -> list[tuple[str, str]]:
    """Ask the database of what no cloud keeps for its users, of whom it is the one who asks."""
    user = caller.confirmed.settings.options.username
    now = date(time.time())
    values = {"user": user, "key": key, "name": name, "document": document, "now": now}
    with contextlib.closing(sqlite3.connect(caller.provider.database, timeout=30)) as db, db:
        db.execute("CREATE TABLE IF NOT EXISTS kept (user, collection, key, document)")
        return db.execute(statement, values).fetchall()


def root(caller: Caller) -> Known:
    """Return what is known of the entry point; nothing is asked before it is looked at."""
    return {
        "name": "StratusLab",
        "baseURI": caller.url_of("cimi", ""),
        "machines": _machines(caller),
        "machineConfigs": _sizes(caller),
        "machineImages": _images(caller),
        "volumes": _volumes(caller),
        **{name: _kept(name, caller) for name in _KEPT},
    }


_DISCARD = "DELETE FROM kept WHERE user=:user AND key=:key"
_RENAME = """UPDATE kept SET document=json_set(document, '$.name', :name, '$.updated', :now)
    WHERE user=:user AND key=:key"""
_KEPT = ("machineTemplates", "volumeConfigs", "volumeTemplates", "credentials")
CHANGES: dict[tuple[str, str], Callable[..., Any]] = {
    ("POST", "machines"): _add_machine,
    ("PUT", "machines/*"): lambda caller, key, name: caller.cloud.rename_machine(key, name),
    ("DELETE", "machines/*"): lambda caller, key: caller.cloud.kill_machine(key),
    ("POST", "machines/*/stop"): _stop,
    ("POST", "machines/*/start"): lambda caller, key: caller.cloud.start_machine(key),
    ("POST", "machines/*/restart"): lambda caller, key: caller.cloud.reboot_machine(key),
    ("POST", "machines/*/volumes"): _attach,
    ("DELETE", "machines/*/volumes/*"): lambda caller, of, key: caller.cloud.detach_volume(key, of),
    ("POST", "volumes"): _add_volume,
    ("PUT", "volumes/*"): lambda caller, key, name: caller.cloud.update_volume(key, name=name),
    ("DELETE", "volumes/*"): lambda caller, key: caller.cloud.delete_volume(key),
    **{("POST", name): partial(_keep, name) for name in _KEPT},
    **{("PUT", f"{name}/*"): partial(_run, _RENAME) for name in _KEPT},
    **{("DELETE", f"{name}/*"): partial(_run, _DISCARD) for name in _KEPT},
    ("POST", "credentials"): _add_credential,
}
