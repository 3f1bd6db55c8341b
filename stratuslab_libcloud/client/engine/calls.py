"""The XML-RPC calls that every OpenNebula answers (compute-xmlrpc 1 and 2)."""

import re
from collections.abc import Callable
from typing import TypeVar
from xmlrpc.client import dumps

from stratuslab_libcloud.client.data import Machine
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.engine.machine import attributes, to_machine, weight
from stratuslab_libcloud.client.engine.reply import payload, pool, starting
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.errors import (
    ConflictError,
    CredentialsError,
    MalformedAnswerError,
    NotFoundError,
    NotSupportedError,
    ServiceError,
)
from stratuslab_libcloud.untrusted import xml

__all__ = ["NAMED", "Calls", "read_attributes", "read_machine", "read_pool", "read_value"]

T = TypeVar("T")

# The machine that a refusal names, such as "Error getting virtual machine [99]."
NAMED = re.compile(r"(?:VM|[Vv]irtual machine) \[([0-9]{1,9})\]")
_MINE, _ANY_ID, _NOT_DONE = -3, -1, -1


class Calls:
    """The calls of one engine, asked directly or through a proxy."""

    def __init__(self, service: Service, session: str, *, proxied: bool) -> None:
        """
        :param session: the first argument of each call: ``user:password`` for an engine.
        :param proxied: whether a proxy authenticates the user before the engine is asked.
        """
        self._service = service
        self._session = session
        self._proxied = proxied

    def close(self) -> None:
        """Close idle connections."""
        self._service.close()

    def info(self, machine_id: str, timeout: float | None = None) -> Machine:
        """Look up one machine, in any state."""
        return self._send_about(machine_id, read_machine, "one.vm.info", timeout=timeout)

    def attributes(self, machine_id: str) -> list[tuple[str, str]]:
        """All that the document of one machine says."""
        return self._send_about(machine_id, read_attributes, "one.vm.info")

    def machines(self, timeout: float | None = None) -> list[Machine]:
        """List the account's machines that have not ended."""
        return self.send(
            read_pool,
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
        # Sent once: after it has had its effect, a second one would find the wrong state.
        if_lost = f"node {machine_id} may be shutting down all the same"
        self._act(("shutdown", "terminate"), machine_id, if_lost=if_lost)

    def send(
        self,
        read: Callable[[Answer], T],
        method: str,
        *arguments: str | int,
        if_lost: str = "",
        streamed: bool = False,
        timeout: float | None = None,
    ) -> T:
        """
        Call a method of the engine.

        :param read: turns the answer into the result.
        :param arguments: those after the session.

        The other parameters are those of :meth:`.Service.send`.
        """

        def read_from_here(answer: Answer) -> T:
            try:
                return read(answer)
            except CredentialsError as error:
                if not self._proxied:
                    raise
                # The proxy accepted the user; a wrong password is HTTP 401 (compute-xmlrpc 1.8).
                raise starting(error.value) from error

        return self._service.send(
            "POST",
            "",
            read_from_here,
            accept="text/xml",
            body=dumps((self._session, *arguments), method).encode(),
            content_type="text/xml",
            if_lost=if_lost,
            if_not_found="is the cloud endpoint right?",
            streamed=streamed,
            timeout=timeout,
        )

    def _act(self, words: tuple[str, str], machine_id: str, if_lost: str = "") -> None:
        """Call an action: old engines know the first word, modern ones the second."""
        try:
            self._send_about(machine_id, read_value, "one.vm.action", words[0], if_lost=if_lost)
        except NotSupportedError:
            self._send_about(machine_id, read_value, "one.vm.action", words[1], if_lost=if_lost)

    def _send_about(
        self,
        machine_id: str,
        read: Callable[[Answer], T],
        method: str,
        *arguments: str,
        if_lost: str = "",
        timeout: float | None = None,
    ) -> T:
        """Send a request about one machine; refuse an answer about another."""
        number = int(checked_id(machine_id))

        def checked(answer: Answer) -> T:
            try:
                value = read(answer)
            except ServiceError as error:
                found = NAMED.search(error.value)
                check(found[1] if found else "")
                raise
            check(_subject(value))
            return value

        def check(named: str) -> None:
            if is_id(named) and int(named) != number:
                raise MalformedAnswerError(
                    f"was asked about node {number}, but answered about node {named}",
                    # Nobody knows what happened to either: only a look-up may be repeated.
                    passing=method == "one.vm.info",
                )

        return self.send(checked, method, *arguments, number, if_lost=if_lost, timeout=timeout)


def _subject(value: object) -> str:
    """The id of the machine that an answer is about."""
    if isinstance(value, Machine):
        return value.id
    if isinstance(value, list):
        return str(dict(value).get("id", "")).strip()
    return str(value).strip()


def read_value(answer: Answer) -> str:
    """Read the second value of an answer, such as an id."""
    return b"".join(payload(answer)).decode()


def read_machine(answer: Answer) -> Machine:
    """Read a machine from the document in an answer."""
    elements = xml.stream(payload(answer), "VM", ("VM",))
    machine = next(map(to_machine, elements), None)
    if machine is None:
        raise MalformedAnswerError("answered a VM document without an ID")
    return machine


def read_attributes(answer: Answer) -> list[tuple[str, str]]:
    """The values of the machine's document that an answer is."""
    elements = xml.stream(payload(answer), "VM", ("VM",))
    found = next(map(attributes, elements), [])
    if not found:
        raise MalformedAnswerError("answered a VM document without an ID")
    return found


def read_pool(answer: Answer) -> list[Machine]:
    """Read the machines of a pool, which may be many."""
    return pool(answer, "VM", to_machine, weight)
