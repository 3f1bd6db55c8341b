"""A cloud's things as resources: a class for each collection, which lists, finds and changes."""

import base64
import contextlib
import re
import urllib.parse
from collections.abc import Callable, Iterable
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from werkzeug.exceptions import BadRequest, Conflict, NotFound

from stratuslab_libcloud import Cloud, Image, Machine, Mount, NewMachine, Volume, errors
from stratuslab_libcloud.cimi.documents import Document, moment
from stratuslab_libcloud.cimi.kept import Kept
from stratuslab_libcloud.cimi.table import ACTION, NS, TYPES

__all__ = ["Collection", "View"]

_MOST_KEPT = 100
_ARCH, _MAPPED = "x86_64", f"{NS}/mapped"
_DONE, _ACTIVE = 6, 3
_STATES = {0: "CREATING", 1: "CREATING", 5: "SUSPENDED", **dict.fromkeys((2, 4, 8, 9), "STOPPED")}
_ACTIVE_STATES = {
    **dict.fromkeys((0, 1, 2), "CREATING"),
    **dict.fromkeys((11, 12, 18), "STOPPING"),
    **dict.fromkeys((13, 15, 23), "DELETING"),
    20: "STARTING",
}
_VERBS = {"restart": "reboot_machine", "start": "start_machine", "stop": "stop_machine"}


class View:
    """
    What one account sees of a cloud, and of what is kept for it.

    :param log_in: returns the cloud and the user's name; called when they are first needed.
    :param base: URL of the provider, with a slash at its end.
    """

    def __init__(self, log_in: Callable[[], tuple[Cloud, str]], kept: Kept, base: str) -> None:
        self._log_in, self.kept, self.base = log_in, kept, base

    @cached_property
    def _login(self) -> tuple[Cloud, str]:
        return self._log_in()

    @property
    def cloud(self) -> Cloud:
        return self._login[0]

    @property
    def user(self) -> str:
        return self._login[1]

    def can(self, verb: str) -> bool:
        """Return whether the cloud has an operation, which no machine of this id can have."""
        try:
            getattr(self.cloud, _VERBS[verb])("-")
        except (AttributeError, NotImplementedError, errors.NotSupportedError):
            return False
        except errors.StratusLabError:
            pass
        return True

    def place(self, href: str) -> list[str]:
        """Split a reference, absolute or relative to the base, into the segments of its path."""
        try:
            url = urllib.parse.urlsplit(urllib.parse.urljoin(self.base, href))
        except ValueError:
            return ["", ""]
        path = url.path.removeprefix(urllib.parse.urlsplit(self.base).path)
        return [urllib.parse.unquote(part) for part in path.split("/")]

    def collection(self, path: list[str]) -> "tuple[Collection, list[str]]":
        """
        Find the collection that a path leads to, and what comes after it.

        :raises NotFound: there is none.
        """
        match path:
            case [""] | ["cloudEntryPoint"]:
                return EntryPoint(self, ""), ["cloudEntryPoint"]
            case ["machines", key, part, *rest] if part in PARTS:
                machine = Machines(self, "machines").one(key)
                url = machine[part]["href"].removeprefix(self.base)
                return PARTS[part](self, url, machine=key), rest
            case [name, *rest] if name in COLLECTIONS:
                return COLLECTIONS[name](self, name), rest
        raise NotFound("there is nothing here")

    def named(self, name: str, given: Document) -> tuple[str, Document]:
        """
        Look up the member of a collection that a reference names.

        :return: its key and its document.
        :raises BadRequest: it is not there.
        """
        match self.place(given.get("href", "")):
            case [collection, key] if collection == name:
                with contextlib.suppress(NotFound):
                    return key, COLLECTIONS[name](self, name).one(key)
        raise BadRequest(f"{given.get('href', '')!r} is no reference to one of the {name}")

    def whole(self, name: str, given: Document) -> Document:
        """Complete an object that is a reference; what it says itself counts more."""
        return {**self.named(name, given)[1], **given} if "href" in given else given


