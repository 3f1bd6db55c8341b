"""A cloud's things as resources: a class for each collection, which lists, finds and changes."""

import base64
import contextlib
import re
import urllib.parse
from collections.abc import Iterator
from datetime import datetime, timezone
from typing import Any

from werkzeug.exceptions import BadRequest, Conflict, NotFound

from stratuslab_libcloud import Cloud, Image, Machine, NewMachine, Volume, errors
from stratuslab_libcloud.cimi.documents import Document, moment
from stratuslab_libcloud.cimi.kept import Kept
from stratuslab_libcloud.cimi.table import ACTION, NS

__all__ = ["COLLECTIONS", "PARTS", "Collection", "View"]

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

    :param base: URL of the provider, with a slash at its end.
    """

    def __init__(self, cloud: Cloud, user: str, kept: Kept, base: str) -> None:
        self.cloud, self.user, self.kept, self.base = cloud, user, kept, base

    def check_login(self) -> None:
        """
        Ask the cloud something that needs the login, for what is not the cloud's to answer.

        :raises CredentialsError: it does not know this login.
        """
        self.cloud.machines()

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
            return [""]
        path = url.path.removeprefix(urllib.parse.urlsplit(self.base).path)
        return [urllib.parse.unquote(part) for part in path.split("/")]

    def named(self, name: str, given: Document) -> tuple[str, Document]:
        """
        Look up the member of a collection that a reference names.

        :return: its key and its document.
        :raises BadRequest: it is not there.
        """
        match self.place(given.get("href", "")):
            case [collection, key] if collection == name:
                with contextlib.suppress(NotFound):
                    return key, COLLECTIONS[name](self).one(key)
        raise BadRequest(f"{given.get('href', '')!r} is no reference to one of the {name}")

    def whole(self, name: str, given: Document) -> Document:
        """Complete an object that is a reference; what it says itself counts more."""
        return {**self.named(name, given)[1], **given} if "href" in given else given


@contextlib.contextmanager
def _looking(key: str) -> Iterator[None]:
    try:
        yield
    except (errors.NotFoundError, errors.InvalidValueError):
        raise NotFound(f"there is no {key!r} here") from None


class Collection:
    """
    A collection. One that can be added to has ``add``; ``edit``, ``delete`` and ``act`` likewise.

    :cvar type: of its members.
    :cvar own: whether no request to the cloud, which would check the login, is needed for it.
    """

    type = ""
    own = False

    def __init__(self, view: View, url: str = "", machine: str = "") -> None:
        self.view, self.machine = view, machine
        names = {kind: name for name, kind in COLLECTIONS.items()}
        self.url = url or view.base + names[type(self)]

    def all(self) -> list[Document]:
        """List the members."""
        raise NotImplementedError

    def one(self, key: str) -> Document:
        """
        Find a member.

        :raises NotFound: there is none of that id.
        """
        url = f"{self.url}/{urllib.parse.quote(key, safe='')}"
        with _looking(key):
            for one in self.all():
                if one["id"] == url:
                    return one
            raise NotFound(f"there is no {key!r} here")

    def document(self, key: str, /, *verbs: str, **attributes: Any) -> Document:
        """Make a member's document; what is None or empty is left out."""
        url = f"{self.url}/{urllib.parse.quote(key, safe='')}"
        operations = [
            {"rel": verb, "href": url}
            if verb in ("edit", "delete")
            else {"rel": ACTION + verb, "href": f"{url}/{verb}"}
            for verb in verbs
        ]
        made = {"resourceURI": f"{NS}/{self.type}", "id": url, **attributes}
        made["operations"] = operations
        return {name: value for name, value in made.items() if value not in (None, [], {})}

    def template(self, body: Document, name: str, needed: str) -> Document:
        """Return the template in a body that creates something, completed."""
        template: Document = body.get(name, {})
        if f"{name}s" in COLLECTIONS:
            template = self.view.whole(f"{name}s", template)
        if needed not in template:
            raise BadRequest(f"{name} must have {needed}")
        return template


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


class Configurations(Collection):
    type, own = "MachineConfiguration", True

    def all(self) -> list[Document]:
        return [
            self.document(
                kind.name,
                name=kind.name,
                cpu=kind.cpus,
                memory=kind.ram * 1024,
                disks=[{"capacity": kind.swap * 1000, "format": "swap"}] if kind.swap else [],
                cpuArch=_ARCH,
            )
            for kind in self.view.cloud.settings.instance_types
        ]


class Images(Collection):
    type, own = "MachineImage", True

    def all(self) -> list[Document]:
        return [self._of(image) for image in self.view.cloud.images()]

    def one(self, key: str) -> Document:
        with _looking(key):
            return self._of(self.view.cloud.image(key))

    def _of(self, image: Image) -> Document:
        details = image.details()
        return self.document(
            image.id,
            name=image.name,
            description=details.get("description"),
            created=_date(details.get("created")),
            state="AVAILABLE",
            type="IMAGE",
            imageLocation=next(iter(details.get("locations") or ()), None),
        )


