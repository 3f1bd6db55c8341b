"""
The server's answers: realistic documents of any size, the same in every run.

Marketplace entries are signed, and have about 4.6 kB (marketplace-rest 4.2, 9.1). VM documents are
those of OpenNebula 3.2, which StratusLab deployed (compute-xmlrpc 5.1).

A modern engine's machine in a pool has a disk, a network card, a screen and a label, and comes
without its context (modern 6); its image is complete (modern 4). They are of the sizes that were
recorded (modern 2).
"""

import base64
import json
import random
from xml.sax.saxutils import escape

__all__ = [
    "allocated",
    "engine_images",
    "engine_machines",
    "entries_json",
    "entries_xml",
    "machine",
    "machines",
    "volumes",
]

_SYSTEMS = (("Debian", "12"), ("CentOS", "7.9"), ("Ubuntu", "22.04"), ("ttylinux", "9.3"))

_ENTRY = """\
<rdf:RDF xmlns:dcterms="http://purl.org/dc/terms/" \
xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#" \
xmlns:slreq="http://mp.stratuslab.eu/slreq#" xmlns:slterms="http://mp.stratuslab.eu/slterms#" \
xml:base="http://mp.stratuslab.eu/">
  <rdf:Description rdf:about="#{identifier}">
    <dcterms:identifier>{identifier}</dcterms:identifier>
    <slreq:bytes>{size}</slreq:bytes>
    <slreq:checksum rdf:parseType="Resource">
      <slreq:algorithm>MD5</slreq:algorithm>
      <slreq:value>{md5}</slreq:value>
    </slreq:checksum>
    <slreq:checksum rdf:parseType="Resource">
      <slreq:algorithm>SHA-1</slreq:algorithm>
      <slreq:value>{sha1}</slreq:value>
    </slreq:checksum>
    <slreq:checksum rdf:parseType="Resource">
      <slreq:algorithm>SHA-256</slreq:algorithm>
      <slreq:value>{sha256}</slreq:value>
    </slreq:checksum>
    <slreq:checksum rdf:parseType="Resource">
      <slreq:algorithm>SHA-512</slreq:algorithm>
      <slreq:value>{sha512}</slreq:value>
    </slreq:checksum>
    <slreq:endorsement rdf:parseType="Resource">\
<created xmlns="http://purl.org/dc/terms/">{endorsed}</created>\
<endorser xmlns="http://mp.stratuslab.eu/slreq#" rdf:parseType="Resource">\
<email>{endorser}</email><subject>CN={who},OU=Images,O=Example Org,C=EU</subject>\
<issuer>CN=Example CA,O=Example Org,C=EU</issuer></endorser></slreq:endorsement>
    <dcterms:type>base</dcterms:type>
    <slterms:kind>machine</slterms:kind>
    <slterms:os>{os}</slterms:os>
    <slterms:os-version>{os_version}</slterms:os-version>
    <slterms:os-arch>x86_64</slterms:os-arch>
    <slterms:version>1.{number}</slterms:version>
    <dcterms:compression>gz</dcterms:compression>
    <slterms:location>{location}</slterms:location>
    <dcterms:format>qcow2</dcterms:format>
    <dcterms:creator>{who}</dcterms:creator>
    <dcterms:created>{endorsed}</dcterms:created>
    <dcterms:valid>2035-01-01T00:00:00Z</dcterms:valid>
    <dcterms:title>{title}</dcterms:title>
    <dcterms:alternative>image-{number}</dcterms:alternative>
    <dcterms:description>{description}</dcterms:description>
    <slterms:hypervisor>kvm</slterms:hypervisor>
    <slterms:disks-bus>virtio</slterms:disks-bus>
    <slterms:inbound-port>22</slterms:inbound-port>
    <dcterms:publisher>Example Org</dcterms:publisher>
  </rdf:Description>
<Signature xmlns="http://www.w3.org/2000/09/xmldsig#"><SignedInfo><CanonicalizationMethod \
Algorithm="http://www.w3.org/TR/2001/REC-xml-c14n-20010315#WithComments"/><SignatureMethod \
Algorithm="http://www.w3.org/2000/09/xmldsig#rsa-sha1"/><Reference URI=""><Transforms>\
<Transform Algorithm="http://www.w3.org/2000/09/xmldsig#enveloped-signature"/></Transforms>\
<DigestMethod Algorithm="http://www.w3.org/2000/09/xmldsig#sha1"/>\
<DigestValue>{digest}</DigestValue></Reference></SignedInfo><SignatureValue>{signature}\
</SignatureValue><KeyInfo><X509Data><X509Certificate>{certificate}</X509Certificate></X509Data>\
</KeyInfo></Signature></rdf:RDF>
"""

