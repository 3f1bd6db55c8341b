"""Machines of a StratusLab site: its proxy, or an OpenNebula engine itself (compute-xmlrpc 1)."""

from urllib.parse import urlsplit, urlunsplit

from stratuslab_libcloud.client.engine.calls import Calls, read_value
from stratuslab_libcloud.client.engine.ids import is_id
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.configuration import endpoints
from stratuslab_libcloud.configuration.settings import Certificate, Credentials, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    MalformedAnswerError,
    NotSupportedError,
    ServiceError,
)

__all__ = ["ComputeClient"]


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


def _spliced(endpoint: str, way: str) -> str:
    """Insert ``pswd`` or ``cert`` before the last path segment (compute-xmlrpc 1.3)."""
    parts = urlsplit(endpoint)
    folder, _, last = parts.path.rpartition("/")
    return urlunsplit(parts._replace(path=f"{folder}/{way}/{last}"))