class Machines(Collection):
    type = "Machine"

    def all(self) -> list[Document]:
        return [self._of(machine) for machine in self.view.cloud.machines()]

    def one(self, key: str) -> Document:
        with _looking(key):
            machine = self.view.cloud.machine(key)
        if machine.state == _DONE:
            raise NotFound(f"machine {key!r} has ended")
        return self._of(machine)

    def add(self, body: Document) -> Document:
        given = self.template(body, "machineTemplate", "machineConfig")
        _refuse(given, "volumeTemplates", "meterTemplates", "eventLogTemplate")
        _refuse(given, initialState="STARTED")
        order: dict[str, Any] = {"name": body.get("name", "")}
        order |= self._size(self.view.whole("machineConfigurations", given["machineConfig"]))
        order |= self._network(given.get("networkInterfaces", []))
        if "credential" in given:
            key = self.view.whole("credentials", given["credential"]).get("key", "")
            order["public_keys"] = [_public_key(key)]
        if "userData" in given:
            order |= {"user_data": _bytes(given["userData"]), "context_method": "cloud-init"}
        order["volumes"] = [
            self.view.named("volumes", one.get("volume", one))[0]
            for one in given.get("volumes", [])
        ]
        image = self._image(given.get("machineImage", {}))
        new = NewMachine(image, context=body.get("properties", {}), **order)
        key = self.view.cloud.create_machine(new)
        try:
            return self.one(key)
        except (errors.StratusLabError, NotFound):  # it is there all the same
            return self.document(key, name=new.name, state="CREATING")

    def delete(self, key: str) -> None:
        self.view.cloud.kill_machine(key)

    def act(self, key: str, verb: str) -> None:
        cloud = self.view.cloud
        if self.view.can(verb):
            getattr(cloud, _VERBS[verb])(key)
        elif verb == "stop":
            cloud.shut_down_machine(key)
        else:
            raise errors.NotSupportedError(f"this cloud cannot {verb} machines")

    def _of(self, machine: Machine) -> Document:
        verbs = ["delete"]
        state = _STATES.get(machine.state, "ERROR")
        if machine.state == _ACTIVE:
            state = _ACTIVE_STATES.get(machine.lcm_state, "STARTED")
        if machine.failed:
            state = "ERROR"
        if machine.running:
            verbs += ["stop", *(["restart"] if self.view.can("restart") else [])]
        elif state in ("STOPPED", "SUSPENDED") and self.view.can("start"):
            verbs += ["start"]
        url = f"{self.url}/{machine.id}"
        return self.document(
            machine.id,
            *verbs,
            name=machine.name,
            created=_iso(machine.started) if machine.started else None,
            state=state,
            cpu=machine.cpus,
            memory=machine.memory and machine.memory * 1024,
            **{name: {"href": f"{url}/{name}"} for name in PARTS},
        )

    def _image(self, given: Document) -> str:
        """Return the id of an image: by reference, or the one that is at a location."""
        where = given.get("imageLocation", "")
        if "href" not in given and where:
            for one in self.view.cloud.images():
                if where in one.details().get("locations", ()) or where.endswith(f"/{one.id}"):
                    return one.id
            raise BadRequest(f"there is no image at {where!r}")
        return self.view.named("machineImages", given)[0]

    @staticmethod
    def _size(given: Document) -> dict[str, int]:
        _refuse(given, cpuArch=_ARCH)
        disks = [(one.get("format"), one.get("capacity", 0)) for one in given.get("disks", [])]
        swap = [size for kind, size in disks if kind == "swap"]
        empty = [size for kind, size in disks if kind != "swap"]
        if len(swap) > 1 or len(empty) > 1:
            raise errors.NotSupportedError("a machine can have one disk for swap, and another one")
        if not given.get("cpu") or not given.get("memory"):
            raise BadRequest("machineConfig must have cpu and memory")
        ram, swap, empty = -(-given["memory"] // 1024), sum(swap), sum(empty)
        more = {"swap": -(-swap // 1000), "volatile_disk": -(-empty // 10**6)}
        return {"cpus": given["cpu"], "ram": ram, **more}

    @staticmethod
    def _network(given: list[Document]) -> dict[str, str]:
        if len(given) > 1:
            raise errors.NotSupportedError("a machine can have one network interface")
        network = [one["network"].get("href", "") for one in given if "network" in one]
        address = [a["ip"] for one in given for a in one.get("addresses", []) if "ip" in a]
        named = {"network": network[0].rpartition("/")[2]} if network else {}
        return named | ({"address": address[0]} if address else {})


class Volumes(Collection):
    type = "Volume"

    def all(self) -> list[Document]:
        return [self._of(volume) for volume in self.view.cloud.volumes()]

    def one(self, key: str) -> Document:
        with _looking(key):
            return self._of(self.view.cloud.volume(key))

    def add(self, body: Document) -> Document:
        given = self.template(body, "volumeTemplate", "volumeConfig")
        _refuse(given, "volumeImage", "meterTemplates", "eventLogTemplate")
        config = self.view.whole("volumeConfigurations", given["volumeConfig"])
        _refuse(config, type=_MAPPED, format="raw")
        if not config.get("capacity"):
            raise BadRequest("volumeConfig must have a capacity, in kilobytes")
        size = -(-config["capacity"] // 10**6)
        return self._of(self.view.cloud.create_volume(size, body.get("name", "")))

    def edit(self, key: str, before: Document, body: Document) -> Document:
        for name in body.keys() - {"id", "name", "created", "updated", "operations"}:
            if body[name] != before.get(name):
                raise errors.NotSupportedError(
                    f"only the name of a volume can be changed, not its {name}"
                )
        if "name" in body and body["name"] != before.get("name"):
            self.view.cloud.update_volume(key, name=body["name"])
        return self.one(key)

    def delete(self, key: str) -> None:
        self.view.cloud.delete_volume(key)

    def _of(self, volume: Volume) -> Document:
        verbs = ["edit", *([] if volume.users else ["delete"])]
        state = getattr(volume, "state", None) or ("deleting" if volume.quarantine else "available")
        return self.document(
            volume.id,
            *(verbs if volume.owner in (None, self.view.user) else []),
            name=volume.name,
            created=_date(volume.created),
            state=state.upper(),
            type=_MAPPED,
            capacity=volume.size and volume.size * 10**6,
            bootable=(volume.type or "").startswith("MACHINE_IMAGE"),
        )


class KeptOnes(Collection):
    own = True

    def all(self) -> list[Document]:
        kept = self.view.kept.all(self.view.user, self.type)
        return [self.document(key, "edit", "delete", **one) for key, one in kept.items()]

    def add(self, body: Document) -> Document:
        if len(self.view.kept.all(self.view.user, self.type)) >= _MOST_KEPT:
            raise Conflict(f"{_MOST_KEPT} are kept already: delete one first")
        key = self._put({**body, "created": _iso()})
        return self.one(key)

    def edit(self, key: str, before: Document, body: Document) -> Document:
        self._put({**body, "created": before["created"], "updated": _iso()}, key)
        return self.one(key)

    def delete(self, key: str) -> None:
        self.view.kept.remove(self.view.user, self.type, key)

    def _put(self, document: Document, key: str = "") -> str:
        kept = {name: document[name] for name in document if name not in ("id", "resourceURI")}
        kept.pop("operations", None)
        return self.view.kept.put(self.view.user, self.type, kept, key)


class Templates(KeptOnes):
    type = "MachineTemplate"


class VolumeConfigurations(KeptOnes):
    type = "VolumeConfiguration"


class VolumeTemplates(KeptOnes):
    type = "VolumeTemplate"


class Credentials(KeptOnes):
    type = "Credential"

    def _put(self, document: Document, key: str = "") -> str:
        document = {**document, **document.pop("credentialTemplate", {})}
        _refuse(document, "userName", "password")
        document["key"] = _public_key(document.get("key", "")).encode().hex()
        return super()._put(document, key)


class Disks(Collection):
    type = "Disk"

    def all(self) -> list[Document]:
        return [
            self.document(
                disk["id"] or str(number),
                capacity=disk["size"] and disk["size"] * 2**20 // 1000,
                initialLocation=disk["target"] and f"/dev/{disk['target']}",
            )
            for number, disk in enumerate(self.view.cloud.machine(self.machine).disks)
        ]


class Interfaces(Collection):
    type = "MachineNetworkInterface"

    def all(self) -> list[Document]:
        nics = self.view.cloud.machine(self.machine).nics
        return [
            self.document(
                str(number),
                name=nic["network"],
                addresses=[{"ip": nic["ip"]}] if nic["ip"] else [],
                state="ACTIVE",
            )
            for number, nic in enumerate(nics)
        ]


class Attached(Collection):
    type = "MachineVolume"

    def all(self) -> list[Document]:
        volumes = [volume.id for volume in self.view.cloud.volumes() if volume.users != 0]
        return [one for volume in volumes for one in self._of(volume)]

    def one(self, key: str) -> Document:
        with _looking(key):
            for one in self._of(key):
                return one
        raise NotFound(f"volume {key!r} is not attached to machine {self.machine}")

    def add(self, body: Document) -> Document:
        volume = self.view.named("volumes", body.get("volume", body))[0]
        self.view.cloud.attach_volume(volume, self.machine)
        return self.one(volume)

    def delete(self, key: str) -> None:
        self.view.cloud.detach_volume(key, self.machine)

    def _of(self, volume: str) -> Iterator[Document]:
        for mount in self.view.cloud.volume_mounts(volume):
            if mount.machine_id == self.machine:
                yield self.document(
                    volume,
                    *(["delete"] if mount.hot_plugged else []),
                    initialLocation=f"/dev/{mount.device}" if mount.hot_plugged else None,
                    volume={"href": f"{self.view.base}volumes/{volume}"},
                )


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
PARTS: dict[str, type[Collection]] = {
    "disks": Disks,
    "volumes": Attached,
    "networkInterfaces": Interfaces,
}


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
