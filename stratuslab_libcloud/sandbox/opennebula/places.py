"""What a cloud consists of: datastores, networks, zones; and what users do not see (modern 3)."""

from ipaddress import IPv4Address

from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.documents import Value, network_document, xml_of
from stratuslab_libcloud.sandbox.opennebula.new_images import FREE_MIB
from stratuslab_libcloud.sandbox.opennebula.records import Image, Network
from stratuslab_libcloud.sandbox.opennebula.refusals import AUTHORIZATION, NO_EXISTS, RefusedError
from stratuslab_libcloud.sandbox.opennebula.rights import obtain, pool
from stratuslab_libcloud.sandbox.opennebula.sources import app_images
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["configuration", "datastore", "datastores", "empty", "network", "networks", "version"]

_ONEADMIN: dict[str, Value] = {"UID": 0, "GID": 0, "UNAME": "oneadmin", "GNAME": "oneadmin"}
_RIGHTS = [f"{who}_{right}" for who in ("OWNER", "GROUP", "OTHER") for right in "UMA"]
_OWN = dict(zip(_RIGHTS, "110100000", strict=True))
_DATASTORES = (("system", 1, "SYSTEM_DS"), ("default", 0, "IMAGE_DS"), ("files", 2, "FILE_DS"))


def version(core: Core, account: Account) -> str:
    """Return the version of the engine."""
    return core.version


def configuration(core: Core, account: Account) -> str:
    """Return the configuration, of which the sandbox has what clients may ask for."""
    values: dict[str, Value] = {
        "DEFAULT_DEVICE_PREFIX": "sd",
        "DEFAULT_CDROM_DEVICE_PREFIX": "sd" if core.is_new else "hd",
        "DEFAULT_IMAGE_TYPE": "OS",
        "DATASTORE_CAPACITY_CHECK": "YES",
        "VM_RESTRICTED_ATTR": [{}],
    }
    return xml_of("OPENNEBULA_CONFIGURATION", {**values, "VM_RESTRICTED_ATTR": "NIC/MAC"})


def datastores(core: Core, account: Account) -> str:
    """Return the three datastores that every cloud has."""
    documents = "".join(datastore(core, account, number) for number in range(len(_DATASTORES)))
    return f"<DATASTORE_POOL>{documents}</DATASTORE_POOL>"


def datastore(core: Core, account: Account, number: int, decrypt: bool = False) -> str:
    """Return one of them; an image datastore says which images are in it."""
    if not 0 <= number < len(_DATASTORES):
        raise RefusedError(f"Error getting datastore [{number}].", NO_EXISTS, number)
    name, kind, type_name = _DATASTORES[number]
    with core.reading() as book:
        inside = [image for image in book.all(Image) if image.datastore == number]
    used = sum(image.size for image in inside)
    values: dict[str, Value] = {
        "ID": number,
        **_ONEADMIN,
        "NAME": name,
        "PERMISSIONS": _OWN,
        "DS_MAD": "-" if kind == 1 else "fs",
        "TM_MAD": "local",
        "BASE_PATH": f"/var/lib/one/datastores/{number}",
        "TYPE": kind,
        "DISK_TYPE": 0,
        "STATE": 0,
        "CLUSTERS": {"ID": 0},
        "TOTAL_MB": 0 if kind == 1 else FREE_MIB * 2,
        "FREE_MB": 0 if kind == 1 else FREE_MIB,
        "USED_MB": 0 if kind == 1 else used,
        "IMAGES": {},
        "TEMPLATE": {"DS_MAD": "fs", "TM_MAD": "local", "TYPE": type_name},
    }
    document = xml_of("DATASTORE", values)
    ids = "".join(f"<ID>{image.id}</ID>" for image in inside)
    return document.replace("<IMAGES/>", f"<IMAGES>{ids}</IMAGES>")


def networks(core: Core, account: Account, flag: int, start: int, end: int) -> str:
    """Return the networks, all of which everybody may use."""
    with core.reading() as book:
        found = pool(book, account, Network, flag, start, end)
    documents = "".join(network_document(one, _last(one), core.is_new, full=False) for one in found)
    return f"<VNET_POOL>{documents}</VNET_POOL>"


def network(core: Core, account: Account, number: int, decrypt: bool = False) -> str:
    """Return a network."""
    with core.reading() as book:
        found = obtain(book, account, Network, number, "USE")
    return network_document(found, _last(found), core.is_new, full=True)


def _last(network: Network) -> str:
    return str(IPv4Address(network.first) + network.size - 1)


