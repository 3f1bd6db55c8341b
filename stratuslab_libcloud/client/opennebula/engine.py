"""The calls of a modern OpenNebula, and those alone: no waiting, no rules (modern 2)."""

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import TypeVar

from stratuslab_libcloud.client.data import MachineTemplate, Network
from stratuslab_libcloud.client.engine.calls import Calls, read_value
from stratuslab_libcloud.client.engine.ids import checked_id, is_id
from stratuslab_libcloud.client.engine.reply import payload, pool
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import Service
from stratuslab_libcloud.client.opennebula import documents
from stratuslab_libcloud.client.opennebula.documents import Datastore, EngineImage
from stratuslab_libcloud.configuration.settings import Credentials, Password
from stratuslab_libcloud.errors import ConfigurationError, MalformedAnswerError
from stratuslab_libcloud.untrusted import xml

__all__ = ["MINE", "USABLE", "Engine"]

T = TypeVar("T")

MINE, USABLE = -3, -2  # what a pool is asked for: one's own, or all that one may use
_ALL = (-1, -1)
_KEPT = -1  # in an array of permissions: as it was


class Engine(Calls):
    """One engine, asked directly."""

    def __init__(self, endpoint: str, credentials: Credentials, options: HTTPOptions) -> None:
        if not isinstance(credentials, Password):
            raise ConfigurationError(
                f"the engine {endpoint} needs a password or a login token, not a certificate"
            )
        session = f"{credentials.username}:{credentials.password}"
        service = Service(endpoint, credentials, options, basic=False)
        super().__init__(service, session, proxied=False)

    def version(self) -> str:
        """Ask for the version; an engine of 2012 does not know the question."""
        return self.send(read_value, "one.system.version")

    def act(self, word: str, machine_id: str, if_lost: str = "") -> None:
        """Call an action on a machine."""
        self._send_about(machine_id, read_value, "one.vm.action", word, if_lost=if_lost)

    def change(self, method: str, *arguments: str | int, if_lost: str = "") -> str:
        """Call a method that answers a number, often the id of the thing it is about."""
        return self.send(read_value, method, *arguments, if_lost=if_lost).strip()

    def create(self, method: str, *arguments: str | int, if_lost: str) -> str:
        """
        Call a method that creates something, once.

        :return: its id.
        """
        made = self.change(method, *arguments, if_lost=if_lost)
        if not is_id(made):
            raise MalformedAnswerError("answered no id", advice=if_lost)
        return made

    def show(self, kind: str, number: str, to_public: bool) -> None:
        """Let everybody use something of one's own, or nobody."""
        others = (int(to_public), _KEPT, _KEPT)
        self.change(f"one.{kind}.chmod", int(number), *[_KEPT] * 6, *others)

    def images(self, whose: int, timeout: float | None = None) -> list[EngineImage]:
        """List images, the newest first."""
        return self._pool(
            documents.image, "image", whose, *_ALL, timeout=timeout, weight=documents.weight
        )

    def image(self, image_id: str, what: str = "image") -> EngineImage:
        """
        Look up one image.

        :param what: what its id is the id of, for messages.
        """
        number = checked_id(image_id, what)
        found = self._one(documents.image, "image", number)
        if int(found.id) != int(number):
            raise MalformedAnswerError(f"was asked about image {number}, not {found.id}")
        return found

    def networks(self) -> list[Network]:
        """List the networks that machines may be in."""
        return self._pool(documents.network, "vn", USABLE, *_ALL, tag="VNET")

    def datastores(self) -> list[Datastore]:
        """List the datastores."""
        return self._pool(documents.datastore, "datastore")

    def templates(self) -> list[MachineTemplate]:
        """List the templates of machines that may be used."""
        return self._pool(documents.template, "template", USABLE, *_ALL, tag="VMTEMPLATE")

    def template(self, template_id: str) -> MachineTemplate:
        """Look up one template of machines."""
        number = checked_id(template_id, "template")
        return self._one(documents.template, "template", number, tag="VMTEMPLATE")

    def user(self) -> ET.Element:
        """Read the document of the account: with a hash of its password, and its tokens."""

        def read(answer: Answer) -> ET.Element:
            found = next(xml.stream(payload(answer), "USER", ("USER",)), None)
            if found is None or not is_id((found.findtext("ID") or "").strip()):
                raise MalformedAnswerError("answered a document of a user without an ID")
            return found

        # Streamed answers are not logged, and this one has the login tokens.
        return self.send(read, "one.user.info", -1, streamed=True)

    def _pool(
        self,
        to_item: Callable[[ET.Element], T | None],
        kind: str,
        *arguments: int,
        tag: str = "",
        timeout: float | None = None,
        weight: Callable[[T], int] = lambda _: 0,
    ) -> list[T]:
        def read(answer: Answer) -> list[T]:
            return pool(answer, tag or kind.upper(), to_item, weight)

        return self.send(read, f"one.{kind}pool.info", *arguments, streamed=True, timeout=timeout)

    def _one(
        self, to_item: Callable[[ET.Element], T | None], kind: str, number: str, tag: str = ""
    ) -> T:
        tag = tag or kind.upper()

        def read(answer: Answer) -> T:
            found = next(map(to_item, xml.stream(payload(answer), tag, (tag,))), None)
            if found is None:
                raise MalformedAnswerError(f"answered a document of a {kind} without an ID")
            return found

        return self.send(read, f"one.{kind}.info", int(number))