_MACHINE = (
    "<VM><ID>{id}</ID><UID>12</UID><GID>1</GID><UNAME>jane</UNAME><GNAME>users</GNAME>"
    "<NAME>worker-{id}</NAME><PERMISSIONS><OWNER_U>1</OWNER_U><OWNER_M>1</OWNER_M>"
    "<OWNER_A>0</OWNER_A><GROUP_U>0</GROUP_U><GROUP_M>0</GROUP_M><GROUP_A>0</GROUP_A>"
    "<OTHER_U>0</OTHER_U><OTHER_M>0</OTHER_M><OTHER_A>0</OTHER_A></PERMISSIONS>"
    "<LAST_POLL>1400000600</LAST_POLL><STATE>3</STATE><LCM_STATE>3</LCM_STATE>"
    "<STIME>{started}</STIME><ETIME>0</ETIME><DEPLOY_ID>one-{id}</DEPLOY_ID>"
    "<MEMORY>1572864</MEMORY><CPU>{cpu}</CPU><NET_TX>12345</NET_TX><NET_RX>678901</NET_RX>"
    "<TEMPLATE><CONTEXT><PUBLIC_KEY><![CDATA[ssh-rsa {key} jane@example.org\n]]></PUBLIC_KEY>"
    "<TARGET><![CDATA[hdd]]></TARGET></CONTEXT><CPU><![CDATA[1]]></CPU>"
    "<DISK><DISK_ID><![CDATA[0]]></DISK_ID><DRIVER><![CDATA[qcow2]]></DRIVER>"
    "<READONLY><![CDATA[no]]></READONLY><SAVE><![CDATA[no]]></SAVE>"
    "<SOURCE><![CDATA[https://marketplace.example.org/metadata/{image}]]></SOURCE>"
    "<TARGET><![CDATA[vda]]></TARGET></DISK>"
    "<DISK><DISK_ID><![CDATA[1]]></DISK_ID><READONLY><![CDATA[no]]></READONLY>"
    "<SIZE><![CDATA[1536]]></SIZE><TARGET><![CDATA[vdb]]></TARGET><TYPE><![CDATA[swap]]></TYPE>"
    "</DISK><DISK><DISK_ID><![CDATA[2]]></DISK_ID>"
    "<SOURCE><![CDATA[pdisk:https://pdisk.example.org/pdisk/{disk}]]></SOURCE>"
    "<TARGET><![CDATA[vdc]]></TARGET><TYPE><![CDATA[block]]></TYPE></DISK>"
    "<GRAPHICS><KEYMAP><![CDATA[en-us]]></KEYMAP><PORT><![CDATA[-1]]></PORT>"
    "<TYPE><![CDATA[vnc]]></TYPE></GRAPHICS><INBOUND_PORTS><![CDATA[22,80]]></INBOUND_PORTS>"
    "<MEMORY><![CDATA[1536]]></MEMORY><NAME><![CDATA[worker-{id}]]></NAME>"
    "<NIC><BRIDGE><![CDATA[br0]]></BRIDGE><IP><![CDATA[{ip}]]></IP>"
    "<MAC><![CDATA[02:00:cb:00:71:2d]]></MAC><NETWORK><![CDATA[public]]></NETWORK>"
    "<NETWORK_ID><![CDATA[0]]></NETWORK_ID><NETWORK_UNAME><![CDATA[oneadmin]]></NETWORK_UNAME>"
    "<VLAN><![CDATA[NO]]></VLAN></NIC><RANK><![CDATA[- RUNNING_VMS]]></RANK>"
    "<VCPU><![CDATA[1]]></VCPU><VMID><![CDATA[{id}]]></VMID></TEMPLATE><HISTORY_RECORDS><HISTORY>"
    "<SEQ>0</SEQ><HOSTNAME>node-{host}.example.org</HOSTNAME><VM_DIR>/var/lib/one</VM_DIR>"
    "<HID>{host}</HID><STIME>1400000010</STIME><ETIME>0</ETIME><VMMMAD>vmm_kvm</VMMMAD>"
    "<VNMMAD>dummy</VNMMAD><TMMAD>tm_stratuslab</TMMAD><PSTIME>1400000010</PSTIME>"
    "<PETIME>1400000065</PETIME><RSTIME>1400000065</RSTIME><RETIME>0</RETIME><ESTIME>0</ESTIME>"
    "<EETIME>0</EETIME><REASON>0</REASON></HISTORY></HISTORY_RECORDS></VM>"
)

