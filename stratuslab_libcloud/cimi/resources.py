"""The resources: a row for each, with the calls of a cloud that are behind it."""

import base64
import contextlib
import re
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from werkzeug.exceptions import BadRequest

from stratuslab_libcloud import Machine, NewMachine, errors
from stratuslab_libcloud.cimi.caller import Caller, Members, Resource
from stratuslab_libcloud.cimi.documents import Document, moment
from stratuslab_libcloud.cimi.kept import Kept
from stratuslab_libcloud.cimi.table import MAPPED

__all__ = ["resources"]

_ACTIVE = 3
_STATES = {0: "CREATING", 1: "CREATING", 5: "SUSPENDED", **dict.fromkeys((2, 4, 8, 9), "STOPPED")}
_ACTIVE_STATES = {
    **dict.fromkeys((0, 1, 2), "CREATING"),
    **dict.fromkeys((11, 12, 18), "STOPPING"),
    **dict.fromkeys((13, 15, 23), "DELETING"),
    20: "STARTING",
}
_CALLS = {"edit": "rename_machine", "start": "start_machine", "restart": "reboot_machine"}


def _entry_point(caller: Caller) -> Members:
    yield {"id": "cimi", "name": "StratusLab", "baseURI": caller.base}


def _machines(caller: Caller) -> Members:
    for machine in caller.cloud.machines():
        state = _STATES.get(machine.state, "ERROR")
        if machine.state == _ACTIVE:
            state = _ACTIVE_STATES.get(machine.lcm_state, "STARTED")
        verbs = ["edit", *["restart"] * machine.running, *["start"] * machine.resting]
        possible = [verb for verb in verbs if _can(caller, verb)]
        yield {
            "id": machine.id,
            "name": machine.name,
            "created": _date(machine.started),
            "state": "ERROR" if machine.failed else state,
            "cpu": machine.cpus,
            "memory": machine.memory and machine.memory * 1024,
            "operations": ["delete", *["stop"] * machine.running, *possible],
        }


def _volumes(caller: Caller) -> Members:
    for volume in caller.cloud.volumes():
        verbs = ["edit"] if volume.users else ["edit", "delete"]
        state = volume.state or ("deleting" if volume.quarantine else "available")
        yield {
            "id": volume.id,
            "name": volume.name,
            "created": _date(volume.created),
            "state": state.upper(),
            "type": MAPPED,
            "capacity": volume.size and volume.size * 10**6,
            "bootable": (volume.type or "").startswith("MACHINE_IMAGE"),
            "operations": verbs if volume.owner in (None, caller.login[0]) else [],
        }


