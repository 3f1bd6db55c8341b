"""
Reading a request's head: more strictly than cheroot, so that no proxy can understand it otherwise.
"""

import re
from typing import Any

import cheroot.server

from stratuslab_libcloud.sandbox.http.wire import MAX_BODY_BYTES
from stratuslab_libcloud.sandbox.phrases import status_line

__all__ = ["StrictRequest"]

_TOO_LARGE = "The entity sent with the request exceeds the maximum allowed bytes."

# Given twice, these could be understood in two ways.
_ONCE = {
    *(b"Authorization", b"Content-Length", b"Host", b"Origin", b"Sec-Fetch-Site"),
    b"Transfer-Encoding",
}


class _Headers(dict[bytes, bytes]):
    def __setitem__(self, name: bytes, value: bytes) -> None:
        if name in _ONCE and name in self:
            raise ValueError(f"{name.decode()} is given twice.")
        super().__setitem__(name, value)


class _HeaderReader(cheroot.server.HeaderReader):
    def _allow_header(self, key_name: bytes) -> bool:
        # Expect has been answered already. In WSGI's environ, an underscore would make a header
        # look like another one.
        return key_name != b"Expect" and b"_" not in key_name

    def _transform_key(self, key_name: bytes) -> bytes:
        if key_name != key_name.strip():
            raise ValueError("Blank around the name of a header.")
        return key_name.title()


class StrictRequest(cheroot.server.HTTPRequest):
    """A request that cheroot reads; refused if its head could be understood in two ways."""

    header_reader = _HeaderReader()

    def __init__(self, server: Any, conn: Any) -> None:
        # Not strict: clients whose endpoint ends in a slash ask for //metadata.
        super().__init__(server, conn, strict_mode=False)
        self.inheaders = _Headers()

    def read_request_headers(self) -> bool:
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        lengths = {b"Content-Length", b"Transfer-Encoding"} & self.inheaders.keys()
        if len(lengths) == 2 or (b"Transfer-Encoding" in lengths and not self.chunked_read):
            self.simple_response("400 Bad Request", "The length of the body is ambiguous.")
            return False
        if self.conn.rfile.is_too_large:
            self.simple_response("413", _TOO_LARGE)
            return False
        if not re.fullmatch(rb"[0-9]+", self.inheaders.get(b"Content-Length", b"0")):
            self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
            return False
        if int(self.inheaders.get(b"Content-Length", b"0")) > MAX_BODY_BYTES:
            if self.conn.rfile.is_upload:
                return True
            if self.conn.rfile.is_refused:
                self.simple_response("401", "Only who has an account can upload a disk.")
            else:
                self.simple_response("413", _TOO_LARGE)
            return False
        if self.chunked_read:
            self.close_connection = True  # cheroot does not read beyond the last chunk
        return True

    def simple_response(self, status: str, msg: str = "") -> None:
        super().simple_response(status_line(int(status[:3])), msg)

    def send_headers(self) -> None:
        if (b"Connection", b"close") in self.outheaders:
            self.close_connection = True  # cheroot only writes the header
        super().send_headers()