_ENGINE_MACHINE = (
    "<VM><ID>{id}</ID><UID>12</UID><GID>1</GID><UNAME>jane</UNAME><GNAME>users</GNAME>"
    "<NAME>worker-{id}</NAME><LAST_POLL>1795724600</LAST_POLL><STATE>3</STATE>"
    "<LCM_STATE>3</LCM_STATE><RESCHED>0</RESCHED><STIME>{born}</STIME><ETIME>0</ETIME>"
    "<DEPLOY_ID>one-{id}</DEPLOY_ID><MONITORING><CPU><![CDATA[{percent}.0]]></CPU>"
    "<MEMORY><![CDATA[1572864]]></MEMORY><STATE><![CDATA[a]]></STATE></MONITORING>"
    "<TEMPLATE><CPU><![CDATA[1]]></CPU><DISK><CLONE><![CDATA[YES]]></CLONE>"
    "<CLONE_TARGET><![CDATA[SYSTEM]]></CLONE_TARGET><DATASTORE><![CDATA[default]]></DATASTORE>"
    "<DATASTORE_ID><![CDATA[1]]></DATASTORE_ID><DISK_ID><![CDATA[0]]></DISK_ID>"
    "<DISK_SNAPSHOT_TOTAL_SIZE><![CDATA[0]]></DISK_SNAPSHOT_TOTAL_SIZE>"
    "<DISK_TYPE><![CDATA[FILE]]></DISK_TYPE><IMAGE><![CDATA[Debian 12, no. {image}]]></IMAGE>"
    "<IMAGE_ID><![CDATA[{image}]]></IMAGE_ID><LN_TARGET><![CDATA[NONE]]></LN_TARGET>"
    "<SIZE><![CDATA[2048]]></SIZE><TM_MAD_SYSTEM><![CDATA[local]]></TM_MAD_SYSTEM>"
    "<TYPE><![CDATA[FILE]]></TYPE></DISK><GRAPHICS><LISTEN><![CDATA[0.0.0.0]]></LISTEN>"
    "<PORT><![CDATA[{port}]]></PORT><TYPE><![CDATA[VNC]]></TYPE></GRAPHICS>"
    "<MEMORY><![CDATA[1536]]></MEMORY><NIC><IP><![CDATA[{ip}]]></IP>"
    "<MAC><![CDATA[02:00:0a:00:71:2d]]></MAC><NETWORK><![CDATA[public]]></NETWORK>"
    "<NETWORK_ID><![CDATA[0]]></NETWORK_ID><NIC_ID><![CDATA[0]]></NIC_ID>"
    "<SECURITY_GROUPS><![CDATA[0]]></SECURITY_GROUPS></NIC><VCPU><![CDATA[1]]></VCPU></TEMPLATE>"
    "<USER_TEMPLATE><LABELS><![CDATA[stratuslab-{id:012x}]]></LABELS></USER_TEMPLATE>"
    "<HISTORY_RECORDS><HISTORY><OID>{id}</OID><SEQ>0</SEQ>"
    "<HOSTNAME><![CDATA[node-{host}.example.org]]></HOSTNAME><HID>{host}</HID><CID>0</CID>"
    "<STIME>{born}</STIME><ETIME>0</ETIME><VM_MAD><![CDATA[kvm]]></VM_MAD>"
    "<TM_MAD><![CDATA[local]]></TM_MAD><DS_ID>0</DS_ID><ACTION>0</ACTION></HISTORY>"
    "</HISTORY_RECORDS></VM>"
)

