"""The resources: a row for each, with the calls of a cloud that are behind it."""

import base64
import contextlib
import json
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from werkzeug.exceptions import BadRequest

from stratuslab_libcloud import Machine, NewMachine, errors
from stratuslab_libcloud.cimi.documents import Document, date
from stratuslab_libcloud.cimi.provider import Caller, Members, Resource
from stratuslab_libcloud.cimi.table import ACTION, MAPPED

__all__ = ["resources"]

_MOST = 100  # of a type are kept for each user
_STATES = {
    "CREATING": "Init Pending Cloning Prolog Boot",
    "STARTING": "Boot_Poweroff Boot_Suspended Boot_Stopped Boot_Undeploy",
    "STOPPING": "Shutdown Epilog Shutdown_Poweroff",
    "STOPPED": "Hold Stopped Poweroff Undeployed",
    "SUSPENDED": "Suspended",
    "DELETING": "Cancel Delete Cleanup_Delete",
}


def _entry_point(caller: Caller) -> Members:
    yield {"id": "cimi", "name": "StratusLab", "baseURI": caller.url_of("cimi", "")}


def _machines(caller: Caller) -> Members:
    for machine in caller.cloud.machines():
        verbs = ["delete", *["stop"] * machine.running]
        if caller.cloud.keeps_stopped_machines:
            verbs += ["edit", *["restart"] * machine.running, *["start"] * machine.resting]
        yield {
            "id": machine.id,
            "name": machine.name,
            "created": date(machine.started),
            "state": _state(machine),
            "cpu": machine.cpus,
            "memory": machine.memory and machine.memory * 1024,
            "operations": verbs,
        }


def _state(machine: Machine) -> str:
    if machine.failed or machine.state < 0:
        return "ERROR"
    known = (state for state, words in _STATES.items() if machine.summary in words.split())
    return next(known, "STARTED")


def _volumes(caller: Caller) -> Members:
    for volume in caller.cloud.volumes():
        state = volume.state or ("deleting" if volume.quarantine else "available")
        is_own = volume.owner in (None, caller.login[0])
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


def _images(caller: Caller) -> Members:
    caller.cloud.machines()  # images need no login, but CIMI does
    for image in caller.cloud.images():
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


def _sizes(caller: Caller) -> Members:
    caller.cloud.machines()  # likewise
    for one in caller.cloud.settings.instance_types:
        swap = [{"capacity": one.swap * 1000, "format": "swap"}] if one.swap else []
        known = {"cpu": one.cpus, "memory": one.ram * 1024, "disks": swap, "cpuArch": "x86_64"}
        yield {"id": one.name, "name": one.name, **known}


def _disks(caller: Caller, machine: str) -> Members:
    for number, disk in enumerate(_machine(caller, machine).disks):
        size, target = disk["size"], disk["target"]
        capacity, place = size and size * 2**20 // 1000, target and f"/dev/{target}"
        yield {"id": disk["id"] or str(number), "capacity": capacity, "initialLocation": place}


def _interfaces(caller: Caller, machine: str) -> Members:
    for number, nic in enumerate(_machine(caller, machine).nics):
        addresses = [{"ip": nic["ip"]}] if nic["ip"] else []
        yield {"id": str(number), "name": nic["network"], "addresses": addresses, "state": "ACTIVE"}


def _mounts(caller: Caller, machine: str) -> Members:
    _machine(caller, machine)  # of somebody else's nothing is shown
    for volume in caller.cloud.volumes():
        for mount in caller.cloud.volume_mounts(volume.id) if volume.users != 0 else ():
            if mount.machine_id == machine:
                href = caller.url_of("cimi", "volumes", volume.id)
                plugged = {"initialLocation": f"/dev/{mount.device}", "operations": ["delete"]}
                more = plugged if mount.hot_plugged else {}
                yield {"id": volume.id, "volume": {"href": href}, **more}


def _machine(caller: Caller, key: str) -> Machine:
    for machine in caller.cloud.machines():
        if machine.id == key:
            return machine
    raise errors.NotFoundError(f"there is no machine {key!r}")


