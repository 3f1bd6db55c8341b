"""
The documents of machines, in the dialect of OpenNebula 3.2 (compute-xmlrpc 5.1).

Documents are written with lxml, because the engine uses libxml2 too: empty elements and carriage
returns look the same. Input from strangers is read with ``untrusted.xml``.
"""

import json
import re
import sqlite3
import time
import urllib.parse

from lxml import etree

from stratuslab_libcloud.sandbox.machines import HOST, Phase
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.sandbox.template import Template

__all__ = ["phase_of", "vm_document"]

_POLL_SECONDS = 10  # between two measurements of what a machine uses


def phase_of(row: sqlite3.Row) -> Phase:
    """Return the phase in the record of a machine."""
    return Phase((row["state"], row["lcm_state"]))


def vm_document(row: sqlite3.Row, account: Account) -> str:
    """Write the document of a machine."""
    return etree.tostring(_machine(row, account), encoding="unicode")


def _machine(row: sqlite3.Row, account: Account) -> etree._Element:
    phase, times = phase_of(row), json.loads(row["times"])
    template = Template.loads(row["template"])
    runs = phase in (Phase.RUNNING, Phase.SHUTDOWN)
    memory = template.text("MEMORY")
    polled = _last_poll(times) if runs else 0
    machine = etree.Element("VM")
    _fill(
        machine,
        ID=row["id"],
        UID=account.uid,
        GID=1,
        UNAME=urllib.parse.quote_plus(account.name, safe="*").replace("~", "%7E"),
        GNAME="users",
        NAME=row["name"],
    )
    permissions = etree.SubElement(machine, "PERMISSIONS")
    for role in ("OWNER", "GROUP", "OTHER"):
        for right in "UMA":
            allowed = role == "OWNER" and right != "A"
            _fill(permissions, **{f"{role}_{right}": int(allowed)})
    _fill(
        machine,
        LAST_POLL=polled,
        STATE=row["state"],
        LCM_STATE=row["lcm_state"],
        STIME=times[Phase.PENDING.name],
        ETIME=times.get("DONE", times.get("FAILED", 0)),
        DEPLOY_ID=f"one-{row['id']}" if "RUNNING" in times else "",
        MEMORY=int(memory) * 1024 if polled and re.fullmatch("[0-9]{1,9}", memory) else 0,
        CPU=0,
        NET_TX=0,
        NET_RX=0,
    )
    machine.append(template.element())
    history = etree.SubElement(machine, "HISTORY_RECORDS")
    if "PROLOG" in times:
        history.append(_history(times))
    return machine


def _last_poll(times: dict[str, int]) -> int:
    """Return when a running machine was last measured; 0 if it never was."""
    since = times["RUNNING"]
    polls = (int(time.time()) - since) // _POLL_SECONDS
    return since + polls * _POLL_SECONDS if polls > 0 else 0


def _history(times: dict[str, int]) -> etree._Element:
    def first(*phases: str) -> int:
        return next((times[phase] for phase in phases if phase in times), 0)

    history = etree.Element("HISTORY")
    _fill(
        history,
        SEQ=0,
        HOSTNAME=HOST,
        VM_DIR="/var/lib/one",
        HID=0,
        STIME=times["PROLOG"],
        ETIME=first("DONE", "FAILED"),
        VMMMAD="vmm_sandbox",
        VNMMAD="dummy",
        TMMAD="tm_sandbox",
        PSTIME=times["PROLOG"],
        PETIME=first("BOOT", "CLEANUP", "FAILURE"),
        RSTIME=first("BOOT"),
        RETIME=first("EPILOG", "CLEANUP", "FAILURE") if "BOOT" in times else 0,
        ESTIME=first("EPILOG"),
        EETIME=first("DONE") if "EPILOG" in times else 0,
        REASON=1 if "FAILURE" in times else 3 if "CLEANUP" in times else 0,
    )
    return history


def _fill(parent: etree._Element, **values: str | int) -> None:
    for tag, value in values.items():
        etree.SubElement(parent, tag).text = str(value)