def _images(caller: Caller) -> Members:
    caller.cloud.machines()  # images need no login, but CIMI does
    for image in caller.cloud.images():
        more = image.details()
        yield {
            "id": image.id,
            "name": image.name,
            "description": more.get("description"),
            "created": _date(more.get("created")),
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
        known = {"name": nic["network"], "addresses": addresses, "state": "ACTIVE"}
        yield {"id": str(number), **known}


def _mounts(caller: Caller, machine: str) -> Members:
    _machine(caller, machine)  # of somebody else's nothing is shown
    for volume in caller.cloud.volumes():
        for mount in caller.cloud.volume_mounts(volume.id) if volume.users != 0 else ():
            if mount.machine_id == machine:
                known = {"id": volume.id, "volume": {"href": f"{caller.base}volumes/{volume.id}"}}
                plugged = {"initialLocation": f"/dev/{mount.device}", "operations": ["delete"]}
                yield known | (plugged if mount.hot_plugged else {})


def _machine(caller: Caller, key: str) -> Machine:
    for machine in caller.cloud.machines():
        if machine.id == key:
            return machine
    raise errors.NotFoundError(f"there is no machine {key!r}")


def _date(found: str | float | None) -> str | None:
    with contextlib.suppress(ValueError):
        if isinstance(found, str):
            return moment(found.replace("/", "-")).isoformat()
        if found is not None:
            return datetime.fromtimestamp(found, timezone.utc).isoformat(timespec="seconds")
    return None


def _can(caller: Caller, verb: str) -> bool:
    """Return whether the cloud has a call: it refuses this id before it sends anything."""
    given = ("-", "name") if verb == "edit" else ("-",)
    with contextlib.suppress(errors.InvalidValueError):
        try:
            getattr(caller.cloud, _CALLS[verb])(*given)
        except (errors.NotSupportedError, NotImplementedError):
            return False
    return True


def _add_machine(caller: Caller, body: Document) -> str:
    given = caller.whole("machineTemplates", body["machineTemplate"])
    config = caller.whole("machineConfigs", given["machineConfig"])
    disks = [(one.get("format") == "swap", one["capacity"]) for one in config.get("disks", ())]
    network, *others = given.get("networkInterfaces", [{}])
    if others or len(dict(disks)) < len(disks):
        raise errors.NotSupportedError("a machine has one network, one disk for swap, one other")
    key = caller.whole("credentials", given["credential"])["key"] if "credential" in given else ""
    user_data = base64.b64decode(given.get("userData", ""))
    volumes = [one.get("volume", one) for one in given.get("volumes", ())]
    new = NewMachine(
        _image_id(caller, given["machineImage"]),
        cpus=config["cpu"],
        ram=-(-config["memory"] // 1024),
        swap=-(-dict(disks).get(True, 0) // 1000),
        volatile_disk=-(-dict(disks).get(False, 0) // 10**6),
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
    """Return the id of an image: by reference, or the one that is at a location."""
    if "href" in given:
        return caller.find("machineImages", given)[0]
    where = given["imageLocation"]
    for image in _images(caller):
        if where == image["imageLocation"] or where.endswith(f"/metadata/{image['id']}"):
            return str(image["id"])
    raise BadRequest(f"there is no image at {where!r}")


def _stop(caller: Caller, key: str) -> None:
    try:
        caller.cloud.stop_machine(key)
    except errors.NotSupportedError:  # a machine that was shut down has ended there
        caller.cloud.shut_down_machine(key)


def _add_volume(caller: Caller, body: Document) -> str:
    given = caller.whole("volumeTemplates", body["volumeTemplate"])
    config = caller.whole("volumeConfigs", given["volumeConfig"])
    return caller.cloud.create_volume(-(-config["capacity"] // 10**6), body.get("name", "")).id


def _attach(caller: Caller, machine: str, body: Document) -> str:
    _machine(caller, machine)
    key, _ = caller.find("volumes", body.get("volume", body))
    caller.cloud.attach_volume(key, machine)
    return key


def _credential(body: Document) -> dict[str, Any]:
    key = _public_key(body["credentialTemplate"]["key"]).encode().hex()
    return {**body.pop("credentialTemplate"), **body, "key": key}


def _public_key(text: str) -> str:
    """Return a public key, which the standard has in hexadecimal digits; as it is will do, too."""
    with contextlib.suppress(ValueError):
        text = bytes.fromhex(text).decode()
    if not re.fullmatch(r"(ssh-|ecdsa-|sk-)[!-~]+ [!-~]+[^\r\n]*", text.strip()):
        raise BadRequest("key must be an SSH public key, as it is or in hexadecimal digits")
    return text.strip()


def _call(name: str) -> Callable[..., Any]:
    """Return a call of the cloud, as a function of the caller and its own arguments."""
    return lambda caller, *given: getattr(caller.cloud, name)(*given)


def resources(kept: Kept) -> dict[str, Resource]:
    """Return the table: each resource by its path; parts of a machine are below ``machines/``."""
    return {
        "": Resource("CloudEntryPoint", _entry_point),
        "machines": Resource(
            "Machine",
            _machines,
            add=_add_machine,
            edit=_call(_CALLS["edit"]),
            delete=_call("kill_machine"),
            acts={"stop": _stop, **{verb: _call(_CALLS[verb]) for verb in ("start", "restart")}},
        ),
        "machines/disks": Resource("Disk", _disks),
        "machines/networkInterfaces": Resource("MachineNetworkInterface", _interfaces),
        "machines/volumes": Resource(
            "MachineVolume",
            _mounts,
            add=_attach,
            delete=lambda caller, machine, key: caller.cloud.detach_volume(key, machine),
        ),
        "volumes": Resource(
            "Volume",
            _volumes,
            add=_add_volume,
            edit=lambda caller, key, name: caller.cloud.update_volume(key, name=name),
            delete=_call("delete_volume"),
        ),
        "machineConfigs": Resource("MachineConfiguration", _sizes),
        "machineImages": Resource("MachineImage", _images),
        "machineTemplates": kept.resource("MachineTemplate"),
        "volumeConfigs": kept.resource("VolumeConfiguration"),
        "volumeTemplates": kept.resource("VolumeTemplate"),
        "credentials": kept.resource("Credential", _credential),
    }