def zones(core: Core, account: Account) -> str:
    """Return the only zone."""
    template: dict[str, Value] = {"ENDPOINT": "http://localhost:2633/RPC2"}
    if core.is_new:
        template["ENDPOINT_GRPC"] = "localhost:2634"
    values: dict[str, Value] = {"ID": 0, "NAME": "OpenNebula", "STATE": 0, "TEMPLATE": template}
    return f"<ZONE_POOL>{xml_of('ZONE', {**values, 'SERVER_POOL': {}})}</ZONE_POOL>"


def groups(core: Core, account: Account) -> str:
    """Return the group of all users."""
    values: dict[str, Value] = {"ID": 1, "NAME": "users", "TEMPLATE": {}}
    values |= {"USERS": {"ID": account.uid}, "ADMINS": {}}
    return f"<GROUP_POOL>{xml_of('GROUP', values)}<DEFAULT_GROUP_QUOTAS/></GROUP_POOL>"


def security_groups(core: Core, account: Account, flag: int, start: int, end: int) -> str:
    """Return the default security group, which everybody may use."""
    values: dict[str, Value] = {"ID": 0, **_ONEADMIN, "NAME": "default", "PERMISSIONS": _OWN}
    values |= {"UPDATED_VMS": {}, "OUTDATED_VMS": {}, "UPDATING_VMS": {}, "ERROR_VMS": {}}
    rule = {"PROTOCOL": "ALL", "RULE_TYPE": "INBOUND"}
    values["TEMPLATE"] = {"DESCRIPTION": "The default security group", "RULE": rule}
    return f"<SECURITY_GROUP_POOL>{xml_of('SECURITY_GROUP', values)}</SECURITY_GROUP_POOL>"


def markets(core: Core, account: Account) -> str:
    """Return the only marketplace, which has the images that the site offers."""
    with core.reading() as book:
        numbers = [image.id for image in app_images(book)]
    values: dict[str, Value] = {"ID": 0, **_ONEADMIN, "NAME": "OpenNebula Public", "STATE": 0}
    values |= {"MARKET_MAD": "http", "ZONE_ID": 0, "TOTAL_MB": 0, "FREE_MB": 0, "USED_MB": 0}
    values |= {"MARKETPLACEAPPS": {}, "PERMISSIONS": _OWN, "TEMPLATE": {"MARKET_MAD": "http"}}
    ids = "".join(f"<ID>{number}</ID>" for number in numbers)
    document = xml_of("MARKETPLACE", values)
    document = document.replace("<MARKETPLACEAPPS/>", f"<MARKETPLACEAPPS>{ids}</MARKETPLACEAPPS>")
    return f"<MARKETPLACE_POOL>{document}</MARKETPLACE_POOL>"


def apps(core: Core, account: Account, flag: int, start: int, end: int) -> str:
    """Return the apps that images can be made of."""
    with core.reading() as book:
        known = {image.id for image in app_images(book)}
        found = [one for one in pool(book, account, Image, flag, start, end) if one.id in known]
    return f"<MARKETPLACEAPP_POOL>{''.join(map(_app, found))}</MARKETPLACEAPP_POOL>"


def _app(image: Image) -> str:
    values: dict[str, Value] = {"ID": image.id, **_ONEADMIN, "NAME": image.name}
    values |= {"PERMISSIONS": _OWN, "REGTIME": image.born, "ORIGIN_ID": -1, "ZONE_ID": 0}
    values |= {"SOURCE": image.source, "MD5": "", "SIZE": image.size, "FORMAT": image.format}
    values |= {"DESCRIPTION": image.template.get("DESCRIPTION", ""), "VERSION": ""}
    values |= {"APPTEMPLATE64": "", "MARKETPLACE_ID": 0, "MARKETPLACE": "OpenNebula Public"}
    values |= {"STATE": 1, "TYPE": 1, "TEMPLATE": {"VMTEMPLATE64": ""}}
    return xml_of("MARKETPLACEAPP", values)


class empty:  # noqa: N801 - it stands for a function
    """A pool in which a user sees nothing."""

    def __init__(self, tag: str) -> None:
        self._document = f"<{tag}></{tag}>"

    def __call__(self, core: Core, account: Account, *parameters: int) -> str:
        return self._document


class forbidden:  # noqa: N801 - it stands for a function
    """A call that users may not make."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __call__(self, core: Core, account: Account, *parameters: object) -> str:
        number = next((f" [{one}]" for one in parameters if isinstance(one, int)), "")
        raise RefusedError(f"Not authorized to perform {self._what}{number}.", AUTHORIZATION)
