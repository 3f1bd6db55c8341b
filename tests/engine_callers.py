"""Somebody who calls a modern engine by plain XML-RPC, and knows nothing of our client."""

import contextlib
import http.client
import xml.etree.ElementTree as ET
import xmlrpc.client
from typing import Any

from callers import Elsewhere

from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["One", "RefusedCallError", "connected", "post"]


class RefusedCallError(Exception):
    """``[false, text, code, id, -1]``."""

    def __init__(self, text: str, code: int, object_id: int) -> None:
        super().__init__(text)
        self.text, self.code, self.object_id = text, code, object_id


class One:
    """An account's calls, without the session that comes first."""

    def __init__(self, site: Sandbox | Elsewhere, session: str) -> None:
        self.url = f"{site.url}/RPC2"
        self.session = session

    def raw(self, method: str, *parameters: object) -> Any:
        """Return the array as it is."""
        with xmlrpc.client.ServerProxy(self.url) as server:
            return getattr(server, f"one.{method}")(self.session, *parameters)

    def __call__(self, method: str, *parameters: object) -> Any:
        """Return the value."""
        answer = self.raw(method, *parameters)
        if answer[0]:
            assert len(answer) == 3
            return answer[1]
        assert len(answer) == 5
        assert answer[1].startswith(f"[one.{method}] ")
        raise RefusedCallError(answer[1].removeprefix(f"[one.{method}] "), *answer[2:4])

    def document(self, method: str, *parameters: object) -> ET.Element:
        return ET.fromstring(self(method, *parameters))

    def refusal(self, method: str, *parameters: object) -> tuple[int, str]:
        """Return code and text of a call that must be refused."""
        try:
            value = self(method, *parameters)
        except RefusedCallError as error:
            return error.code, error.text
        raise AssertionError(f"{method} is answered with {value!r}")

    def vm(self, number: int) -> ET.Element:
        return self.document("vm.info", number)

    def image(self, number: int) -> ET.Element:
        return self.document("image.info", number)

    def state(self, number: int) -> tuple[int, int]:
        machine = self.vm(number)
        return int(machine.findtext("STATE", "")), int(machine.findtext("LCM_STATE", ""))

    def image_state(self, number: int) -> int:
        return int(self.image(number).findtext("STATE", ""))

    def error(self, number: int) -> str:
        return self.vm(number).findtext("USER_TEMPLATE/ERROR", "")

    def start(self, *more: str, name: str = "m") -> int:
        return int(
            self("vm.allocate", "\n".join((f'NAME="{name}"', "CPU=0.5", "MEMORY=64", *more)))
        )

    def volume(self, name: str, *more: str, size: int = 10) -> int:
        text = f'NAME="{name}"\nTYPE="DATABLOCK"\nPERSISTENT="YES"\nSIZE="{size}"'
        return int(self("image.allocate", "\n".join((text, *more)), 1))


def post(
    site: Sandbox, body: bytes, method: str = "POST", path: str = "/RPC2"
) -> tuple[int, bytes]:
    """Send a body as it is, and return status and content."""
    with connected(site) as connection:
        connection.request(method, path, body)
        answer = connection.getresponse()
        return answer.status, answer.read()


def connected(site: Sandbox) -> contextlib.closing[http.client.HTTPConnection]:
    """A connection to a site, which is closed in the end."""
    return contextlib.closing(http.client.HTTPConnection("127.0.0.1", site.port, timeout=30))
