"""Machines of a StratusLab site: its proxy, or an OpenNebula engine itself (compute-xmlrpc 1)."""

import json
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from stratuslab_libcloud.client.engine.calls import NAMED, Calls, read_value
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    MalformedAnswerError,
    NotFoundError,
    NotSupportedError,
    ServiceError,
)
from stratuslab_libcloud.untrusted.text import printable_lines

__all__ = ["ComputeClient"]

_LONGEST_CONSOLE = 1 << 20


class ComputeClient(Calls):
    """The compute service of one site."""

    def __init__(self, endpoint: str, credentials: Credentials, options: HTTPOptions) -> None:
        # The password is sent once. A proxy authenticates the user by HTTP or TLS and ignores the
        # session; an engine knows only the session.
        proxied = not endpoints.is_engine(endpoint)
        if proxied:
            session = "dummy:pass"
            url = _spliced(endpoint, "cert" if isinstance(credentials, Certificate) else "pswd")
        elif isinstance(credentials, Password):
            session = f"{credentials.username}:{credentials.password}"
            url = endpoint
        else:
            raise ConfigurationError(f"the engine {endpoint} needs a password, not a certificate")
        service = Service(endpoint, credentials, options, url=url, basic=proxied)
        super().__init__(service, session, proxied=proxied)
        self.endpoint = endpoint

    def allocate(self, template: str, name: str) -> str:
        """
        Create a machine.

        :param template: as :func:`stratuslab_libcloud.client.stratuslab.template.render` writes it.
        :param name: for the message if the answer is lost.
        :return: the id of the machine.
        """
        if_lost = f"a node named {name!r} may have been created: look for it in the list of nodes"
        try:
            value = self.send(read_value, "one.vm.allocate", template, if_lost=if_lost).strip()
        except ServiceError as error:
            if error.value.startswith("[one.vm.allocate]"):  # the tag of OpenNebula 5.4 and later
                raise NotSupportedError(
                    error.value,
                    advice="this is a modern OpenNebula, on which this driver can list and end "
                    "nodes, but not yet start them",
                ) from error
            raise
        if not is_id(value):
            raise MalformedAnswerError("answered no node id", advice=if_lost)
        return value

    def console(self, machine_id: str) -> str:
        """
        Return what a machine has written to its console. Only sandboxes have a door for it.

        :raises NotSupportedError: the site has no such door.
        """
        number = checked_id(machine_id)
        no_console: dict[str, Any] = {
            "value": "does not show the consoles of nodes; only a sandbox does",
            "advice": "log in to the node by SSH, or ask the operator",
            "endpoint": self.endpoint,
        }
        if not self._proxied:
            raise NotSupportedError(**no_console)
        try:
            return self._service.send(
                "GET",
                f"/machines/{number}/console",
                lambda answer: _read_console(answer, number),
                accept="application/json",
            )
        except (NotFoundError, NotSupportedError) as error:
            if NAMED.search(error.said):
                raise  # it is the machine that is not there
            raise NotSupportedError(**no_console, http_code=error.http_code) from error


def _read_console(answer: Answer, machine_id: str) -> str:
    try:
        document = json.loads(answer.body())
    except (ValueError, RecursionError):
        document = None
    text = document.get("console") if isinstance(document, dict) else None
    if not isinstance(text, str):
        raise MalformedAnswerError("answered no console of a node; is the cloud endpoint right?")
    if document.get("id") != machine_id:
        raise MalformedAnswerError(f"was asked about node {machine_id}, but answered about another")
    return printable_lines(text[-_LONGEST_CONSOLE:])


def _spliced(endpoint: str, way: str) -> str:
    """Insert ``pswd`` or ``cert`` before the last path segment (compute-xmlrpc 1.3)."""
    parts = urlsplit(endpoint)
    folder, _, last = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=f"{folder}/{way}/{last}"))
