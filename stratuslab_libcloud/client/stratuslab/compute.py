"""Machines: OpenNebula's XML-RPC calls (compute-xmlrpc 1 and 2)."""

import re
from collections.abc import Callable
from typing import TypeVar
from urllib.parse import urlsplit, urlunsplit
from xmlrpc.client import dumps

from stratuslab_libcloud.client.cloud import Machine
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.engine.machine import to_machine, weight
from stratuslab_libcloud.client.engine.reply import document, starting
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.listing import bounded
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    CredentialsError,
    MalformedAnswerError,
    NotFoundError,
    NotSupportedError,
    ServiceError,
)
from stratuslab_libcloud.untrusted import xml

__all__ = ["Compute"]

T = TypeVar("T")

# What a refusal is about, such as "Error getting virtual machine [99]."
_NAMED = re.compile(r"(?:VM|[Vv]irtual machine) \[([0-9]{1,9})\]")
_MINE, _ANY_ID, _NOT_DONE = -3, -1, -1


class Compute:
    """The compute service of one site: StratusLab's proxy, or an OpenNebula engine itself."""

    def __init__(self, endpoint: str, credentials: Credentials, options: HTTPOptions) -> None:
        self.endpoint = endpoint
        # The password travels once. A proxy knows the user by HTTP or TLS and ignores the session;
        # an engine knows the session only.
        self._engine = endpoints.is_engine(endpoint)
        if not self._engine:
            self._session = "dummy:pass"
            url = _spliced(endpoint, "cert" if isinstance(credentials, Certificate) else "pswd")
        elif isinstance(credentials, Password):
            self._session = f"{credentials.username}:{credentials.password}"
            url = endpoint
        else:
            raise ConfigurationError(f"the engine {endpoint} takes a password, not a certificate")
        self._service = Service(endpoint, credentials, options, url=url, basic=not self._engine)

    def close(self) -> None:
        """Close idle connections."""
        self._service.close()

    def allocate(self, template: str, name: str) -> str:
        """
        Ask for a machine.

        :param template: as :func:`stratuslab_libcloud.client.stratuslab.template.render` writes it.
        :param name: for the message when the answer is lost.
        :return: its id.
        """
        lost = f"a node named {name!r} may have been created: look for it with list_nodes()"
        try:
            value = self._send(_read_value, "one.vm.allocate", template, lost=lost).strip()
        except ServiceError as error:
            if error.value.startswith("[one.vm.allocate]"):  # the tag of OpenNebula 5.4 and later
                raise NotSupportedError(
                    error.value,
                    advice="this is a modern OpenNebula, on which this driver can list and end "
                    "nodes, but not yet start them",
                ) from error
            raise
        if not is_id(value):
            raise MalformedAnswerError("answered no node id", advice=lost)
        return value

    def info(self, machine_id: str, timeout: float | None = None) -> Machine:
        """One machine, in whatever state."""
        return self._send_about(machine_id, _read_machine, "one.vm.info", timeout=timeout)

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
        except (NotFoundError, ConflictError) as error:
            gone = isinstance(error, NotFoundError)
            if not (error.retried and (gone or self.info(machine_id).ending)):
                raise

    def shutdown(self, machine_id: str) -> None:
        """Ask a running machine to shut down."""
        # Sent once: when it had its effect, a second one would find the wrong state.
        lost = f"node {machine_id} may be shutting down all the same"
        self._act(("shutdown", "terminate"), machine_id, lost=lost)

    def _act(self, words: tuple[str, str], machine_id: str, lost: str | None = None) -> None:
        try:
            self._send_about(machine_id, _read_value, "one.vm.action", words[0], lost=lost)
        except NotSupportedError:
            self._send_about(machine_id, _read_value, "one.vm.action", words[1], lost=lost)

    def _send_about(
        self,
        machine_id: str,
        read: Callable[[Answer], T],
        method: str,
        *arguments: str,
        lost: str | None = None,
        timeout: float | None = None,
    ) -> T:
        """Send a request about one machine; an answer or refusal about another one is an error."""
        number = int(checked_id(machine_id))

        def checked(answer: Answer) -> T:
            try:
                value = read(answer)
            except ServiceError as error:
                found = _NAMED.search(error.value)
                check(found[1] if found else "")
                raise
            check(value.id if isinstance(value, Machine) else str(value).strip())
            return value

        def check(named: str) -> None:
            if is_id(named) and int(named) != number:
                error = MalformedAnswerError(
                    f"was asked about node {number}, and answered about node {named}"
                )
                # Nobody knows what became of either: only a look may be repeated.
                error.passing = method == "one.vm.info"
                raise error

        return self._send(checked, method, *arguments, number, lost=lost, timeout=timeout)

    def _send(
        self,
        read: Callable[[Answer], T],
        method: str,
        *arguments: str | int,
        lost: str | None = None,
        streamed: bool = False,
        timeout: float | None = None,
    ) -> T:
        def read_from_here(answer: Answer) -> T:
            try:
                return read(answer)
            except CredentialsError as error:
                if self._engine:
                    raise
                # The proxy has let the user in: a wrong password is HTTP 401 (compute-xmlrpc 1.8).
                raise starting(error.value) from error

        return self._service.send(
            "POST",
            "",
            read_from_here,
            accept="text/xml",
            body=dumps((self._session, *arguments), method).encode(),
            content_type="text/xml",
            lost=lost,
            absent="is the cloud endpoint right?",
            streamed=streamed,
            timeout=timeout,
        )


def _spliced(endpoint: str, way: str) -> str:
    """``pswd`` or ``cert`` before the last path segment (compute-xmlrpc 1.3)."""
    parts = urlsplit(endpoint)
    folder, _, last = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=f"{folder}/{way}/{last}"))


def _read_value(answer: Answer) -> str:
    return b"".join(document(answer)).decode()


def _read_machine(answer: Answer) -> Machine:
    elements = xml.stream(document(answer), "VM", ("VM",))
    machine = next(map(to_machine, elements), None)
    if machine is None:
        raise MalformedAnswerError("answered a VM document without an ID")
    return machine


def _read_pool(answer: Answer) -> list[Machine]:
    elements = xml.stream(document(answer), "VM", ("VM_POOL",))
    machines = map(to_machine, bounded(elements))
    return list(bounded(filter(None, machines), weight))
