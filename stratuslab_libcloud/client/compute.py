"""
Machines: OpenNebula's XML-RPC calls and VM documents (compute-xmlrpc 2 to 5).

Answers of any length and documents of any generation are read; every element is optional.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit
from xml.parsers import expat
from xmlrpc.client import dumps

from lxml import etree

from stratuslab_libcloud import endpoints, safe_xml
from stratuslab_libcloud.client.errors import (
    ConfigurationError,
    ConflictError,
    CredentialsError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    ServiceError,
)
from stratuslab_libcloud.client.transport import TLS, Answer, Service
from stratuslab_libcloud.config import Certificate, Credentials, Password

__all__ = ["Compute", "Disk", "Machine", "Nic"]

T = TypeVar("T")

_ACTIVE = 3
_MINE, _ANY_ID, _NOT_DONE = -3, -1, -1

_STATES = ("Init", "Pending", "Hold", "Active", "Stopped", "Suspended", "Done", "Failed")
_ACTIVE_STATES = (
    "Init",
    "Prolog",
    "Boot",
    "Running",
    "Migrate",
    "Save_Stop",
    "Save_Suspend",
    "Save_Migrate",
    "Prolog_Migrate",
    "Prolog_Resume",
    "Epilog_Stop",
    "Epilog",
    "Shutdown",
    "Cancel",
    "Failure",
    "Delete",
    "Unknown",
)


@dataclass(frozen=True)
class Nic:
    """A network card; ``network`` is the name of the network that it is in."""

    ip: str | None
    network: str | None


@dataclass(frozen=True)
class Disk:
    """
    A disk in a machine's document.

    :ivar source: URL of a Marketplace entry or ``pdisk:`` URI.
    :ivar size: MiB.
    """

    id: str | None
    target: str | None
    source: str | None
    size: int | None
    type: str | None


@dataclass(frozen=True)
class Machine:
    """
    What a VM document says.

    :ivar state: ``STATE``; -1 where it is missing.
    :ivar lcm_state: ``LCM_STATE``, which matters while the state is 3.
    :ivar host: where it runs (the latest record).
    :ivar cpus: cores.
    :ivar memory: MiB, as asked for.
    :ivar memory_kib: in use, as measured.
    :ivar cpu_percent: of one core, as measured.
    :ivar started: UNIX seconds.
    """

    id: str
    name: str
    owner: str | None
    state: int
    lcm_state: int
    nics: tuple[Nic, ...]
    disks: tuple[Disk, ...]
    host: str | None
    cpus: int | None
    memory: int | None
    memory_kib: int | None
    cpu_percent: float | None
    started: int | None
    error: str | None

    @property
    def summary(self) -> str:
        """The state in a word, as the commands show it (compute-xmlrpc 3.4)."""
        labels, number = (
            (_ACTIVE_STATES, self.lcm_state) if self.state == _ACTIVE else (_STATES, self.state)
        )
        return labels[number] if 0 <= number < len(labels) else f"{self.state}/{self.lcm_state}"

    @property
    def running(self) -> bool:
        return (self.state, self.lcm_state) == (_ACTIVE, 3)


class Compute:
    """The compute service of one site: StratusLab's proxy, or an OpenNebula engine itself."""

    def __init__(
        self,
        endpoint: str,
        credentials: Credentials,
        tls: TLS,
        *,
        timeout: float,
        proxy_url: str | None = None,
    ) -> None:
        self.endpoint = endpoint
        # A proxy knows the user by HTTP or TLS and ignores the session: the password goes once.
        self._session = "dummy:pass"
        url, login = endpoint, credentials
        if not endpoints.is_engine(endpoint):
            url = _spliced(endpoint, "cert" if isinstance(credentials, Certificate) else "pswd")
        elif isinstance(credentials, Password):
            self._session = f"{credentials.username}:{credentials.password}"
        else:
            raise ConfigurationError(f"the engine {endpoint} takes a password, not a certificate")
        self._service = Service(endpoint, login, tls, url=url, timeout=timeout, proxy_url=proxy_url)

    def close(self) -> None:
        """Close idle connections."""
        self._service.close()

    def allocate(self, template: str, name: str) -> str:
        """
        Ask for a machine.

        :param template: text as :func:`stratuslab_libcloud.client.template.render` makes it.
        :param name: for the message when the answer is lost.
        :return: its id.
        """
        lost = f"a node named {name!r} may have been created: look for it with list_nodes()"
        try:
            value = self._send(_read_value, "one.vm.allocate", template, lost=lost)
        except ServiceError as error:
            if error.value.startswith("[one.vm.allocate]"):  # the tag of OpenNebula 5.4 and later
                raise NotSupportedError(
                    f"{error.value}; this is a modern OpenNebula, on which this driver can list "
                    "and end nodes, but not yet start them"
                ) from error
            raise
        if not value.isdecimal():
            raise MalformedAnswerError(f"answered no node id; {lost}")
        return value

    def info(self, machine_id: str) -> Machine:
        """One machine, in whatever state."""
        return self._send(_read_machine, "one.vm.info", _checked(machine_id))

    def machines(self, timeout: float | None = None) -> list[Machine]:
        """The account's machines that have not been ended."""
        return self._send(
            _read_pool,
            "one.vmpool.info",
            *(_MINE, _ANY_ID, _ANY_ID, _NOT_DONE),
            streamed=True,
            timeout=timeout,
        )

    def kill(self, machine_id: str) -> None:
        """End a machine at once; nothing is saved."""
        try:
            self._act(("finalize", "terminate-hard"), machine_id)
        except NotFoundError as error:
            if not error.retried:
                raise

    def shutdown(self, machine_id: str) -> None:
        """Ask a running machine to shut down."""
        # Sent once: when it had its effect, a second one would find the wrong state.
        lost = f"node {machine_id} may be shutting down all the same"
        self._act(("shutdown", "terminate"), machine_id, lost=lost)

    def _act(self, words: tuple[str, str], machine_id: str, lost: str | None = None) -> None:
        number = _checked(machine_id)
        try:
            self._send(_read_value, "one.vm.action", words[0], number, lost=lost)
        except NotSupportedError:
            self._send(_read_value, "one.vm.action", words[1], number, lost=lost)

    def _send(
        self,
        read: Callable[[Answer], T],
        method: str,
        *arguments: str | int,
        lost: str | None = None,
        streamed: bool = False,
        timeout: float | None = None,
    ) -> T:
        return self._service.send(
            "POST",
            "",
            read,
            accept="text/xml",
            body=dumps((self._session, *arguments), method).encode(),
            content_type="text/xml",
            lost=lost,
            streamed=streamed,
            timeout=timeout,
        )


