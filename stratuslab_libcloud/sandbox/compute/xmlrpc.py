"""The compute service over XML-RPC (compute-xmlrpc 2 and 7.3): its methods and answers."""

import re
import xml.etree.ElementTree as ET
import xmlrpc.client
from collections.abc import Callable

from werkzeug import Request, Response

from stratuslab_libcloud.sandbox.compute.rules import CallRefusedError, Compute
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.untrusted import xml

__all__ = ["MAX_CALL_BYTES", "METHODS", "answer", "read_call"]

MAX_CALL_BYTES = 512 * 1024
_DEEPEST = 8  # values in values; several calls in one have four

# Method to the tag of its error texts, the types of its parameters, and its rule.
METHODS: dict[str, tuple[str, tuple[type, ...], Callable[..., int | str]]] = {
    "one.vm.allocate": ("VirtualMachineAllocate", (str, str), Compute.allocate),
    "one.vm.info": ("VirtualMachineInfo", (str, int), Compute.info),
    "one.vm.action": ("VirtualMachineAction", (str, str, int), Compute.action),
    "one.vmpool.info": ("VirtualMachinePoolInfo", (str, int, int, int, int), Compute.pool),
}


def answer(compute: Compute, request: Request, account: Account) -> Response:
    """Answer an XML-RPC call of this account with an array of three, or a fault (2.1, 7.3)."""
    if request.method != "POST":
        return Response(status=405, headers={"Allow": "POST"})
    try:
        method, parameters = read_call(request.get_data(), MAX_CALL_BYTES)
        array = _call(compute, account, method, parameters)
        text = xmlrpc.client.dumps((array,), methodresponse=True)
    except xmlrpc.client.Fault as fault:
        text = xmlrpc.client.dumps(fault, methodresponse=True)
    return Response(text, content_type="text/xml; charset=utf-8")


def _call(
    compute: Compute, account: Account, method: str, parameters: list[object]
) -> list[object]:
    if method not in METHODS:
        raise xmlrpc.client.Fault(-506, f"Method '{method}' not defined")
    tag, types, rule = METHODS[method]
    if len(parameters) < len(types):
        raise xmlrpc.client.Fault(-501, "Not enough parameters")
    for parameter, expected in zip(parameters, types, strict=False):
        if type(parameter) is not expected:
            name = "integer" if expected is int else "a string"
            raise xmlrpc.client.Fault(-501, f"Parameter that is supposed to be {name} is not")
    try:
        # Without the first, the session: a proxy would have replaced it by its own (1.6).
        return [True, rule(compute, account, *parameters[1 : len(types)]), 0]
    except CallRefusedError as refused:
        return [False, f"[{tag}] {refused}", refused.code]


def read_call(body: bytes, largest: int) -> tuple[str, list[object]]:
    """
    Read method and parameters; None stands for a value of a type that no method takes. Of arrays
    and structs are made lists and dicts.

    :param largest: bytes that a call may have.
    :raises xmlrpc.client.Fault: it is too large, or not XML-RPC.
    """
    if len(body) > largest:
        raise xmlrpc.client.Fault(-509, f"The call is larger than {largest >> 10} KiB")
    try:
        root = xml.parse(body)
        if max("".join(root.itertext()), default="") > "\uffff":
            raise ValueError("a character is not in the Basic Multilingual Plane")
        method = root.findtext("methodName") if root.tag == "methodCall" else None
        if not method:
            raise ValueError("not a method call")
        return method, [_read_value(value) for value in root.iterfind("params/param/value")]
    except ValueError as error:
        raise xmlrpc.client.Fault(-503, f"Call is not valid XML-RPC: {error}") from None


def _read_value(value: ET.Element | None, depth: int = 0) -> object:
    if value is None or depth > _DEEPEST:
        raise ValueError("a value is missing, or in too many others")
    typed = value[0] if len(value) else None
    if typed is None or typed.tag == "string":
        return (value if typed is None else typed).text or ""
    text = (typed.text or "").strip()
    if typed.tag == "array":
        return [_read_value(one, depth + 1) for one in typed.iterfind("data/value")]
    if typed.tag == "struct":
        return {
            one.findtext("name"): _read_value(one.find("value"), depth + 1)
            for one in typed.iterfind("member")
        }
    if typed.tag in ("int", "i4"):
        if not re.fullmatch("[+-]?[0-9]{1,10}", text) or not -(2**31) <= int(text) < 2**31:
            raise ValueError("not a 32-bit integer")
        return int(text)
    return text == "1" if typed.tag == "boolean" and text in ("0", "1") else None
