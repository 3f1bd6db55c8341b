"""XML-RPC answers and VM documents of all generations (compute-xmlrpc 2, 5, opennebula-engines)."""

import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from canned import Canned, Handler, Reply, pool, rpc
from hypothesis import example, given, settings
from hypothesis import strategies as st
from libcloud.common.types import LibcloudError

from stratuslab_libcloud.client.engine.calls import read_machine, read_pool, read_value
from stratuslab_libcloud.client.engine.sources import image_id
from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.options import HTTPOptions
from stratuslab_libcloud.client.http.service import read_answer
from stratuslab_libcloud.client.stratuslab.compute import ComputeClient
from stratuslab_libcloud.configuration.file import Certificate, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    ConflictError,
    CredentialsError,
    InvalidValueError,
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    ServiceError,
    StratusLabError,
    UnavailableError,
)
from stratuslab_libcloud.untrusted import xml

OLD = """<VM><ID>7</ID><UNAME>jane</UNAME><NAME> web </NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE>
<STIME>1400000000</STIME><MEMORY>1572864</MEMORY><CPU>8</CPU><TEMPLATE><CPU>1</CPU><VCPU>2</VCPU>
<MEMORY>1536</MEMORY><DISK><DISK_ID>0</DISK_ID><SOURCE>https://m/metadata/X</SOURCE>
<TARGET>vda</TARGET></DISK><DISK><DISK_ID>1</DISK_ID><SIZE>512</SIZE><TYPE>swap</TYPE></DISK>
<NIC><IP>203.0.113.5</IP><NETWORK>public</NETWORK></NIC>
<NIC><IP>10.0.0.5</IP><NETWORK>local</NETWORK></NIC></TEMPLATE><HISTORY_RECORDS>
<HISTORY><SEQ>1</SEQ><HOSTNAME>new</HOSTNAME></HISTORY>
<HISTORY><SEQ>0</SEQ><HOSTNAME>old</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"""

MODERN = """<VM><ID>12</ID><UNAME>jane</UNAME><NAME>web</NAME><STATE>3</STATE>
<LCM_STATE>36</LCM_STATE><STIME>1700000000</STIME><TEMPLATE><CPU>0.5</CPU><MEMORY>1536</MEMORY>
<NIC><IP6_GLOBAL>2001:db8::1</IP6_GLOBAL></NIC></TEMPLATE><MONITORING><CPU>2.5</CPU>
<MEMORY>42</MEMORY></MONITORING><USER_TEMPLATE><ERROR>Mon: DEPLOY: no</ERROR></USER_TEMPLATE>
<HISTORY_RECORDS/></VM>"""

# As OpenNebula 3.2 writes it: a name as it is, values in CDATA (opennebula-engines 5).
SMUGGLER = """<VM><ID>7</ID><UNAME>jane</UNAME><NAME>{name}</NAME><STATE>2</STATE>
<LCM_STATE>0</LCM_STATE><STIME>5</STIME><MEMORY>1</MEMORY><CPU>2</CPU><TEMPLATE>
<CONTEXT><K><![CDATA[{value}]]></K></CONTEXT><NIC><IP>203.0.113.5</IP></NIC></TEMPLATE>
<HISTORY_RECORDS><HISTORY><SEQ>0</SEQ><HOSTNAME>real</HOSTNAME></HISTORY></HISTORY_RECORDS></VM>"""

SMUGGLED = """<ID>9</ID><UNAME>root</UNAME><STATE>6</STATE><LCM_STATE>3</LCM_STATE><STIME>8</STIME>
<MEMORY>8</MEMORY><CPU>8</CPU><HISTORY_RECORDS><HISTORY><SEQ>9</SEQ><HOSTNAME>evil</HOSTNAME>
</HISTORY></HISTORY_RECORDS><HISTORY><SEQ>9</SEQ><HOSTNAME>evil</HOSTNAME></HISTORY>"""


IMAGE = "KzQ7vYw0Lr-bT2mNcE_x4hUaS9d"
DISK = "0b5f9c2e-6d1a-4e37-8a90-1c2d3e4f5a6b"

