"""
The context CD, on which a guest finds the context of its machine.

It is labelled CONTEXT and holds ``context.sh``, as OpenNebula makes it. Keys and user data that the
``cloud-init`` method passes in encoded form (compute-xmlrpc 4.6) have the names that cloud-init's
OpenNebula data source knows.
"""

import base64
import io
import pathlib
import re
import zlib

import pycdlib

from stratuslab_libcloud.sandbox.errors import MachineError
from stratuslab_libcloud.sandbox.template import Vector

__all__ = ["burn", "script"]

_MAX_USER_DATA = 1024 * 1024
_GZIP = 31  # zlib's wbits: gzip only
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def burn(context: Vector, path: pathlib.Path) -> None:
    """
    Write the CD image.

    :raises MachineError: a value of the context cannot be decoded.
    """
    content = script(context).encode()
    disc = pycdlib.PyCdlib()
    disc.new(interchange_level=3, vol_ident="CONTEXT", rock_ridge="1.09", joliet=3)
    disc.add_fp(
        io.BytesIO(content),
        len(content),
        "/CONTEXT.SH;1",
        rr_name="context.sh",
        joliet_path="/context.sh",
    )
    disc.write(str(path))
    disc.close()


def script(context: Vector) -> str:
    """
    Write the text of ``context.sh``: assignments that any shell can read, whatever the values.

    :raises MachineError: a value of the context cannot be decoded.
    """
    values = {key: text for key, text in context.items() if _VARIABLE.fullmatch(key)}
    keys = context.get("PUBLIC_KEY", "")
    if context.get("CONTEXT_METHOD") == "cloud-init":
        keys = _decoded(context, "CLOUD_INIT_AUTHORIZED_KEYS").decode("utf-8", "replace") or keys
        packed = _decoded(context, "CLOUD_INIT_USER_DATA")
        if packed:
            values.setdefault("USER_DATA", base64.b64encode(_unpacked(packed)).decode())
            values.setdefault("USERDATA_ENCODING", "base64")
    if keys:
        values.setdefault("SSH_PUBLIC_KEY", keys)
    return "".join(f"{key}={_quoted(text)}\n" for key, text in values.items())


def _quoted(text: str) -> str:
    # Not shlex.quote(): cloud-init requires quotes around every value.
    return "'" + text.replace("'", "'\\''") + "'"


def _decoded(context: Vector, key: str) -> bytes:
    try:
        return base64.b64decode(context.get(key, ""), validate=True)
    except ValueError:
        raise MachineError(f"the context's {key} is not base64") from None


def _unpacked(packed: bytes) -> bytes:
    unpacking = zlib.decompressobj(_GZIP)
    try:
        data = unpacking.decompress(packed, _MAX_USER_DATA)
    except zlib.error:
        raise MachineError("the context's CLOUD_INIT_USER_DATA is not gzip") from None
    if not unpacking.eof:
        raise MachineError("the context's CLOUD_INIT_USER_DATA is incomplete, or over 1 MiB")
    return data
