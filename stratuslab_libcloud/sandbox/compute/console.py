"""
The console of a machine over HTTP: a door of the sandbox's own, below the compute service.

Neither StratusLab's proxy nor OpenNebula's XML-RPC has a call for it (compute-xmlrpc 2), so that a
real site answers 404 here. The 404 of this door names the machine that there is not.
"""

import json
import re

from werkzeug import Response

from stratuslab_libcloud.sandbox.compute.rules import CallRefusedError, Compute
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["PATH", "STATUS", "answer"]

PATH = "xmlrpc/machines/<machine>/console"
STATUS = {512: 403, 1024: 404, 2048: 409, 4096: 400}
"""Of the codes that calls are refused with (compute-xmlrpc 2.2)."""


def answer(compute: Compute, account: Account, machine: str) -> Response:
    """Answer with a JSON object: ``id``, and ``console``, which are printable lines."""
    if not re.fullmatch("[0-9]{1,9}", machine):
        return _json({"message": "There is nothing here."}, 404)
    try:
        return _json({"id": machine, "console": compute.console(account, int(machine))}, 200)
    except CallRefusedError as refused:
        return _json({"message": str(refused)}, STATUS[refused.code])


def _json(document: dict[str, str], status: int) -> Response:
    return Response(json.dumps(document) + "\n", status, content_type="application/json")