NO = "<value><boolean>0</boolean></value>"
OKAY = "<value><boolean>1</boolean></value>"


NOBODY = "[VirtualMachineInfo] User couldn't be authenticated, aborting call."
VM = "<VM><ID>1</ID></VM>"


def fault(code: int, text: str) -> tuple[int, str, bytes]:
    body = (
        "<?xml version='1.0'?><methodResponse><fault><value><struct><member><name>faultCode</name>"
        f"<value><i4>{code}</i4></value></member><member><name>faultString</name><value>{text}"
        "</value></member></struct></value></fault></methodResponse>"
    )
    return 200, "text/xml", body.encode()


@contextmanager
def compute(
    *answers: Reply, path: str = "/one-proxy/xmlrpc"
) -> Iterator[tuple[ComputeClient, Canned]]:
    with Canned(list(answers)) as server:
        url = f"{server.url}{path}"
        yield ComputeClient(url, Password("jane", "s3cret"), HTTPOptions(timeout=5)), server


class TestCalls:
    def test_the_password_travels_once_through_a_proxy(self) -> None:
        with compute(rpc(True, 0, 0)) as (asked, server):
            assert asked.allocate("text", "n") == "0"
        (request,) = server.requests
        assert request.path == "/one-proxy/pswd/xmlrpc"
        assert b"s3cret" not in request.body
        assert b"<string>dummy:pass</string>" in request.body

    def test_an_engine_gets_it_as_session(self) -> None:
        with Canned([rpc(True, 5, 0)]) as server:
            engine = ComputeClient(
                f"{server.url}/RPC2", Password("jane", "s<3"), HTTPOptions(timeout=5)
            )
            engine.kill("5")
        assert server.requests[0].path == "/RPC2"
        assert b"<string>jane:s&lt;3</string>" in server.requests[0].body
        assert "Authorization" not in server.requests[0].headers

    def test_an_engine_takes_no_certificate(self) -> None:
        with pytest.raises(ConfigurationError, match="needs a password"):
            ComputeClient("http://h/RPC2", Certificate("/c", "/k"), HTTPOptions(timeout=5))

    def test_kill_falls_back_to_the_modern_word(self) -> None:
        refused = rpc(False, '[one.vm.action] Action "finalize" is not supported', 2048, -1, -1)
        with compute(refused, rpc(True, 0, 0)) as (asked, server):
            asked.kill("0")
        assert [b"terminate-hard" in request.body for request in server.requests] == [False, True]

    def test_shutdown_falls_back_likewise(self) -> None:
        refused = rpc(False, '[one.vm.action] Action "shutdown" is not supported', 2048, -1, -1)
        with compute(refused, rpc(True, 3, 0)) as (asked, server):
            asked.shutdown("3")
        assert b"<string>terminate</string>" in server.requests[1].body

    def test_a_retried_kill_that_finds_nothing_has_succeeded(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        gone = rpc(False, "[VirtualMachineAction] Error getting virtual machine [9].", 1024)
        with compute(hang_up, gone) as (asked, _):
            asked.kill("9")
        with compute(gone) as (asked, _), pytest.raises(NotFoundError):
            asked.kill("9")

    @pytest.mark.parametrize(("lcm_state", "ends"), [(11, True), (2, False)])
    def test_a_retried_kill_may_find_the_machine_ending(self, lcm_state: int, ends: bool) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        refused = rpc(False, "Could not terminate VM 9, wrong state", 2048, 9, -1)
        state = f"<VM><ID>9</ID><STATE>3</STATE><LCM_STATE>{lcm_state}</LCM_STATE></VM>"
        with compute(hang_up, refused, rpc(True, state, 0)) as (asked, _):
            if ends:
                asked.kill("9")
            else:
                with pytest.raises(ConflictError):
                    asked.kill("9")

    def test_a_modern_engine_cannot_be_asked_for_machines_yet(self) -> None:
        refused = rpc(False, "[one.vm.allocate] DISK 0: Unknown disk type ", 8192, -1, -1)
        with (
            compute(refused) as (asked, _),
            pytest.raises(NotSupportedError, match="not yet start"),
        ):
            asked.allocate("text", "n")

    @pytest.mark.parametrize("bad", ["", "x", "-1", "1 2", "../1", "99999999999", None, "\uff11"])
    def test_an_id_that_is_none_is_not_sent(self, bad: str) -> None:
        with compute(rpc(True, 0, 0)) as (asked, server):
            for call in (asked.info, asked.kill, asked.shutdown):
                with pytest.raises(InvalidValueError, match="not the id"):
                    call(bad)
        assert server.requests == []


def vm(number: int) -> str:
    return f"<VM><ID>{number}</ID><NAME>n</NAME><STATE>3</STATE><LCM_STATE>3</LCM_STATE></VM>"


class TestAboutAnother:
    """What is about another machine than was asked for is not believed."""

    SAYS = "was asked about node 5, but answered about node 7"

    def test_a_document(self) -> None:
        with compute(rpc(True, vm(7), 0)) as (asked, server):
            with pytest.raises(MalformedAnswerError, match=self.SAYS):
                asked.info("5")
            assert server.connections == len(server.requests) == 3  # none is used again

    def test_a_look_is_repeated(self) -> None:
        with compute(rpc(True, vm(7), 0), rpc(True, vm(5), 0)) as (asked, _):
            assert asked.info("5").id == "5"

    def test_leading_zeros_are_no_other_machine(self) -> None:
        with compute(rpc(True, vm(5), 0)) as (asked, _):
            assert asked.info("05").id == "5"

    def test_an_action_which_is_not_repeated(self) -> None:
        for call, doubt in (
            (ComputeClient.kill, ""),
            (ComputeClient.shutdown, "may be shutting down"),
        ):
            with compute(rpc(True, 7, 0)) as (asked, server):
                with pytest.raises(MalformedAnswerError, match=f"{self.SAYS}.*{doubt}"):
                    call(asked, "5")
                assert len(server.requests) == 1

    def test_a_refusal(self) -> None:
        def hang_up(handler: Handler, request: object) -> None:
            handler.hang_up()

        other = rpc(False, "[VirtualMachineAction] Error getting virtual machine [7].", 1024)
        with compute(hang_up, other) as (asked, server):
            with pytest.raises(MalformedAnswerError, match=self.SAYS):
                asked.kill("5")  # "gone" would be the other one
            assert len(server.requests) == 2


class TestAnswers:
    @pytest.mark.parametrize("further", [(), (0,), (0, -1), (0, -1, -1)])
    def test_success_of_any_length(self, further: tuple[int, ...]) -> None:
        with compute(rpc(True, 4, *further)) as (asked, _):
            assert asked.allocate("text", "n") == "4"

    def test_success_of_a_single_element(self) -> None:
        with compute(rpc(True)) as (asked, _):
            asked.kill("4")

    @pytest.mark.parametrize(
        ("text", "code", "kind"),
        [
            ("User [5] : Not authorized to perform USE VM [9].", 512, NotPermittedError),
            ("Error getting virtual machine [9].", 1024, NotFoundError),
            ("Wrong state to perform action", 2048, ConflictError),
            ("Virtual machine action not supported", 2048, NotSupportedError),
            ("Error allocating a new virtual machine. Parse error", 8192, ServiceError),
            ("Wrong state to perform action", None, ConflictError),
            ("Error getting VM [9].", None, NotFoundError),
        ],
    )
    def test_failures(self, text: str, code: int | None, kind: type[StratusLabError]) -> None:
        values = [False, text] if code is None else [False, text, code]
        with compute(rpc(*values)) as (asked, _), pytest.raises(kind) as caught:
            asked.info("9")
        assert text.rstrip(".") in str(caught.value)

    @pytest.mark.parametrize(
        ("path", "text", "code", "kind"),
        [
            ("/RPC2", NOBODY, 256, CredentialsError),
            ("/RPC2", "Could not find Authorization driver.", 512, UnavailableError),
            ("/one-proxy/xmlrpc", "Could not find Authorization driver.", 512, UnavailableError),
            ("/one-proxy/xmlrpc", NOBODY, 256, UnavailableError),
            ("/one-proxy/xmlrpc", NOBODY, None, UnavailableError),
        ],
    )
    def test_an_engine_that_has_just_started_knows_nobody(
        self, path: str, text: str, code: int | None, kind: type[StratusLabError]
    ) -> None:
        refusal = rpc(False, text) if code is None else rpc(False, text, code)
        with compute(refusal, path=path) as (asked, server):
            with pytest.raises(kind, match=re.escape(text.rstrip("."))) as caught:
                asked.info("9")
            assert caught.value.passing == (kind is UnavailableError)
            assert ("password" in str(caught.value)) == (kind is CredentialsError)
            assert len(server.requests) == (3 if caught.value.passing else 1)
            with pytest.raises(kind) as caught:
                asked.allocate("NAME = n", "n")
            assert "may have been created" not in str(caught.value)

    def test_it_is_asked_again(self) -> None:
        with compute(rpc(False, NOBODY, 256), rpc(True, VM, 0)) as (asked, _):
            assert asked.info("1").id == "1"

    @pytest.mark.parametrize(
        "text",
        [
            "Failed to read server's response: Connection refused",
            "Failed to read server's response: Connection reset by peer",
            "Failed to create input stream: Read timed out",
            "internal server error",
        ],
    )
    def test_what_a_proxy_says_of_its_engine_passes(self, text: str) -> None:
        with compute(fault(0, text), rpc(True, VM, 0)) as (asked, server):
            assert asked.info("1").id == "1"
            assert len(server.requests) == 2
        with compute(fault(0, text)) as (asked, server):
            with pytest.raises(UnavailableError, match=text):
                asked.machines()
            server.requests.clear()
            with pytest.raises(UnavailableError, match="named 'n' may have been created"):
                asked.allocate("NAME = n", "n")
            assert len(server.requests) == 1

    @pytest.mark.parametrize(
        ("code", "text"),
        [(0, "certificate DN or username not provided"), (-503, "Failed to parse XML")],
    )
    def test_other_faults_are_final(self, code: int, text: str) -> None:
        with compute(fault(code, text)) as (asked, server):
            with pytest.raises(ServiceError, match=f"fault {code}: {text}") as caught:
                asked.allocate("NAME = n", "n")
            assert not isinstance(caught.value, UnavailableError)
            assert "may have been created" not in str(caught.value)
            assert len(server.requests) == 1

    def test_a_fault(self) -> None:
        with compute(fault(-506, "Method 'x' not defined")) as (asked, _):
            with pytest.raises(ServiceError, match="fault -506: Method 'x' not defined"):
                asked.info("9")

    @pytest.mark.parametrize(
        ("kind", "body"),
        [
            ("text/html", b"<html><body>hello</body></html>"),
            ("text/xml", b"<html/>"),
            ("text/xml", b""),
            ("text/xml", b"not xml"),
            ("text/xml", rpc(True, OLD, 0)[2][:-40]),
            ("text/xml", b"<!DOCTYPE a [<!ENTITY b 'c'>]><methodResponse/>"),
            ("text/xml", rpc(True, "<VM><ID>1</ID>", 0)[2]),
            ("text/xml", rpc(True, "<VM><NAME>nameless</NAME></VM>", 0)[2]),
            ("text/xml", rpc(True, "<!DOCTYPE VM []><VM><ID>1</ID></VM>", 0)[2]),
        ],
    )
    def test_what_cannot_be_read_is_malformed(self, kind: str, body: bytes) -> None:
        with compute((200, kind, body)) as (asked, _), pytest.raises(MalformedAnswerError):
            asked.info("1")


class TestDocuments:
    @pytest.mark.parametrize(
        ("source", "meant"),
        [
            (f"https://m.example.org/metadata/{IMAGE}", IMAGE),
            (f"https://m.example.org/marketplace/metadata/{IMAGE}/", IMAGE),
            (f"https://m.example.org/metadata/{IMAGE}/ann@example.org", IMAGE),
            (f"https://m.example.org/metadata/{IMAGE}/ann@example.org/2014-03-02T10:11:12Z", IMAGE),
            (f"https://m.example.org/metadata/ann@example.org/{IMAGE}?media=xml", IMAGE),
            (f"https://m.example.org/metadata/{IMAGE}/{'e' * 27}", IMAGE),
            (f"pdisk:https://h.example.org/pdisk/{DISK}", DISK),
            (f"pdisk:h.example.org:8445:{DISK}", DISK),
            (f"pdisk:h.example.org:{DISK}", DISK),
            (f"pdisk:10.4.5.6:8445/{DISK}", DISK),
            (f"pdisk://h.example.org/pdisk/{DISK}", DISK),
            (f"https://h.example.org/pdisk/pswd/disks/{DISK}/", DISK),
            ("http://h.example.org/images/ubuntu.img", "ubuntu.img"),
            ("/var/lib/one/images/42", "42"),
            ("https://m.example.org/metadata/X", "X"),
            ("/", ""),
        ],
    )
    def test_what_a_disk_is_made_of(self, source: str, meant: str) -> None:
        assert image_id(source) == meant

    def test_values_are_trimmed_but_not_names(self) -> None:
        indented = OLD.replace(">", ">\n  ").replace("</", "\n</")
        (machine,), (plain,) = (read_pool(answer(pool(text)[2])) for text in (indented, OLD))
        assert machine.name.strip() == plain.name.strip() == "web"
        assert machine._replace(name="") == plain._replace(name="")

    def test_the_stratuslab_generation(self) -> None:
        with compute(rpc(True, OLD, 0)) as (asked, _):
            machine = asked.info("7")
        assert (machine.id, machine.name, machine.owner) == ("7", " web ", "jane")
        assert (machine.summary, machine.running, machine.host) == ("Running", True, "new")
        assert (machine.cpus, machine.memory, machine.memory_kib) == (2, 1536, 1572864)
        assert machine.cpu_percent == 8
        assert [(nic["ip"], nic["network"]) for nic in machine.nics] == [
            ("203.0.113.5", "public"),
            ("10.0.0.5", "local"),
        ]
        assert [(disk["id"], disk["size"], disk["target"]) for disk in machine.disks] == [
            ("0", None, "vda"),
            ("1", 512, None),
        ]

    def test_the_modern_generation(self) -> None:
        with compute(rpc(True, MODERN, 0)) as (asked, _):
            machine = asked.info("12")
        assert (machine.summary, machine.host) == ("Boot_Failure", None)
        assert machine.error == "Mon: DEPLOY: no"
        assert (machine.cpu_percent, machine.memory_kib, machine.cpus) == (2.5, 42, 1)
        assert machine.nics[0]["ip"] == "2001:db8::1"

    def test_the_oldest_generation(self) -> None:
        vm = "<VM><ID>1</ID><STATE>3</STATE><HISTORY><HOSTNAME>h</HOSTNAME></HISTORY></VM>"
        with compute(pool(vm)) as (asked, _):
            assert asked.machines()[0].host == "h"

    @pytest.mark.parametrize(
        "vm",
        [
            "<VM><ID>0</ID></VM>",
            "<VM><ID>0</ID><NAME/><STATE/><TEMPLATE/><HISTORY_RECORDS/></VM>",
            "<VM><ID>0</ID><STATE>x</STATE><TEMPLATE><NIC/><DISK/></TEMPLATE></VM>",
            "<VM><ID>0</ID><MEMORY>" + "9" * 5000 + "</MEMORY><STIME>-1</STIME></VM>",
        ],
    )
    def test_one_poor_machine_never_breaks_a_listing(self, vm: str) -> None:
        with compute(pool(OLD, vm, MODERN)) as (asked, _):
            assert [machine.id for machine in asked.machines()] == ["7", "0", "12"]

    def test_an_empty_pool(self) -> None:
        with compute(pool()) as (asked, _):
            assert asked.machines() == []

    def test_the_last_of_several_errors_counts(self) -> None:
        errors = "".join(f"<ERROR><MESSAGE>{text}</MESSAGE></ERROR>" for text in ("one", "two"))
        vm = f"<VM><ID>0</ID><TEMPLATE>{errors}</TEMPLATE></VM>"
        with compute(rpc(True, vm, 0)) as (asked, _):
            assert asked.info("0").error == "two"

    def test_what_a_name_smuggled_in_is_not_believed(self) -> None:
        plain = SMUGGLER.format(name="x", value="")
        hostile = SMUGGLER.format(name=f"x</NAME>{SMUGGLED}<NAME>y", value="")
        with compute(pool(plain, hostile), rpc(True, hostile, 0)) as (asked, _):
            honest, listed = asked.machines()
            assert listed == honest == asked.info("7")
        assert (honest.id, honest.name, honest.owner, honest.summary) == ("7", "x", "jane", "Hold")
        assert (honest.host, honest.started, honest.nics[0]["ip"]) == ("real", 5, "203.0.113.5")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("x", f"]]></K></CONTEXT></TEMPLATE>{SMUGGLED}<TEMPLATE><CONTEXT><K><![CDATA["),
            (f"x</NAME>{SMUGGLED}<TEMPLATE><NIC><IP>192.0.2.9</IP></NIC></TEMPLATE><NAME>", ""),
        ],
        ids=["context", "name"],
    )
    def test_where_nothing_tells_what_is_real_nothing_is_believed(
        self, name: str, value: str
    ) -> None:
        with compute(rpc(True, SMUGGLER.format(name=name, value=value), 0)) as (asked, _):
            machine = asked.info("7")
        assert (machine.id, machine.name, machine.owner) == ("7", "x", "jane")
        assert (machine.state, machine.lcm_state, machine.running) == (-1, -1, False)
        assert not machine.ending
        assert [*machine.nics, *machine.disks] == []
        assert (machine.host, machine.started, machine.memory_kib) == ("real", None, None)

    def test_a_context_key_named_like_a_machine_is_none(self) -> None:
        vm = "<VM><ID>0</ID><TEMPLATE><CONTEXT><VM>9</VM></CONTEXT><VCPU>2</VCPU></TEMPLATE></VM>"
        with compute(pool(vm)) as (asked, _):
            (machine,) = asked.machines()
        assert (machine.id, machine.cpus) == ("0", 2)

    def test_a_large_pool_is_read_whole(self) -> None:
        padding = "<X>" + "y" * 1000 + "</X>"
        vms = [f"<VM><ID>{n}</ID><TEMPLATE>{padding}</TEMPLATE></VM>" for n in range(12000)]
        with compute(pool(*vms)) as (asked, _):  # 12 MB in one text node
            assert [machine.id for machine in asked.machines()] == [str(n) for n in range(12000)]