class Collection:
    """
    A collection. One that can be added to has ``add``; ``edit``, ``delete`` and ``act`` likewise.

    :cvar type: of its members.
    :cvar own: whether the cloud, which checks the login, is not asked for its members.
    :param path: the collection's, below the base.
    :param machine: id of the machine that it is a part of.
    """

    type = ""
    own = False

    def __init__(self, view: View, path: str, machine: str = "") -> None:
        self.view, self.path, self.machine = view, path, machine
        self.url = view.base + path

    @property
    def cloud(self) -> Cloud:
        return self.view.cloud

    def all(self) -> list[Document]:
        """List the members."""
        return [self.of(thing) for thing in self.things()]

    def one(self, key: str) -> Document:
        """
        Find a member.

        :raises NotFound: there is none of that id.
        """
        with contextlib.suppress(errors.NotFoundError, errors.InvalidValueError, KeyError):
            return self.of(self.thing(key))
        raise NotFound(f"there is no {key!r} here")

    def things(self) -> Iterable[Any]:
        """List what the members are made of."""
        raise NotImplementedError

    def thing(self, key: str) -> Any:
        """Find what a member is made of; its absence is any of the errors that ``one`` expects."""
        return {self.of(thing)["id"]: thing for thing in self.things()}[self._url_of(key)]

    def of(self, thing: Any) -> Document:
        """Make a member's document."""
        raise NotImplementedError

    def document(self, key: str, /, *verbs: str, **attributes: Any) -> Document:
        """Complete a member's document; what is None or empty is left out."""
        url = self._url_of(key)
        bare = {verb: {"rel": verb, "href": url} for verb in ("edit", "delete")}
        made = {"resourceURI": f"{NS}/{self.type}", "id": url, **attributes}
        made["operations"] = [
            bare.get(verb, {"rel": ACTION + verb, "href": f"{url}/{verb}"}) for verb in verbs
        ]
        return {name: value for name, value in made.items() if value not in (None, [], {})}

    def template(self, body: Document, name: str, needed: str) -> Document:
        """Return the template in a body that creates something, completed."""
        template = self.view.whole(f"{name}s", body.get(name, {}))
        if needed not in template:
            raise BadRequest(f"{name} must have {needed}")
        _refuse(template, "meterTemplates", "eventLogTemplate")
        return template

    def _url_of(self, key: str) -> str:
        return f"{self.url}/{urllib.parse.quote(key, safe='')}"


class EntryPoint(Collection):
    type = "CloudEntryPoint"

    def one(self, key: str) -> Document:
        base, names = self.view.base, {f"{one.type}Collection": n for n, one in COLLECTIONS.items()}
        links = {
            one.name: {"href": base + names[one.kind]}
            for one in TYPES[self.type]
            if one.kind in names
        }
        uri = f"{NS}/{self.type}"
        return {
            "resourceURI": uri,
            "id": base + key,
            "name": "StratusLab",
            "baseURI": base,
            **links,
        }


class Configurations(Collection):
    type, own = "MachineConfiguration", True

    def things(self) -> Iterable[Any]:
        return self.cloud.settings.instance_types

    def of(self, thing: Any) -> Document:
        known = {"name": thing.name, "cpu": thing.cpus, "memory": thing.ram * 1024}
        swap = [{"capacity": thing.swap * 1000, "format": "swap"}] if thing.swap else []
        return self.document(thing.name, **known, disks=swap, cpuArch=_ARCH)


class Images(Collection):
    type, own = "MachineImage", True

    def things(self) -> Iterable[Image]:
        return self.cloud.images()

    def thing(self, key: str) -> Image:
        return self.cloud.image(key)

    def of(self, thing: Image) -> Document:
        more = thing.details()
        known = {"name": thing.name, "description": more.get("description"), "state": "AVAILABLE"}
        where = next(iter(more.get("locations") or ()), None)
        known |= {"created": _date(more.get("created")), "type": "IMAGE", "imageLocation": where}
        return self.document(thing.id, **known)


