"""Checks of what callers pass to the driver; all raise :class:`.InvalidValueError`."""

import os
import re
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from libcloud.compute.base import NodeSize

from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.errors import InvalidValueError
from stratuslab_libcloud.paths import expanded

__all__ = [
    "all_of",
    "as_bytes",
    "as_number",
    "as_truth",
    "check_interface",
    "checked_proxy",
    "checked_timeout",
    "expected",
    "key_path",
    "network_name",
    "numbers_of",
    "template_id",
]

T = TypeVar("T")

_LONGEST_TIMEOUT = 1e6  # seconds; far larger ones overflow in the socket module


def expected(value: object, kind: type[T], name: str) -> T:
    """Return the value if it is of that kind."""
    if not isinstance(value, kind):
        raise InvalidValueError(f"{name} must be a {kind.__name__}, not {value!r}")
    return value


def all_of(values: Sequence[T], kind: type[T], name: str) -> list[T]:
    """Return the values as a list if each is of that kind."""
    if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
        raise InvalidValueError(f"{name} must be a list of {kind.__name__}, not {values!r}")
    return [expected(value, kind, f"each item of {name}") for value in values]


def numbers_of(size: NodeSize | None) -> dict[str, Any]:
    """
    Return what a size says about a machine; one without ``extra["cpus"]`` has one CPU.

    Without a size all numbers are 0: they are those of a template.
    """
    if size is None:
        return {"cpus": 0, "ram": 0, "swap": 0}
    extra = size.extra or {}
    return {"cpus": extra.get("cpus", 1), "ram": size.ram, "swap": extra.get("swap", 0)}


def as_bytes(user_data: str | bytes | None) -> bytes:
    """Return user data as bytes, empty if there is none."""
    if user_data is None or isinstance(user_data, bytes):
        return user_data or b""
    return expected(user_data, str, "ex_user_data").encode("utf-8", "surrogateescape")


def key_path(path: str | os.PathLike[str], name: str = "ssh_key") -> str:
    """Return the path of a key, with ``~`` replaced by the home directory."""
    try:
        return str(expanded(os.fspath(path)))
    except TypeError:
        raise InvalidValueError(f"{name} must be a path, not {path!r}") from None
    except ValueError as error:
        raise InvalidValueError(f"{name} {error}") from None


def check_interface(name: str) -> None:
    """Refuse a name that is not an attribute with a node's addresses."""
    if name not in ("public_ips", "private_ips"):
        raise InvalidValueError(f"ssh_interface must be public_ips or private_ips, not {name!r}")


def checked_timeout(seconds: float) -> float:
    """Return the time-out as a float, if a socket can take it."""
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not number or not 0 < seconds <= _LONGEST_TIMEOUT:
        raise InvalidValueError(f"timeout must be a positive number of seconds, not {seconds!r}")
    return float(seconds)


def as_number(port: int | str | None) -> int | None:
    """Return a port as a number, also if it is text, as orchestrators pass it."""
    return int(port) if isinstance(port, str) and re.fullmatch("[0-9]{1,5}", port) else port  # type: ignore[return-value] # refused later


def as_truth(secure: bool | str) -> bool:
    """Return a truth value, also if it is text, as orchestrators pass it."""
    if not isinstance(secure, str):
        return bool(secure)
    if secure.lower() not in ("true", "false"):
        raise InvalidValueError(f"secure must be True or False, not {secure!r}")
    return secure.lower() == "true"


def network_name(name: str) -> str:
    """Return the name or id of a network, if it can be one."""
    if not isinstance(name, str) or not name.strip():
        raise InvalidValueError(f"{name!r} is not the name of a network")
    return name


def template_id(template: object) -> str:
    """Return the id of a template, which may be an id itself; empty if there is none."""
    if template is None:
        return ""
    found = str(getattr(template, "id", template))
    if not found:
        raise InvalidValueError(f"ex_template must be a template or its id, not {template!r}")
    return found


def checked_proxy(url: str | None) -> str | None:
    """Return the URL of a proxy, if it is one."""
    try:
        if url is None or "://" in url:
            return url and endpoints.proxy(url)
        problem = "has no scheme"
    except ValueError as error:  # its text does not repeat the URL, which may contain a password
        problem = str(error)
    except TypeError:
        problem = "is not text"
    raise InvalidValueError(f"proxy_url {problem}; give a URL such as http://proxy:3128")