@pytest.mark.parametrize("inner", ["<A>", "<A/>"])
def test_a_machine_without_end_is_refused(inner: str) -> None:
    endless = f"<VM><ID>1</ID>{inner * (5 * 2**20 // len(inner))}"
    with compute(rpc(True, f"<VM_POOL>{endless}", 0)) as (asked, _):
        with pytest.raises(MalformedAnswerError, match="more than 100,000 tags"):
            asked.machines()
    with compute(rpc(True, endless, 0)) as (asked, _):
        with pytest.raises(MalformedAnswerError, match="more than 100,000 tags"):
            asked.info("1")


def answer(body: bytes, kind: str = "text/xml") -> Answer:
    return Answer(200, {"Content-Type": kind}, iter([body[:7], body[7:]]))


def read(reader: Callable[[Answer], object], body: bytes) -> None:
    """Whatever comes: a result or a LibcloudError."""
    try:
        read_answer(reader, answer(body))
    except LibcloudError as error:
        assert "\n" not in str(error)


@given(st.binary())
def test_arbitrary_bytes_as_answer(body: bytes) -> None:
    read(read_value, body)
    read(read_pool, body)


ENVELOPE = st.recursive(
    st.sampled_from(["0", "1", "true", "-1", "99999999999", "x", "&lt;VM>", "256", " ", "", "é"]),
    lambda inner: st.tuples(
        st.sampled_from(
            [
                *("params", "param", "value", "array", "data", "boolean", "i4", "i8", "string"),
                *("int", "nil", "struct", "member", "name", "fault", "methodResponse", "base64"),
            ]
        ),
        st.lists(inner, max_size=4).map("".join),
    ).map(lambda pair: f"<{pair[0]}>{pair[1]}</{pair[0]}>"),
    max_leaves=15,
)