class Machines(Collection):
    type = "Machine"

    def things(self) -> Iterable[Machine]:
        return self.cloud.machines()

    def thing(self, key: str) -> Machine:
        machine = self.cloud.machine(key)
        if machine.state == _DONE:
            raise NotFound(f"machine {key!r} has ended")
        return machine

    def of(self, thing: Machine) -> Document:
        state = _STATES.get(thing.state, "ERROR")
        if thing.state == _ACTIVE:
            state = _ACTIVE_STATES.get(thing.lcm_state, "STARTED")
        verbs = ["delete"]
        if thing.running:
            verbs += ["stop", *(["restart"] if self.view.can("restart") else [])]
        elif state in ("STOPPED", "SUSPENDED") and self.view.can("start"):
            verbs += ["start"]
        known: Document = {"name": thing.name, "state": "ERROR" if thing.failed else state}
        known |= {"created": _iso(thing.started) if thing.started else None}
        known |= {"cpu": thing.cpus, "memory": thing.memory and thing.memory * 1024}
        parts = {name: {"href": f"{self._url_of(thing.id)}/{name}"} for name in PARTS}
        return self.document(thing.id, *verbs, **known, **parts)

    def add(self, body: Document) -> Document:
        view, given = self.view, self.template(body, "machineTemplate", "machineConfig")
        _refuse(given, "volumeTemplates", initialState="STARTED")
        order = {"name": body.get("name", ""), "context": body.get("properties", {})}
        order |= self._size(view.whole("machineConfigurations", given["machineConfig"]))
        order |= self._network(given.get("networkInterfaces", []))
        if "credential" in given:
            key = view.whole("credentials", given["credential"]).get("key", "")
            order["public_keys"] = [_public_key(key)]
        if "userData" in given:
            order |= {"user_data": _bytes(given["userData"]), "context_method": "cloud-init"}
        volumes = [one.get("volume", one) for one in given.get("volumes", [])]
        order["volumes"] = [view.named("volumes", one)[0] for one in volumes]
        new = NewMachine(self._image(given.get("machineImage", {})), **order)
        key = self.cloud.create_machine(new)
        try:
            return self.one(key)
        except (errors.StratusLabError, NotFound):  # it is there all the same
            return self.document(key, name=new.name, state="CREATING")

    def delete(self, key: str) -> None:
        self.cloud.kill_machine(key)

    def act(self, key: str, verb: str) -> None:
        if verb == "stop" and not self.view.can(verb):
            self.cloud.shut_down_machine(key)
        elif self.view.can(verb):
            getattr(self.cloud, _VERBS[verb])(key)
        else:
            raise errors.NotSupportedError(f"this cloud cannot {verb} machines")

    def _image(self, given: Document) -> str:
        """Return the id of an image: by reference, or the one that is at a location."""
        where = given.get("imageLocation", "")
        if "href" in given or not where:
            return self.view.named("machineImages", given)[0]
        for one in self.cloud.images():
            if where in one.details().get("locations", ()) or where.endswith(f"/{one.id}"):
                return one.id
        raise BadRequest(f"there is no image at {where!r}")

    @staticmethod
    def _size(given: Document) -> dict[str, Any]:
        _refuse(given, cpuArch=_ARCH)
        disks = [
            (one.get("format") == "swap", one.get("capacity", 0)) for one in given.get("disks", [])
        ]
        if len({is_swap for is_swap, _ in disks}) < len(disks):
            raise errors.NotSupportedError("a machine can have a disk for swap, and another one")
        if not given.get("cpu") or not given.get("memory"):
            raise BadRequest("machineConfig must have cpu and memory")
        swap, empty = (dict(disks).get(is_swap, 0) for is_swap in (True, False))
        more = {"swap": -(-swap // 1000), "volatile_disk": -(-empty // 10**6)}
        return {"cpus": given["cpu"], "ram": -(-given["memory"] // 1024), **more}

    @staticmethod
    def _network(given: list[Document]) -> dict[str, Any]:
        if len(given) > 1:
            raise errors.NotSupportedError("a machine can have one network interface")
        network = [one["network"].get("href", "") for one in given if "network" in one]
        address = [a["ip"] for one in given for a in one.get("addresses", []) if "ip" in a]
        named = {"network": network[0].rpartition("/")[2]} if network else {}
        return named | ({"address": address[0]} if address else {})


class Volumes(Collection):
    type = "Volume"

    def things(self) -> Iterable[Volume]:
        return self.cloud.volumes()

    def thing(self, key: str) -> Volume:
        return self.cloud.volume(key)

    def of(self, thing: Volume) -> Document:
        state = getattr(thing, "state", None) or ("deleting" if thing.quarantine else "available")
        known = {"name": thing.name, "created": _date(thing.created), "state": state.upper()}
        known |= {"type": _MAPPED, "capacity": thing.size and thing.size * 10**6}
        known |= {"bootable": (thing.type or "").startswith("MACHINE_IMAGE")}
        verbs = ["edit", *([] if thing.users else ["delete"])]
        mine = thing.owner in (None, self.view.user)
        return self.document(thing.id, *(verbs if mine else []), **known)

    def add(self, body: Document) -> Document:
        given = self.template(body, "volumeTemplate", "volumeConfig")
        config = self.view.whole("volumeConfigurations", given["volumeConfig"])
        _refuse(given, "volumeImage")
        _refuse(config, type=_MAPPED, format="raw")
        if not config.get("capacity"):
            raise BadRequest("volumeConfig must have a capacity, in kilobytes")
        size = -(-config["capacity"] // 10**6)
        return self.of(self.cloud.create_volume(size, body.get("name", "")))

    def edit(self, key: str, before: Document, body: Document) -> Document:
        for name in body.keys() - {"id", "name", "created", "updated", "operations"}:
            if body[name] != before.get(name):
                raise errors.NotSupportedError(f"only its name can be changed, not its {name}")
        if body.get("name", before.get("name")) != before.get("name"):
            self.cloud.update_volume(key, name=body["name"])
        return self.one(key)

    def delete(self, key: str) -> None:
        self.cloud.delete_volume(key)


class KeptOnes(Collection):
    own = True

    def _all(self) -> dict[str, Document]:
        return self.view.kept.all(self.view.user, self.type)

    def things(self) -> Iterable[Any]:
        return self._all().items()

    def of(self, thing: Any) -> Document:
        key, document = thing
        return self.document(key, "edit", "delete", **document)

    def add(self, body: Document) -> Document:
        if len(self._all()) >= _MOST_KEPT:
            raise Conflict(f"{_MOST_KEPT} are kept already: delete one first")
        return self._put({**body, "created": _iso()})

    def edit(self, key: str, before: Document, body: Document) -> Document:
        return self._put({**body, "created": before["created"], "updated": _iso()}, key)

    def delete(self, key: str) -> None:
        self.view.kept.remove(self.view.user, self.type, key)

    def _put(self, document: Document, key: str = "") -> Document:
        own = document.keys() - {"id", "resourceURI", "operations"}
        kept = {name: document[name] for name in document if name in own}
        return self.one(self.view.kept.put(self.view.user, self.type, kept, key))


class Templates(KeptOnes):
    type = "MachineTemplate"


class VolumeConfigurations(KeptOnes):
    type = "VolumeConfiguration"


class VolumeTemplates(KeptOnes):
    type = "VolumeTemplate"


class Credentials(KeptOnes):
    type = "Credential"

    def _put(self, document: Document, key: str = "") -> Document:
        document = {**document, **document.pop("credentialTemplate", {})}
        _refuse(document, "userName", "password")
        document["key"] = _public_key(document.get("key", "")).encode().hex()
        return super()._put(document, key)


class Disks(Collection):
    type = "Disk"

    def things(self) -> Iterable[Any]:
        return enumerate(self.cloud.machine(self.machine).disks)

    def of(self, thing: Any) -> Document:
        number, disk = thing
        size, where = disk["size"], disk["target"]
        known = {
            "capacity": size and size * 2**20 // 1000,
            "initialLocation": where and f"/dev/{where}",
        }
        return self.document(disk["id"] or str(number), **known)


class Interfaces(Collection):
    type = "MachineNetworkInterface"

    def things(self) -> Iterable[Any]:
        return enumerate(self.cloud.machine(self.machine).nics)

    def of(self, thing: Any) -> Document:
        number, nic = thing
        addresses = [{"ip": nic["ip"]}] if nic["ip"] else []
        return self.document(str(number), name=nic["network"], addresses=addresses, state="ACTIVE")


class Attached(Collection):
    type = "MachineVolume"

    def things(self) -> Iterable[Any]:
        used = [volume.id for volume in self.cloud.volumes() if volume.users != 0]
        return [(key, mount) for key in used for mount in self._mounts(key)]

    def thing(self, key: str) -> Any:
        return key, dict(enumerate(self._mounts(key)))[0]

    def of(self, thing: Any) -> Document:
        key, mount = thing
        known: Document = {"volume": {"href": f"{self.view.base}volumes/{key}"}}
        if not mount.hot_plugged:
            return self.document(key, **known)
        return self.document(key, "delete", initialLocation=f"/dev/{mount.device}", **known)

    def add(self, body: Document) -> Document:
        key, _ = self.view.named("volumes", body.get("volume", body))
        self.cloud.attach_volume(key, self.machine)
        return self.one(key)

    def delete(self, key: str) -> None:
        self.cloud.detach_volume(key, self.machine)

    def _mounts(self, key: str) -> list[Mount]:
        return [one for one in self.cloud.volume_mounts(key) if one.machine_id == self.machine]


COLLECTIONS: dict[str, type[Collection]] = {
    "machines": Machines,
    "machineTemplates": Templates,
    "machineConfigurations": Configurations,
    "machineImages": Images,
    "credentials": Credentials,
    "volumes": Volumes,
    "volumeTemplates": VolumeTemplates,
    "volumeConfigurations": VolumeConfigurations,
}
PARTS = {"disks": Disks, "volumes": Attached, "networkInterfaces": Interfaces}


def _refuse(given: Document, *names: str, **only: Any) -> None:
    """Refuse attributes that would change what is made, if they say anything else."""
    for name in names:
        if given.get(name):
            raise errors.NotSupportedError(f"{name} is not supported")
    for name, value in only.items():
        if given.get(name, value) != value:
            raise errors.NotSupportedError(f"{name} cannot be other than {value}")


def _date(text: str | None) -> str | None:
    with contextlib.suppress(ValueError):
        return moment(text or "").isoformat()
    return None


def _iso(seconds: float | None = None) -> str:
    now = datetime.now() if seconds is None else datetime.fromtimestamp(seconds)
    return now.astimezone(timezone.utc).isoformat(timespec="seconds")


def _public_key(text: str) -> str:
    """Return a public key, which the standard has in hexadecimal digits; as it is will do."""
    with contextlib.suppress(ValueError):
        text = bytes.fromhex(text).decode()
    if not re.fullmatch(r"(ssh-|ecdsa-|sk-)[!-~]+ [!-~]+[^\r\n]*", text.strip()):
        raise BadRequest("key must be an SSH public key, as it is or in hexadecimal digits")
    return text.strip()


def _bytes(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise BadRequest("userData must be in base64") from None
