"""The modern engine over XML-RPC: calls, answers of three or five elements, and faults."""

import xmlrpc.client
from xml.sax.saxutils import escape

from werkzeug import Request, Response

from stratuslab_libcloud.sandbox.accounts import Accounts
from stratuslab_libcloud.sandbox.compute.xmlrpc import read_call
from stratuslab_libcloud.sandbox.opennebula.calls import CALLS
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.refusals import AUTHORIZATION, RefusedError
from stratuslab_libcloud.sandbox.opennebula.users import authenticated
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["MAX_CALL_BYTES", "answer"]

MAX_CALL_BYTES = 1 << 20
_MOST_CALLS = 100  # in one; the engine has no such limit
_BEGIN = '<?xml version="1.0" encoding="UTF-8"?>\n<methodResponse><params><param><value>'
_ABOUT_CALLS = {f"system.{name}" for name in ("listMethods", "methodHelp", "methodSignature")}
_END = "</value></param></params></methodResponse>"
_TYPES: dict[str, tuple[type, str]] = {
    "i": (int, "integer"),
    "s": (str, "a string"),
    "b": (bool, "boolean"),
    "B": (bool, "boolean"),
}


def answer(core: Core, accounts: Accounts, request: Request) -> Response:
    """Answer a call, and close the connection, as the engine does."""
    headers = {"Connection": "close"}
    if request.method != "POST":
        return Response(status=405, headers={"Allow": "POST", **headers})
    body = request.get_data()
    if not body:
        return Response(status=400, headers=headers)
    try:
        method, parameters = read_call(body, MAX_CALL_BYTES)
        if method == "system.multicall":
            value = _several(core, accounts, parameters)
        else:
            value = _array(_called(core, accounts, method, parameters))
        text = f"{_BEGIN}{value}{_END}"
    except xmlrpc.client.Fault as fault:
        text = xmlrpc.client.dumps(fault, methodresponse=True)
    return Response(text, content_type="text/xml; charset=utf-8", headers=headers)


def _several(core: Core, accounts: Accounts, parameters: list[object]) -> str:
    """
    Make several calls, one after the other; where one is none, there is a fault for an answer.

    :raises xmlrpc.client.Fault: it is no list of calls.
    """
    calls = parameters[0] if parameters else None
    if not isinstance(calls, list):
        raise xmlrpc.client.Fault(-501, "Parameter that is supposed to be an array is not")
    if len(calls) > _MOST_CALLS:
        raise xmlrpc.client.Fault(-509, f"There are more than {_MOST_CALLS} calls in one")
    return _array([_one_of_several(core, accounts, call) for call in calls])


def _one_of_several(core: Core, accounts: Accounts, call: object) -> str:
    try:
        match call:
            case {"methodName": str(method), "params": list(parameters)}:
                return _array([_array(_called(core, accounts, method, parameters))])
        raise xmlrpc.client.Fault(-501, "Parameter that is supposed to be a call is not")
    except xmlrpc.client.Fault as fault:
        members = {
            "faultCode": f"<i4>{fault.faultCode}</i4>",
            "faultString": f"<string>{_text(fault.faultString)}</string>",
        }
        shown = (f"<name>{key}</name><value>{value}</value>" for key, value in members.items())
        return f"<struct>{''.join(f'<member>{one}</member>' for one in shown)}</struct>"


def _called(core: Core, accounts: Accounts, method: str, parameters: list[object]) -> list[str]:
    """Make a call, and return the elements of its answer."""
    if method in _ABOUT_CALLS:
        raise xmlrpc.client.Fault(-502, f"{method} takes no session, and is for users only")
    if method not in CALLS:
        raise xmlrpc.client.Fault(-506, f"Method '{method}' not defined")
    signature, rule = CALLS[method]
    given = _checked(core, f"s{signature}", parameters)
    account = None
    try:
        account = authenticated(core, accounts, str(given[0]))
        value = rule(core, account, *given[1:])
    except RefusedError as refused:
        return _refusal(method, account, refused)
    shown = f"<i4>{value}</i4>" if isinstance(value, int) else f"<string>{_text(value)}</string>"
    return ["<boolean>1</boolean>", shown, "<i4>0</i4>"]


def _checked(core: Core, signature: str, parameters: list[object]) -> list[object]:
    """Return the parameters that the rule takes, each of the right type."""
    needed, _, more = signature.partition("|")
    if len(parameters) < len(needed):
        raise xmlrpc.client.Fault(-501, "Not enough parameters")
    if signature == "sis|bsb" and not core.is_new and len(parameters) == 4:
        raise xmlrpc.client.Fault(-501, "Not enough parameters")
    given = []
    for kind, parameter in zip(needed + more, parameters, strict=False):
        expected, name = _TYPES[kind]
        if kind == "B" and type(parameter) is int and not core.is_new:
            parameter = bool(parameter)
        if type(parameter) is not expected:
            raise xmlrpc.client.Fault(-501, f"Parameter that is supposed to be {name} is not")
        given.append(parameter)
    return given


def _refusal(method: str, account: Account | None, refused: RefusedError) -> list[str]:
    text = str(refused)
    if refused.code == AUTHORIZATION and account and not text.startswith("User ["):
        text = f"User [{account.uid}] : {text}"
    return [
        "<boolean>0</boolean>",
        f"<string>{_text(f'[{method}] {text}')}</string>",
        f"<i4>{refused.code}</i4>",
        f"<i4>{refused.object_id}</i4>",
        "<i8>-1</i8>",
    ]


def _text(text: str) -> str:
    return escape(text).replace("\r", "&#13;")


def _array(elements: list[str]) -> str:
    values = "".join(f"<value>{element}</value>" for element in elements)
    return f"<array><data>{values}</data></array>"
