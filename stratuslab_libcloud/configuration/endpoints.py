"""
Turn endpoints as users write them into URLs.

The rules are those of compute-xmlrpc 1.2, pdisk-rest 1.1 and marketplace-rest 1.1, without the bugs
listed there: ports are respected, and a host name that starts with ``http`` is nothing special.
"""

import ipaddress
import re
import socket
from dataclasses import dataclass
from urllib.parse import SplitResult, unquote, urlsplit

__all__ = [
    "PUBLIC_MARKETPLACE",
    "CloudEndpoint",
    "address",
    "cloud",
    "is_engine",
    "is_loopback",
    "marketplace",
    "marketplace_beside",
    "origin",
    "proxy",
    "storage",
    "storage_beside",
    "with_port",
    "without_login",
]

PUBLIC_MARKETPLACE = "https://marketplace.stratuslab.eu"

_PROXY_PORT, _ENGINE_PORT = 2634, 2633
_STORAGE_PORT = 8445
_PROXY_PATH = "/one-proxy/xmlrpc"
_HOST = re.compile(r"[\w.-]+|[0-9A-Fa-f]*:[0-9A-Fa-f:.]*(%[\w.-]+)?")  # or IPv6
_LOCAL_ENGINE = "http://localhost:2633/RPC2"
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class CloudEndpoint:
    """The URL of a compute service, and the user name and password that it contained, if any."""

    url: str
    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return f"CloudEndpoint({self.url!r})"


def cloud(text: str, *, scheme: str = "https", local_engine: bool = True) -> CloudEndpoint:
    """
    Complete the endpoint of the compute service, without the ``pswd`` or ``cert`` segment.

    :param scheme: for a bare host name.
    :param local_engine: whether ``localhost`` alone means OpenNebula itself, on its own port
        (compute-xmlrpc 1.5).
    :raises ValueError: one line, without the text itself, which may contain a password.
    """
    if local_engine and text.strip() in ("localhost", "127.0.0.1"):  # exactly these words
        return CloudEndpoint(_LOCAL_ENGINE)
    bare = "://" not in text
    parts = _split(text, scheme)
    segments = [segment for segment in parts.path.split("/") if segment]
    if segments[-2:-1] in (["pswd"], ["cert"]):
        del segments[-2]
    authority = _authority(parts, default=_PROXY_PORT if bare and not segments else None)
    default = "RPC2" if bare and parts.port == _ENGINE_PORT else "xmlrpc"
    path = "/".join(segments or [default])
    return CloudEndpoint(
        f"{parts.scheme}://{authority}/{path}",
        unquote(parts.username or ""),
        unquote(parts.password or ""),
    )