def _spliced(endpoint: str, way: str) -> str:
    """``pswd`` or ``cert`` before the last path segment (compute-xmlrpc 1.3)."""
    parts = urlsplit(endpoint)
    folder, _, last = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=f"{folder}/{way}/{last}"))


def _checked(machine_id: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", str(machine_id)):
        raise InvalidValueError(f"{machine_id!r} is not the id of a node")
    return int(machine_id)


# -- XML-RPC answers ---------------------------------------------------------------------------


class _Reply:
    """
    An XML-RPC answer, read as it comes: two to five values, or a fault (compute-xmlrpc 2.1, 7.3).

    A pool of machines is one string in it, of many megabytes: :meth:`document` hands that on
    before it is complete, so that it is never held whole.
    """

    def __init__(self) -> None:
        self.values: list[str] = []
        self._kinds: list[str] = []
        self._fault = False
        self._kind = ""
        self._text: list[str] = []
        self._in_value = False
        parser = expat.ParserCreate()
        parser.buffer_text = True
        parser.buffer_size = 1 << 20
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        parser.StartDoctypeDeclHandler = self._doctype
        self._parser = parser

    def document(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Read the answer; yield the text of its second value, if it tells of success."""
        try:
            for piece in pieces:
                self._parser.Parse(piece, False)
                if self._text and self._in_value and len(self.values) == 1 and self._success:
                    text, self._text = "".join(self._text), []
                    yield text.encode()
            self._parser.Parse(b"", True)
        except (expat.ExpatError, LookupError) as error:
            raise safe_xml.UnsafeXMLError(f"not well-formed XML ({error})") from None
        self._raise_failure()
        if len(self.values) > 1:
            yield self.values[1].encode()

    @property
    def _success(self) -> bool:
        return not self._fault and self.values[0].strip() in ("1", "true")

    def _raise_failure(self) -> None:
        if self._fault:
            fault = dict(zip(self._kinds, self.values, strict=True))
            code, text = fault.get("int", fault.get("i4", "?")), fault.get("string", "")
            raise ServiceError(f"XML-RPC fault {code}: {text}")
        if not self.values or self._kinds[0] != "boolean":
            raise MalformedAnswerError(
                "the answer is XML, but not OpenNebula's; is this the cloud?"
            )
        if not self._success:
            text = self.values[1] if len(self.values) > 1 else "refused without a reason"
            code = self.values[2] if len(self.values) > 2 else ""
            raise _refusal(text, code)

    def _start(self, name: str, _: object) -> None:
        if name == "value":
            self._in_value, self._kind, self._text = True, "string", []
        elif name in ("array", "struct"):
            self._in_value = False
        elif self._in_value:
            self._kind, self._text = name, []
        elif name == "fault":
            self._fault = True

    def _end(self, name: str) -> None:
        if name == "value" and self._kind:
            self.values.append("".join(self._text))
            self._kinds.append(self._kind)
            self._kind = ""
        elif name == "array":
            self._kind = ""
        self._in_value = False

    def _data(self, text: str) -> None:
        if self._in_value:
            self._text.append(text)

    def _doctype(self, *_: object) -> None:
        raise safe_xml.UnsafeXMLError("XML with a DOCTYPE is refused")


def _read_value(answer: Answer) -> str:
    return b"".join(_document(answer)).decode()


def _read_machine(answer: Answer) -> Machine:
    machine = _to_machine(safe_xml.parse(b"".join(_document(answer))))
    if machine is None:
        raise MalformedAnswerError("answered a VM document without an ID")
    return machine


def _read_pool(answer: Answer) -> list[Machine]:
    elements = safe_xml.stream(_document(answer), "VM", ("VM_POOL",))
    return [machine for element in elements if (machine := _to_machine(element))]


def _document(answer: Answer) -> Iterator[bytes]:
    if answer.content_type in ("text/html", "application/json"):
        raise MalformedAnswerError(
            f"answered {answer.content_type}, not XML-RPC; is this the cloud endpoint?"
        )
    return _Reply().document(answer.pieces)


def _refusal(text: str, code: str) -> ServiceError:
    """By code where there is one; OpenNebula 2.2 sends none (compute-xmlrpc 2.2, 7.5)."""
    kind = ServiceError
    if "not supported" in text or "Unknown action" in text:
        kind = NotSupportedError
    elif code == "256" or "User couldn't be authenticated" in text:
        return CredentialsError(f"{text}; check user name and password")
    elif code == "512" or "ot authorized to perform" in text:
        kind = NotPermittedError
    elif code == "1024" or "Error getting V" in text or "Error getting virtual" in text:
        kind = NotFoundError
    elif code == "2048" or "Wrong state" in text or "wrong state" in text:
        kind = ConflictError
    return kind(text)


# -- VM documents ------------------------------------------------------------------------------


def _to_machine(vm: etree._Element) -> Machine | None:
    """A machine; ``None`` where there is no ID to name it by."""
    identifier = (vm.findtext("ID") or "").strip()
    if not re.fullmatch("[0-9]{1,9}", identifier):
        return None
    template = vm.find("TEMPLATE")
    template = template if template is not None else etree.Element("TEMPLATE")
    return Machine(
        id=identifier,
        name=vm.findtext("NAME") or "",
        owner=vm.findtext("UNAME"),
        state=_state(vm, "STATE"),
        lcm_state=_state(vm, "LCM_STATE"),
        nics=tuple(map(_to_nic, template.iterfind("NIC"))),
        disks=tuple(map(_to_disk, template.iterfind("DISK"))),
        host=_host(vm),
        cpus=_integer(template.findtext("VCPU")) or _integer(template.findtext("CPU")),
        memory=_integer(template.findtext("MEMORY")),
        memory_kib=_integer(vm.findtext("MONITORING/MEMORY") or vm.findtext("MEMORY")),
        cpu_percent=_decimal(vm.findtext("MONITORING/CPU") or vm.findtext("CPU")),
        started=_integer(vm.findtext("STIME")) or None,
        error=_error(vm),
    )


def _state(vm: etree._Element, tag: str) -> int:
    # A name can carry a false STATE into a document of OpenNebula 3.2, but only before the real.
    texts = [element.text for element in vm.iterfind(tag)]
    number = _integer(texts[-1]) if texts else None
    return -1 if number is None else number


def _to_nic(nic: etree._Element) -> Nic:
    ip = nic.findtext("IP") or nic.findtext("IP6_GLOBAL") or nic.findtext("IP6")
    return Nic(ip.strip() if ip else None, nic.findtext("NETWORK"))


def _to_disk(disk: etree._Element) -> Disk:
    return Disk(
        id=disk.findtext("DISK_ID"),
        target=disk.findtext("TARGET"),
        source=disk.findtext("SOURCE"),
        size=_integer(disk.findtext("SIZE")),
        type=disk.findtext("TYPE"),
    )


def _host(vm: etree._Element) -> str | None:
    records = [*vm.iterfind("HISTORY_RECORDS/HISTORY"), *vm.iterfind("HISTORY")]
    if not records:
        return None
    latest = max(records, key=lambda record: _integer(record.findtext("SEQ")) or 0)
    return latest.findtext("HOSTNAME") or None


def _error(vm: etree._Element) -> str | None:
    """Wherever the generations put it; the last of several (compute-xmlrpc 5.1, 5.5)."""
    paths = ("TEMPLATE/ERROR/MESSAGE", "TEMPLATE/ERROR", "USER_TEMPLATE/ERROR")
    for path in (*paths, "TEMPLATE/ERROR_MESSAGE"):
        texts = [element.text for element in vm.iterfind(path) if (element.text or "").strip()]
        if texts:
            return str(texts[-1]).strip()
    return None


def _integer(text: str | None) -> int | None:
    text = (text or "").strip()
    return int(text) if re.fullmatch("-?[0-9]{1,18}", text) else None


def _decimal(text: str | None) -> float | None:
    text = (text or "").strip()
    return float(text) if re.fullmatch(r"-?[0-9]{1,18}(\.[0-9]{1,18})?", text) else None