def _add_machine(caller: Caller, body: Document) -> str:
    given = caller.whole("machineTemplates", body["machineTemplate"])
    config = caller.whole("machineConfigs", given["machineConfig"])
    disks = config.get("disks", ())
    sizes = {one.get("format") == "swap": one["capacity"] for one in disks}
    network, *others = given.get("networkInterfaces", [{}])
    if others or len(sizes) < len(disks):
        raise errors.NotSupportedError("a machine has one network, one disk for swap, one other")
    key = caller.whole("credentials", given["credential"])["key"] if "credential" in given else ""
    user_data = base64.b64decode(given.get("userData", ""))
    volumes = [one.get("volume", one) for one in given.get("volumes", ())]
    new = NewMachine(
        _image_id(caller, given["machineImage"]),
        cpus=config["cpu"],
        ram=-(-config["memory"] // 1024),
        swap=-(-sizes.get(True, 0) // 1000),
        volatile_disk=-(-sizes.get(False, 0) // 10**6),
        name=body.get("name", ""),
        network=network.get("network", {}).get("href", "").rpartition("/")[2],
        address=network.get("addresses", [{}])[0].get("ip", ""),
        volumes=[caller.find("volumes", one)[0] for one in volumes],
        public_keys=[_public_key(key)] if key else [],
        context=body.get("properties", {}),
        context_method="cloud-init" if user_data else "one",
        user_data=user_data,
    )
    return caller.cloud.create_machine(new)


def _image_id(caller: Caller, given: Document) -> str:
    """Return the id of an image: by reference, or the one that is, or has its entry, somewhere."""
    if "href" in given:
        return caller.find("machineImages", given)[0]
    where = given["imageLocation"]
    for image in caller.cloud.images():
        if where in image.details().get("locations", ()) or where.endswith(f"/metadata/{image.id}"):
            return image.id
    raise BadRequest(f"there is no image at {where!r}")


def _act(verb: str, do: Callable[[Caller, str], object]) -> Resource:
    """Make the resource that a machine's operation is sent to."""

    def act(caller: Caller, key: str, body: Document) -> str:
        if body["action"] != ACTION + verb:
            raise BadRequest(f"the action here is {ACTION}{verb}")
        do(caller, key)
        return ""

    return Resource("Action", add=act)


def _stop(caller: Caller, key: str) -> None:
    cloud = caller.cloud
    (cloud.stop_machine if cloud.keeps_stopped_machines else cloud.shut_down_machine)(key)


def _add_volume(caller: Caller, body: Document) -> str:
    given = caller.whole("volumeTemplates", body["volumeTemplate"])
    config = caller.whole("volumeConfigs", given["volumeConfig"])
    return caller.cloud.create_volume(-(-config["capacity"] // 10**6), body.get("name", "")).id


def _attach(caller: Caller, machine: str, body: Document) -> str:
    key, _ = caller.find("volumes", body.get("volume", body))
    caller.cloud.attach_volume(key, machine)
    return key


def _detach(caller: Caller, machine: str, key: str) -> None:
    caller.cloud.detach_volume(key, machine)


def _rename(caller: Caller, key: str, name: str) -> None:
    caller.cloud.update_volume(key, name=name)


def _credential(body: Document) -> Document:
    template = body.pop("credentialTemplate", Document())
    return Document({**template, **body, "key": _public_key(template["key"]).encode().hex()})


def _public_key(text: str) -> str:
    """Return a public key, which the standard has in hexadecimal digits; as it is will do, too."""
    with contextlib.suppress(ValueError):
        text = bytes.fromhex(text).decode()
    if not re.fullmatch(r"(ssh-|ecdsa-|sk-)[!-~]+ [!-~]+[^\r\n]*", text.strip()):
        raise BadRequest("key must be an SSH public key, as it is or in hexadecimal digits")
    return text.strip()


def _kept(
    database: Path, kind: str, made: Callable[[Document], Document] = lambda body: body
) -> Resource:
    """Make the resource of what no cloud keeps for its users."""
    run = partial(_run, database)

    def members(caller: Caller) -> list[dict[str, Any]]:
        rows = run("SELECT key, document FROM kept WHERE user=? AND type=?", caller.user, kind)
        verbs = {"operations": ["edit", "delete"]}
        return [{**json.loads(document), "id": key, **verbs} for key, document in rows]

    def add(caller: Caller, body: Document) -> str:
        if len(members(caller)) >= _MOST:
            raise errors.ConflictError(f"{_MOST} are kept already: delete one first")
        key, document = secrets.token_hex(8), {**made(body), "created": date(time.time())}
        run("INSERT INTO kept VALUES (?, ?, ?, ?)", caller.user, kind, key, json.dumps(document))
        return key

    def edit(caller: Caller, key: str, name: str) -> None:
        change = json.dumps({"name": name, "updated": date(time.time())})
        patch = "UPDATE kept SET document=json_patch(document, ?) WHERE user=? AND key=?"
        run(patch, change, caller.user, key)

    def delete(caller: Caller, key: str) -> None:
        run("DELETE FROM kept WHERE user=? AND key=?", caller.user, key)

    return Resource(kind, members, add, edit, delete)


def _run(database: Path, statement: str, *values: str) -> list[tuple[str, str]]:
    with contextlib.closing(sqlite3.connect(database, timeout=30)) as db, db:
        return db.execute(statement, values).fetchall()


def _call(name: str) -> Callable[..., Any]:
    """Return a call of the cloud, as a function of the caller and its own arguments."""
    return lambda caller, *given: getattr(caller.cloud, name)(*given)


def resources(database: Path) -> dict[str, Resource]:
    """
    Return all resources, by the names in their paths.

    :param database: an SQLite file for what no cloud keeps, which only its owner may read.
    """
    os.close(os.open(database, os.O_CREAT | os.O_RDWR, 0o600))
    _run(database, "CREATE TABLE IF NOT EXISTS kept (user, type, key PRIMARY KEY, document)")
    return {
        "": Resource("CloudEntryPoint", _entry_point),
        "machines": Resource(
            "Machine", _machines, _add_machine, _call("rename_machine"), _call("kill_machine")
        ),
        "machines/stop": _act("stop", _stop),
        "machines/start": _act("start", _call("start_machine")),
        "machines/restart": _act("restart", _call("reboot_machine")),
        "machines/disks": Resource("Disk", _disks),
        "machines/networkInterfaces": Resource("MachineNetworkInterface", _interfaces),
        "machines/volumes": Resource("MachineVolume", _mounts, _attach, delete=_detach),
        "volumes": Resource("Volume", _volumes, _add_volume, _rename, _call("delete_volume")),
        "machineConfigs": Resource("MachineConfiguration", _sizes),
        "machineImages": Resource("MachineImage", _images),
        "machineTemplates": _kept(database, "MachineTemplate"),
        "volumeConfigs": _kept(database, "VolumeConfiguration"),
        "volumeTemplates": _kept(database, "VolumeTemplate"),
        "credentials": _kept(database, "Credential", _credential),
    }