def with_port(text: str, port: int) -> str:
    """
    Add a port to an endpoint.

    :raises ValueError: the endpoint names another port, or the port is invalid.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 < port < 65536:
        raise ValueError(f"cannot have the port {port!r}")
    parts = _split(text, "https")
    if parts.port not in (None, port):
        raise ValueError(f"names port {parts.port}, but port {port} was given too")
    if parts.port:
        return text
    text = text.strip()
    scheme, separator, rest = text.rpartition("://")
    authority, slash, path = rest.partition("/")
    if authority.count(":") > 1 and not authority.endswith("]"):
        authority = f"[{authority}]"  # an IPv6 address without its brackets
    return f"{scheme}{separator}{authority}:{port}{slash}{path}"


def is_engine(url: str) -> bool:
    """Whether the URL is that of OpenNebula itself, not of a proxy in front of it."""
    return url.endswith("/RPC2")


def storage(text: str, *, scheme: str = "https", port: int = _STORAGE_PORT) -> str:
    """
    Complete the endpoint of the storage service, without ``/pswd`` or ``/cert``.

    :param scheme: for a bare host name (``pdisk_protocol``).
    :param port: for a bare host name (``pdisk_port``).
    :raises ValueError: one line.
    """
    parts = _split(text, scheme)
    path = parts.path.rstrip("/")
    path = path.removesuffix("/pswd").removesuffix("/cert").rstrip("/")
    return f"{parts.scheme}://{_authority(parts, port if '://' not in text else None)}{path}"


def storage_beside(text: str, *, scheme: str = "https", port: int = _STORAGE_PORT) -> str | None:
    """
    Derive the storage service from the cloud endpoint (guide 4.7).

    :return: its base URL, or ``None`` if the endpoint is an OpenNebula engine.
    """
    parts = _split(text, scheme)
    bare = "://" not in text
    engine = bare and parts.port == _ENGINE_PORT and not parts.path.strip("/")
    if engine or is_engine(parts.path.rstrip("/")):
        return None
    if parts.port == _PROXY_PORT or (bare and not parts.path.strip("/")):
        known = parts.port if parts.port != _PROXY_PORT else None
        return f"{parts.scheme}://{_host(parts)}:{known or port}"
    base = parts.path.rstrip("/").removesuffix(_PROXY_PATH) if _is_proxy(parts.path) else ""
    return f"{parts.scheme}://{_authority(parts)}{base}/pdisk"


def marketplace(text: str) -> str:
    """
    Complete the endpoint of the Marketplace, to which ``/metadata`` is appended.

    :raises ValueError: one line.
    """
    parts = _split(text, "https")
    return f"{parts.scheme}://{_authority(parts)}{parts.path.rstrip('/')}"


def marketplace_beside(cloud_url: str) -> str:
    """Derive the Marketplace of an all-in-one site (14.06 layout), else return the public one."""
    parts = urlsplit(cloud_url)
    if not _is_proxy(parts.path):
        return PUBLIC_MARKETPLACE
    return f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(_PROXY_PATH)}/marketplace"


def proxy(text: str) -> str:
    """
    Check the URL of a proxy; without a scheme it means ``http``.

    :raises ValueError: one line, without the text itself, which may contain a password.
    """
    url = text if "://" in text else f"http://{text}"
    _checked(url)
    return url


def address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """
    Parse an IP address in any notation; ``None`` for a host name.

    An IPv4 address that is mapped to IPv6 is returned as IPv4.
    """
    try:
        found = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(host))  # such as 127.1
        except (OSError, ValueError):
            return None
    return getattr(found, "ipv4_mapped", None) or found


def is_loopback(host: str) -> bool:
    """Whether an address, or a host name (RFC 6761, 6.3), means this machine itself."""
    found = address(host)
    return found.is_loopback if found else f".{host.lower()}".rstrip(".").endswith(".localhost")


def origin(url: str) -> tuple[str, object, int | None]:
    """
    Return scheme, host and port, which are equal for two URLs of the same server.

    :raises ValueError: it is not a URL, or it contains a user name.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("contains a user name")
    host = parts.hostname or ""
    return parts.scheme, address(host) or host, parts.port or _PORTS.get(parts.scheme)


def without_login(text: str) -> str:
    """Remove the user name and password from an endpoint or the URL of a proxy."""
    return re.sub(r"^([^/@]*://)?[^/]*@", r"\1", text.strip())


def _is_proxy(path: str) -> bool:
    return path.rstrip("/").endswith(_PROXY_PATH)


def _split(text: str, scheme: str) -> SplitResult:
    text = text.strip()
    if "://" not in text:
        if text.count(":") > 1 and not text.startswith("["):
            text = f"[{text}]"  # an IPv6 address without its brackets
        text = f"{scheme}://{text}"
    parts = _checked(text)
    if parts.scheme not in ("http", "https"):
        raise ValueError("must be a host name, or a URL that begins with https:// or http://")
    return parts


def _checked(url: str) -> SplitResult:
    """Refuse what cannot stand in a request line or be asked of a name server."""
    if any(c.isspace() or not c.isprintable() for c in url):
        raise ValueError("contains blanks or line breaks")
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname or ""
        host.encode("idna")
        # With a backslash, for example, requests would ask another host than urlsplit() returns.
        if host and not _HOST.fullmatch(host):
            raise ValueError
    except ValueError:
        raise ValueError("is neither a host name nor a URL") from None
    if not host or port == 0:
        raise ValueError("names no host" if not host else "has port 0")
    return parts


def _host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    return f"[{host}]" if ":" in host else host


def _authority(parts: SplitResult, default: int | None = None) -> str:
    port = parts.port or default
    return f"{_host(parts)}:{port}" if port else _host(parts)
