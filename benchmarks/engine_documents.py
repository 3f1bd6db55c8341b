"""
Answers of a modern OpenNebula, the same in every run.

A machine in a pool has a disk, a network card, a screen and a label, and comes without its context
(modern 6); an image is complete (modern 4). They are of the sizes that were recorded (modern 2).
"""

from benchmarks.documents import in_reply

__all__ = ["images", "machines"]

_MACHINE = (
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

_IMAGE = (
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


def machines(count: int) -> bytes:
    """Make the answer to ``one.vmpool.info``, the newest first."""
    return in_reply(f"<VM_POOL>{''.join(map(_machine, reversed(range(count))))}</VM_POOL>")


def images(count: int) -> bytes:
    """Make the answer to ``one.imagepool.info``, the newest first."""
    return in_reply(f"<IMAGE_POOL>{''.join(map(_image, reversed(range(count))))}</IMAGE_POOL>")


def _machine(number: int) -> str:
    return _MACHINE.format(
        id=number,
        born=1_795_724_590 + number,
        percent=number * 37 % 101,
        image=number % 300,
        port=5900 + number % 60_000,
        ip=f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}",
        host=number % 40,
    )


def _image(number: int) -> str:
    return _IMAGE.format(id=number, born=1_795_724_590 + number, source=number * 0x9E3779B97F4A7C15)
