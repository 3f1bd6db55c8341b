"""A modern OpenNebula over the sandbox's machines and disks: put together, started and stopped."""

import re
from collections.abc import Callable, Sequence
from functools import partial

from werkzeug import Request, Response

from stratuslab_libcloud.metadata.entry import Entry
from stratuslab_libcloud.sandbox.accounts import Accounts
from stratuslab_libcloud.sandbox.machines import Machinery, Report
from stratuslab_libcloud.sandbox.opennebula import machines, networks, reports, users, xmlrpc
from stratuslab_libcloud.sandbox.opennebula.core import Core
from stratuslab_libcloud.sandbox.opennebula.records import Image, Network, VmTemplate
from stratuslab_libcloud.sandbox.opennebula.vm_templates import offered_template

__all__ = ["FAILING", "OpenNebula"]

# The steps that can be made to fail.
FAILING = (
    *("image", "delete", "schedule", "prolog", "boot", "shutdown", "epilog", "attach", "detach"),
    *("attach nic", "detach nic", "save as", "snapshot", "resize", "disk resize"),
    *("disk snapshot", "disk snapshot revert", "disk snapshot delete"),
)
_OFFERED_MIB = 128
_NOT_IN_NAMES = re.compile(r"""[<>&'"/:;|$#{}\\\n\t]""")


class OpenNebula:
    """
    The modern engine of a site.

    :param start_machinery: starts the machinery, given the function that it reports to.
    """

    def __init__(
        self, core: Core, accounts: Accounts, start_machinery: Callable[[Report], Machinery]
    ) -> None:
        self._core = core
        self._accounts = accounts
        core.report = partial(reports.report, core)
        core.image_settled = partial(machines.image_settled, core)
        core.machinery = start_machinery(core.report)
        with core.changing() as book:
            if not book.all(Network):
                networks.add_network(book, "public")

    def answer(self, request: Request) -> Response:
        """Answer a request to ``/RPC2``."""
        return xmlrpc.answer(self._core, self._accounts, request)

    def offer(self, offered: Sequence[tuple[str, Entry]]) -> None:
        """
        Offer images to everybody, each with a template that starts it, and no others.

        :param offered: the URLs of Marketplace entries, and the entries.
        """
        with self._core.changing() as book:
            known = {image.template.get("IDENTIFIER"): image for image in book.all(Image)}
            wanted = {entry.identifier for _, entry in offered}
            for url, entry in offered:
                image = known.get(entry.identifier)
                if image:
                    image.source = url  # the port may be another one
                    book.put(image)
                    continue
                image = _image(url, entry)
                if book.named(Image, 0, image.name):
                    continue
                book.add(image)
                book.add(offered_template(image))
            for identifier, image in known.items():
                if image.uid == 0 and identifier not in wanted and not image.vms:
                    book.drop(image)
                    if template := book.named(VmTemplate, 0, image.name):
                        book.drop(template)

    def add_network(self, name: str, kind: str = "IP4") -> int:
        """
        Add a network beside ``public``.

        :param kind: the addresses it has, one of ``networks.KINDS``; nobody answers at those of
            IPv6, which are for documentation.
        :return: its id.
        """
        with self._core.changing() as book:
            return networks.add_network(book, name, kind).id

    def limit(self, user: str | None, name: str, amount: float, number: int = 0) -> None:
        """
        Set a quota.

        :param user: whose; None for the group of all users.
        :param name: such as ``VMS``, ``MEMORY``, ``IMAGES`` or ``SIZE`` (modern 8).
        :param amount: the most that may be used.
        :param number: of ``IMAGES`` and ``SIZE`` the datastore, of ``LEASES`` the network, of
            ``RVMS`` the image.
        :raises ValueError: there is no such user or quota.
        """
        account = self._accounts.by_name(user) if user else None
        if user and account is None:
            raise ValueError(f"there is no user {user}")
        users.limit(self._core, account, name, amount, number)

    def fail(self, step: str, text: str = "injected: it failed") -> None:
        """
        Let the next step of a kind fail, whoever takes it.

        :param step: one of ``FAILING``.
        :param text: why; clients find it where the engine puts it.
        """
        if step not in FAILING:
            raise ValueError(f"there is no step {step}, but {', '.join(FAILING)}")
        self._core.fail(step, text)

    def adopt(self) -> None:
        """Adopt what an earlier process left."""
        reports.adopt(self._core)

    def stop(self, keep: bool) -> None:
        """Release the machines, or end them."""
        self._core.close()
        alive = self._core.machinery.close(keep)
        if not keep:
            reports.end_all(self._core, alive)


def _image(url: str, entry: Entry) -> Image:
    name = _NOT_IN_NAMES.sub(" ", entry.name).strip() or entry.identifier
    template = {"DEV_PREFIX": "vd", "IDENTIFIER": entry.identifier}
    if entry.description:
        template["DESCRIPTION"] = entry.description
    size = _OFFERED_MIB
    if entry.format == "raw" and entry.size:
        size = max(1, -(-entry.size // (1 << 20)))
    form = entry.format or "raw"
    return Image(
        name=name,
        permissions="110000100",
        size=size,
        state=1,
        source=url,
        format=form,
        template=template,
    )
