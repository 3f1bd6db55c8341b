"""Calls of XML-RPC as others write them, and several in one (opennebula-modern 2, engines 1, 2)."""

import xmlrpc.client
from typing import Any

import pytest
from engine_callers import One, connected, post

from stratuslab_libcloud.sandbox.site import Sandbox


def value(kind: str, text: str) -> str:
    return f"<value><{kind}>{text}</{kind}></value>" if kind else f"<value>{text}</value>"


def called(site: Sandbox, method: str, *values: str) -> Any:
    parameters = "".join(f"<param>{one}</param>" for one in values)
    body = (
        f"<methodCall><methodName>{method}</methodName><params>{parameters}</params></methodCall>"
    )
    status, answer = post(site, body.encode())
    assert status == 200
    return xmlrpc.client.loads(answer)[0][0]


@pytest.mark.parametrize("kind", ["i4", "int"])
def test_ids_and_texts_have_several_types(both: Sandbox, kind: str) -> None:
    number = One(both, "alice:pw-a").start()
    session = value("", "alice:pw-a")  # a text without a type
    assert called(both, "one.vm.info", session, value(kind, str(number)))[0] is True
    for other in ("i8", "double", "boolean"):
        with pytest.raises(xmlrpc.client.Fault) as caught:
            called(both, "one.vm.info", session, value(other, "1"))
        assert caught.value.faultCode == -501


@pytest.mark.parametrize("kind", ["application/json", ""])
def test_the_type_of_a_calls_content_does_not_matter(both: Sandbox, kind: str) -> None:
    body = xmlrpc.client.dumps(("alice:pw-a",), "one.system.version")
    with connected(both) as connection:
        connection.request("POST", "/RPC2", body, {"Content-Type": kind} if kind else {})
        returned: Any = xmlrpc.client.loads(connection.getresponse().read())[0][0]
    assert returned[0] is True


def test_a_large_call_is_answered(both: Sandbox) -> None:
    her = One(both, "alice:pw-a")
    number = her.start(f'CONTEXT=[USER_DATA="{"x" * 600_000}"]')
    assert len(her.vm(number).findtext("TEMPLATE/CONTEXT/USER_DATA", "")) == 600_000


def several(site: Sandbox, *calls: tuple[str, list[object]]) -> list[Any]:
    with xmlrpc.client.ServerProxy(f"{site.url}/RPC2") as server:
        told: list[Any] = [
            {"methodName": f"one.{method}", "params": given} for method, given in calls
        ]
        answer: Any = server.system.multicall(told)
    assert isinstance(answer, list)
    return answer


def test_several_calls_in_one(both: Sandbox) -> None:
    """Each in an array of its own, around the usual one; what is no call is a fault among them."""
    number = One(both, "alice:pw-a").start()
    ((version,), (refused,), fault, (document,)) = several(
        both,
        ("system.version", ["alice:pw-a"]),
        ("vm.info", ["bob:pw-b", number]),
        ("vm.info", ["alice:pw-a", "x"]),
        ("vm.info", ["alice:pw-a", number]),
    )
    assert version[0] is True
    assert (refused[0], refused[2]) == (False, 512)
    assert fault["faultCode"] == -501
    assert f"<ID>{number}</ID>" in document[1]
    ((denied,), unknown) = several(
        both, ("system.version", ["alice:no"]), ("startover", ["alice:pw-a"])
    )
    assert (denied[2], unknown["faultCode"]) == (256, -506)


@pytest.mark.parametrize(
    "parameters",
    [(), ("alice:pw-a",), (7,), ({"a": "b"},)],
    ids=["nothing", "session", "number", "struct"],
)
def test_what_is_no_list_of_calls(both: Sandbox, parameters: tuple[Any, ...]) -> None:
    with xmlrpc.client.ServerProxy(f"{both.url}/RPC2") as server:
        with pytest.raises(xmlrpc.client.Fault) as caught:
            server.system.multicall(*parameters)
    assert caught.value.faultCode == -501


def test_several_calls_that_are_none(both: Sandbox) -> None:
    """Nor are they several calls again."""
    with xmlrpc.client.ServerProxy(f"{both.url}/RPC2") as server:
        odd: list[Any] = [7, {}, {"methodName": "one.vm.info"}, {"methodName": 7, "params": []}]
        odd.append({"methodName": "system.multicall", "params": [[]]})
        answer: Any = server.system.multicall(odd)
    assert [one["faultCode"] for one in answer] == [-501, -501, -501, -501, -506]


def test_several_calls_are_not_too_many(both: Sandbox) -> None:
    whole: list[tuple[str, list[object]]] = [("system.version", ["alice:pw-a"])] * 100
    assert len(several(both, *whole)) == 100
    with pytest.raises(xmlrpc.client.Fault) as caught:
        several(both, *whole, *whole)
    assert caught.value.faultCode == -509


def test_values_in_values_have_an_end(both: Sandbox) -> None:
    deep = "<value><array><data>" * 5000 + "</data></array></value>" * 5000
    with pytest.raises(xmlrpc.client.Fault) as caught:
        called(both, "system.multicall", deep)
    assert caught.value.faultCode == -503


@pytest.mark.parametrize("session", [(), ("alice:pw-a",)], ids=["without", "with"])
def test_calls_about_calls_cannot_be_used(both: Sandbox, session: tuple[str, ...]) -> None:
    with xmlrpc.client.ServerProxy(f"{both.url}/RPC2") as server:
        for method in ("listMethods", "methodHelp", "methodSignature"):
            with pytest.raises(xmlrpc.client.Fault) as caught:
                getattr(server.system, method)(*session)
            assert caught.value.faultCode == -502
