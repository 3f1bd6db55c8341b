"""Write OpenNebula's template language so that all engines read it alike (compute-xmlrpc 4)."""

import base64
import gzip
import re

from stratuslab_libcloud.errors import InvalidValueError

__all__ = [
    "SHELL_VARIABLES",
    "Vector",
    "checked_name",
    "packed",
    "shell_safe",
    "single",
    "vector",
]

_LONGEST_NAME = 128  # bytes
_LARGEST_USER_DATA = 16384  # bytes, compressed

# The guest's shell reads the context as assignments. An assignment to one of these would fail, be
# lost, or change how the shell behaves.
SHELL_VARIABLES = re.compile(
    "_|BASH|BASH_.*|BASHOPTS|BASHPID|EUID|PPID|SHELLOPTS|UID"  # read-only, most of them
    "|DIRSTACK|EPOCHREALTIME|EPOCHSECONDS|FUNCNAME|GROUPS|HISTCMD|LINENO|OPTIND|PIPESTATUS|RANDOM"
    "|SECONDS|SRANDOM"
    "|CDPATH|ENV|EXECIGNORE|FUNCNEST|GLOBIGNORE|IFS|LD_.*|PATH|POSIXLY_CORRECT|TMOUT"
)
_UNWRITABLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]"  # not allowed in XML, or not preserved
    "|[\U00010000-\U0010ffff]"  # engines refuse characters outside the Basic Multilingual Plane
)

Vector = list[tuple[str, object]]
"""The names and values of a vector attribute."""


def packed(user_data: bytes) -> str:
    """
    Compress user data, and encode it as base64.

    :raises InvalidValueError: there is too much of it.
    """
    compressed = gzip.compress(user_data, compresslevel=9, mtime=0)
    if len(compressed) > _LARGEST_USER_DATA:
        raise InvalidValueError(
            f"the user data is too large: {len(compressed)} bytes compressed, but the limit "
            f"is {_LARGEST_USER_DATA}"
        )
    return base64.b64encode(compressed).decode("ascii")


def checked_name(name: str) -> str:
    """Check that the engine can show a name, which it writes into its documents unescaped."""
    length = len(name.encode("utf-8", "surrogatepass"))
    if length > _LONGEST_NAME:
        raise InvalidValueError(
            f"the node name is too long: {length} bytes in UTF-8, but the limit is {_LONGEST_NAME}"
        )
    if "<" in name or "&" in name:
        raise InvalidValueError(f"the node name {name!r} must not contain '<' or '&'")
    return name


def shell_safe(what: str, value: str) -> str:
    """Refuse what the engine expands or the guest's shell interprets (compute-xmlrpc 4.1)."""
    found = set('"$`\\') & set(value)
    if found:
        raise InvalidValueError(
            f"the {what} contains {' '.join(sorted(found))}, which the machine's shell would "
            "interpret; encode it, for instance as base64"
        )
    return value


def single(name: str, value: object) -> str:
    """Write an attribute with one value."""
    return f"{name} = {_quoted(name, value)}"


def vector(name: str, pairs: Vector) -> str:
    """Write an attribute with named values."""
    # An empty value would be read back as two quotation marks, so it is left out.
    written = [f"  {key} = {_quoted(key, value)}" for key, value in pairs if value != ""]
    return f"{name} = [\n" + ",\n".join(written) + " ]"


def _quoted(name: str, value: object) -> str:
    """Quote a value so that both generations of the parser read back the same text."""
    text = str(value)
    bad = _UNWRITABLE.search(text)
    if bad:
        raise InvalidValueError(
            f"the value of {name} contains the character U+{ord(bad[0]):04X}, which cannot be sent"
        )
    if "]]>" in text:
        raise InvalidValueError(f"the value of {name} must not contain ']]>'")
    if text.endswith("\\") or '\\"' in text:
        raise InvalidValueError(
            f"the value of {name} must not have a backslash at its end or before a quotation mark"
        )
    return '"' + text.replace('"', '\\"') + '"'
