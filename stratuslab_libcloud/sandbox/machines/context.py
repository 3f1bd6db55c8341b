"""
The context of a machine, as the CD on which the guest finds it.

``context.sh`` on a disc labelled CONTEXT, as OpenNebula makes it. Keys and user data, which the
``cloud-init`` method hands over encoded (compute-xmlrpc 4.6), are on it under the names that
cloud-init's OpenNebula data source knows.
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
_GZIP = 31  # zlib's wbits for gzip only
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")


def burn(context: Vector, path: pathlib.Path) -> None:
    """
    Write the CD image.

    :raises MachineError: the context holds what cannot be decoded.
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
    The text of ``context.sh``: assignments for a shell, whatever the values are.

    :raises MachineError: the context holds what cannot be decoded.
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
    # Not shlex.quote(): cloud-init's reader wants quotes around every value.
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