@settings(max_examples=300)
@given(ENVELOPE, st.booleans())
@example("<fault/>", False)
@example("<fault><value><int>1</int><int>2</int></value></fault>", False)
@example("<array><value><boolean>0</boolean></value></array>", False)
@example("<value><boolean>1</boolean></value><value>", True)
def test_envelopes_of_any_shape(inner: str, framed: bool) -> None:
    if framed:
        inner = (
            f"<params><param><value><array><data>{inner}</data></array></value></param></params>"
        )
    body = f"<methodResponse>{inner}</methodResponse>".encode()
    for reader in (read_value, read_pool, read_machine):
        read(reader, body)


class TestTooMuch:
    """An answer is bounded; what has to be held until it is complete is bounded more."""

    def check(self, readers: tuple[Callable[[Answer], object], ...], begin: str, more: str) -> None:
        def endless() -> Iterator[bytes]:
            yield f"<methodResponse><params><param><value><array><data>{begin}".encode()
            for _ in range(16 * 16):
                yield more.encode() * (2**16 // len(more))
            raise AssertionError("16 MiB were read")

        for reader in readers:
            with pytest.raises((MalformedAnswerError, xml.UnsafeXMLError), match="more"):
                reader(Answer(200, {"Content-Type": "text/xml"}, endless()))

    @pytest.mark.parametrize(
        ("begin", "more"),
        [
            (f"{NO}<value><string>", "x" * 99),
            (OKAY, "<value><i4>1</i4></value>"),
            (OKAY, "<value/>"),
            ("<value><boolean>", "1"),
            ("<fault><value><string>", "x"),
            ("<x y='", "x"),
            ("<!--", "x"),
        ],
    )
    def test_of_values_is_not_read_to_its_end(self, begin: str, more: str) -> None:
        self.check((read_value, read_pool, read_machine), begin, more)

    @pytest.mark.parametrize(
        ("begin", "more"), [(">", "&lt;a/>"), (" a='", "x"), (">&lt;!--", "x")]
    )
    def test_of_one_machine_is_not_read_to_its_end(self, begin: str, more: str) -> None:
        pooled = f"{OKAY}<value><string>&lt;VM_POOL>&lt;VM>&lt;ID>1&lt;/ID>&lt;X{begin}"
        self.check((read_pool,), pooled, more)
        self.check((read_machine,), pooled.replace("&lt;VM_POOL>", ""), more)

    def test_a_document_of_some_megabytes_is_read_in_one_piece_too(self) -> None:
        key = "x" * 3 * 2**20
        for values in ((True, SMUGGLER), (True, SMUGGLER, 0)):
            body = rpc(*values)[2].replace(b"{value}", key.encode())
            machine = read_machine(Answer(200, {"Content-Type": "text/xml"}, iter([body])))
            assert machine.nics[0]["ip"] == "203.0.113.5"


TAGS = (
    *("VM", "ID", "NAME", "STATE", "LCM_STATE", "TEMPLATE", "NIC", "IP", "DISK", "SIZE", "ERROR"),
    *("MESSAGE", "HISTORY", "SEQ", "CPU", "HISTORY_RECORDS", "MEMORY", "STIME", "USER_TEMPLATE"),
    *("MONITORING", "HOSTNAME"),
)
XML = st.recursive(
    st.text(st.characters(exclude_categories=["C"], exclude_characters="<&]"), max_size=9),
    lambda inner: st.tuples(
        st.sampled_from(TAGS),
        st.lists(inner, max_size=4).map("".join),
    ).map(lambda pair: f"<{pair[0]}>{pair[1]}</{pair[0]}>"),
    max_leaves=12,
)


@given(st.lists(XML, max_size=4))
def test_documents_of_any_shape(children: list[str]) -> None:
    vm = f"<VM><ID>3</ID>{''.join(children)}</VM>"
    machines = read_pool(answer(pool(vm)[2]))
    assert [machine.id for machine in machines] == ["3"]


@given(st.text(st.characters(codec="utf-8"), max_size=50))
def test_text_in_an_answer_is_read_as_it_was_written(text: str) -> None:
    text = "".join(c for c in text if c.isprintable() or c == "\n")
    assert read_value(answer(rpc(True, text, 0)[2])) == text


def test_a_doctype_is_refused_before_its_entities_are_read() -> None:
    bomb = b"<!DOCTYPE a [<!ENTITY b 'x'><!ENTITY c '&b;&b;'>]><VM_POOL a='&c;'/>"
    with pytest.raises(xml.UnsafeXMLError, match="DOCTYPE"):
        xml.parse(bomb)
    with pytest.raises(xml.UnsafeXMLError, match="DOCTYPE"):
        list(xml.stream([bomb[:20], bomb[20:]], "VM", ("VM_POOL",)))


# -- consoles


def console_answer(status: int, document: object) -> tuple[int, str, bytes]:
    return status, "application/json", json.dumps(document).encode()


def test_a_console_is_asked_for_below_the_service_with_its_login() -> None:
    answer = console_answer(200, {"id": "7", "console": "one\ntwo\n"})
    with Canned([answer]) as server:
        cloud = ComputeClient(f"{server.url}/one-proxy/xmlrpc", Password("u", "p"), HTTPOptions())
        assert cloud.console("7") == "one\ntwo\n"
        cloud.close()
    (request,) = server.requests
    assert (request.method, request.path) == ("GET", "/one-proxy/pswd/xmlrpc/machines/7/console")
    assert request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    "answer",
    [
        (404, "text/html", b"<html>Not Found</html>"),
        (404, "text/plain", b"There is nothing here."),
        (405, "text/html", b""),
        (501, "text/plain", b"no GET"),
    ],
)
def test_a_site_without_consoles_is_said_to_be_one(answer: tuple[int, str, bytes]) -> None:
    with Canned([answer]) as server:
        cloud = ComputeClient(f"{server.url}/xmlrpc", Password("u", "p"), HTTPOptions())
        with pytest.raises(NotSupportedError) as caught:
            cloud.console("7")
        cloud.close()
    assert str(caught.value) == (
        f"{server.url}/xmlrpc: does not show the consoles of nodes; only a sandbox does; "
        "log in to the node by SSH, or ask the operator"
    )


