"""``stratus-prepare-context``: files for cloud-init, as a context file (config-and-cli 3.24)."""

import base64
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from stratuslab_libcloud.cli.options import command

if TYPE_CHECKING:
    from stratuslab_libcloud.cli.cloud_init import CloudInit

__all__ = ["prepare_context"]

_FILE = "cloud-init.txt"


@command(
    "stratus-prepare-context",
    examples=(
        "stratus-prepare-context ssh,$HOME/.ssh/id_rsa.pub x-shellscript,run.sh",
        "stratus-prepare-context none,user-data",
        "stratus-run-instance --context-file cloud-init.txt BN1EEkPiBx87_uLj2-sdybSI-Xb",
    ),
)
@click.argument("items", metavar="[MIMETYPE,FILE]...", nargs=-1)
def prepare_context(items: tuple[str, ...]) -> None:
    """
    Write cloud-init.txt, for --context-file of stratus-run-instance, into the current directory.

    MIMETYPE is the part after text/, such as x-shellscript or cloud-config. Two are special: ssh,
    for a file of public keys, and none, for a file that becomes all of the user data, unchanged.
    An existing cloud-init.txt is overwritten.
    """
    from stratuslab_libcloud.cli import cloud_init

    text = "\n".join(_lines(cloud_init.of_files(items))) + "\n"
    # User data may have secrets in it.
    with open(_FILE, "w", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        os.chmod(_FILE, 0o600)  # it may have existed
        file.write(text)


def _lines(found: "CloudInit") -> Iterator[str]:
    from stratuslab_libcloud.client.engine.template import packed

    yield "CONTEXT_METHOD=cloud-init"
    if found.keys:
        keys = "".join(f"{key}\n" for key in found.keys)
        yield f"CLOUD_INIT_AUTHORIZED_KEYS={base64.b64encode(keys.encode()).decode()}"
    if found.user_data:
        yield f"CLOUD_INIT_USER_DATA={packed(found.user_data)}"
        yield ""