_ENGINE_IMAGE = (
    "<IMAGE><ID>{id}</ID><UID>0</UID><GID>0</GID><UNAME>oneadmin</UNAME><GNAME>oneadmin</GNAME>"
    "<NAME>Debian 12, no. {id}</NAME><PERMISSIONS><OWNER_U>1</OWNER_U><OWNER_M>1</OWNER_M>"
    "<OWNER_A>0</OWNER_A><GROUP_U>0</GROUP_U><GROUP_M>0</GROUP_M><GROUP_A>0</GROUP_A>"
    "<OTHER_U>1</OTHER_U><OTHER_M>0</OTHER_M><OTHER_A>0</OTHER_A></PERMISSIONS><TYPE>0</TYPE>"
    "<DISK_TYPE>0</DISK_TYPE><PERSISTENT>0</PERSISTENT><REGTIME>{born}</REGTIME>"
    "<MODTIME>{born}</MODTIME><SOURCE><![CDATA[/var/lib/one//datastores/1/{source:032x}]]>"
    "</SOURCE><PATH><![CDATA[]]></PATH><FORMAT><![CDATA[qcow2]]></FORMAT><FS><![CDATA[]]></FS>"
    "<SIZE>2048</SIZE><STATE>2</STATE><PREV_STATE>1</PREV_STATE><RUNNING_VMS>1</RUNNING_VMS>"
    "<CLONING_OPS>0</CLONING_OPS><CLONING_ID>-1</CLONING_ID>"
    "<TARGET_SNAPSHOT>-1</TARGET_SNAPSHOT><DATASTORE_ID>1</DATASTORE_ID>"
    "<DATASTORE>default</DATASTORE><VMS><ID>{id}</ID></VMS><CLONES></CLONES>"
    "<APP_CLONES></APP_CLONES><TEMPLATE>"
    "<DESCRIPTION><![CDATA[Debian 12 with tools for users of the grid.]]></DESCRIPTION>"
    "<DEV_PREFIX><![CDATA[vd]]></DEV_PREFIX></TEMPLATE><SNAPSHOTS>"
    "<ALLOW_ORPHANS><![CDATA[NO]]></ALLOW_ORPHANS><CURRENT_BASE><![CDATA[-1]]></CURRENT_BASE>"
    "<NEXT_SNAPSHOT><![CDATA[0]]></NEXT_SNAPSHOT></SNAPSHOTS>"
    "<BACKUP_INCREMENTS></BACKUP_INCREMENTS><BACKUP_DISK_IDS></BACKUP_DISK_IDS></IMAGE>"
)

_REPLY = (
    '<?xml version="1.0" encoding="UTF-8"?>\r\n<methodResponse>\r\n<params>\r\n<param><value>'
    "<array><data>\r\n<value><boolean>1</boolean></value>\r\n<value>{}</value>\r\n"
    "<value><i4>0</i4></value>\r\n</data></array></value></param>\r\n</params>\r\n"
    "</methodResponse>\r\n"
)


def _chance(what: str, number: int) -> random.Random:
    return random.Random(f"{what} {number}")  # noqa: S311 - the same in every run, and no secret


def _base64(chance: random.Random, size: int, width: int = 76) -> str:
    text = base64.b64encode(chance.randbytes(size)).decode()
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


def _uuid(what: str, number: int) -> str:
    chance = _chance(what, number)
    return "-".join(chance.randbytes(size).hex() for size in (4, 2, 2, 2, 6))


def _fields(number: int) -> dict[str, str]:
    """Make the values of an image that both forms of a listing contain."""
    chance = _chance("entry", number)
    os, os_version = chance.choice(_SYSTEMS)
    sha1 = chance.randbytes(20)
    identifier = base64.urlsafe_b64encode(b"\0" + sha1)[1:].decode()
    words = ("image", "with", "tools", "for", "users", "of", "the", "grid", "and", os)
    description = " ".join(chance.choice(words) for _ in range(chance.randint(5, 60)))
    return {
        "number": str(number),
        "identifier": identifier,
        "sha1": sha1.hex(),
        "os": os,
        "os_version": os_version,
        "endorser": f"builder{number % 44}@example.org",
        "who": f"Builder {number % 44}",
        "endorsed": f"20{10 + number % 15}-0{1 + number % 9}-1{number % 10}T10:00:00Z",
        "location": f"https://images.example.org/{os}/{number}.qcow2.gz",
        "description": f"{os} {description}.",
        "title": f"{os} {os_version} base, no. {number}",
    }