def test_an_engine_is_not_even_asked() -> None:
    with Canned([(404, "text/plain", b"")]) as server:
        cloud = ComputeClient(f"{server.url}/RPC2", Password("u", "p"), HTTPOptions())
        with pytest.raises(NotSupportedError, match="only a sandbox does"):
            cloud.console("7")
        cloud.close()
        assert server.requests == []


def test_a_node_that_there_is_not_is_not_taken_for_a_lack_of_consoles() -> None:
    answer = console_answer(404, {"message": "Error getting virtual machine [7]."})
    with Canned([answer]) as server:
        cloud = ComputeClient(f"{server.url}/xmlrpc", Password("u", "p"), HTTPOptions())
        with pytest.raises(NotFoundError, match=r"virtual machine \[7\]"):
            cloud.console("7")
        cloud.close()


@pytest.mark.parametrize(
    "document",
    [{}, [], None, "text", {"id": "7"}, {"id": "7", "console": 1}, {"id": "8", "console": ""}],
)
def test_an_answer_that_is_no_console_of_this_node_is_refused(document: object) -> None:
    with Canned([console_answer(200, document)]) as server:
        cloud = ComputeClient(f"{server.url}/xmlrpc", Password("u", "p"), HTTPOptions(timeout=5))
        with pytest.raises(MalformedAnswerError):
            cloud.console("7")
        cloud.close()