def entries_xml(count: int) -> bytes:
    """Make a listing as XML (marketplace-rest 3.2)."""
    written = []
    for number in range(count):
        chance = _chance("signature", number)
        written.append(
            _ENTRY.format(
                **_fields(number),
                size=chance.randrange(2**33),
                md5=chance.randbytes(16).hex(),
                sha256=chance.randbytes(32).hex(),
                sha512=chance.randbytes(64).hex(),
                digest=_base64(chance, 20),
                signature=_base64(chance, 256),
                certificate=_base64(chance, 866, 64),
            )
        )
    start = '<?xml version="1.0" encoding="UTF-8" standalone="no"?><metadata>'
    return f"{start}{''.join(written)}</metadata>\n".encode()


def entries_json(count: int) -> bytes:
    """Make a listing as JSON (marketplace-rest 3.4)."""
    rows = []
    for number in range(count):
        fields = _fields(number)
        names = ("endorsed", "identifier", "location", "description", "title")
        first = ["", fields["os"], fields["os_version"], "x86_64", fields["endorser"], "machine"]
        rows.append([*first, *(fields[name] for name in names)])
    counts = {"sEcho": 0, "iTotalRecords": count, "iTotalDisplayRecords": count}
    message = "no metadata matching query found"
    listing = json.dumps({**counts, "rMsg": message, "aaData": rows}, separators=(",", ":"))
    return listing.replace("/", "\\/").encode()


def _machine(number: int) -> str:
    chance = _chance("machine", number)
    return _MACHINE.format(
        id=number,
        started=1_400_000_000 + number,
        cpu=chance.randint(0, 100),
        key=_base64(chance, 279, 1000),
        image=base64.urlsafe_b64encode(b"\0" + chance.randbytes(20))[1:].decode(),
        disk=_uuid("disk", number),
        ip=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        host=number % 40,
    )


def machine(number: int) -> bytes:
    """Make the answer to ``one.vm.info``."""
    return _in_reply(_machine(number))


def machines(count: int) -> bytes:
    """Make the answer to ``one.vmpool.info``: a document in a document."""
    return _in_reply(f"<VM_POOL>{''.join(map(_machine, range(count)))}</VM_POOL>")


def _in_reply(document: str) -> bytes:
    """Make an engine's answer of a document, which is escaped in it."""
    return _REPLY.format(f"<string>{escape(document)}</string>").encode()


def engine_machines(count: int) -> bytes:
    """Make the answer to ``one.vmpool.info``, the newest first."""
    return _in_reply(f"<VM_POOL>{''.join(map(_engine_machine, reversed(range(count))))}</VM_POOL>")


def engine_images(count: int) -> bytes:
    """Make the answer to ``one.imagepool.info``, the newest first."""
    images = "".join(map(_engine_image, reversed(range(count))))
    return _in_reply(f"<IMAGE_POOL>{images}</IMAGE_POOL>")


def _engine_machine(number: int) -> str:
    return _ENGINE_MACHINE.format(
        id=number,
        born=1_795_724_590 + number,
        percent=number * 37 % 101,
        image=number % 300,
        port=5900 + number % 60_000,
        ip=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        host=number % 40,
    )


def _engine_image(number: int) -> str:
    source = number * 0x9E3779B97F4A7C15
    return _ENGINE_IMAGE.format(id=number, born=1_795_724_590 + number, source=source)


def allocated(number: int) -> bytes:
    """Make the answer to ``one.vm.allocate`` and ``one.vm.action``."""
    return _REPLY.format(f"<i4>{number}</i4>").encode()


def volumes(count: int) -> bytes:
    """Make the answer to ``GET /disks/`` (pdisk-rest 2.1.1)."""
    listing = [
        {
            "uuid": _uuid("volume", number),
            "tag": f"data of worker {number}",
            "count": str(number % 2),
            "owner": "jane",
            "identifier": "",
            "size": f"{10 + number % 90}",
        }
        for number in range(count)
    ]
    return json.dumps(listing).encode()
