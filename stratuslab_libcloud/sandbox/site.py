"""A site: starts and stops its services together."""

import contextlib
import logging
import os
import pathlib
import socket
import threading
import types
import urllib.parse
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from stratuslab_libcloud.metadata.keys import SigningKey
from stratuslab_libcloud.sandbox import addresses, configuration
from stratuslab_libcloud.sandbox.accounts import LEAST_COST, SCRYPT_COST, Accounts
from stratuslab_libcloud.sandbox.certificates import server_context, user_certificate
from stratuslab_libcloud.sandbox.compute.rules import Compute
from stratuslab_libcloud.sandbox.directory import (
    DEFAULT_USER,
    check_account,
    in_one_line,
    lock_directory,
    made_passwords,
    open_directory,
    ssh_key,
)
from stratuslab_libcloud.sandbox.endorsing import site_key
from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.http.application import Application, Seen
from stratuslab_libcloud.sandbox.http.browsers import Names
from stratuslab_libcloud.sandbox.http.server import Server
from stratuslab_libcloud.sandbox.http.threads import THREADS
from stratuslab_libcloud.sandbox.images.fetched import FetchedImages
from stratuslab_libcloud.sandbox.images.offered import OfferedImages
from stratuslab_libcloud.sandbox.machines import Machinery, Report, choice
from stratuslab_libcloud.sandbox.machines.command import Host
from stratuslab_libcloud.sandbox.machines.processes import live_on
from stratuslab_libcloud.sandbox.machines.simulated import Simulated
from stratuslab_libcloud.sandbox.marketplace.confirmations import Confirmations
from stratuslab_libcloud.sandbox.marketplace.examples import current_examples
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.opennebula.core import VERSIONS, Core
from stratuslab_libcloud.sandbox.opennebula.engine import OpenNebula
from stratuslab_libcloud.sandbox.opennebula.files import OwnImages
from stratuslab_libcloud.sandbox.pages.answer import Pages
from stratuslab_libcloud.sandbox.pages.visit import HOME, Services
from stratuslab_libcloud.sandbox.progress import OnProgress, ignored
from stratuslab_libcloud.sandbox.saving import SavedImages, unsaved
from stratuslab_libcloud.sandbox.storage.rules import Storage
from stratuslab_libcloud.sandbox.store import SUPER_USER, Settings, Store

__all__ = ["Sandbox"]

_MAX_SECONDS = 86_400

_ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104

_LOG = logging.getLogger(__name__)


class Sandbox:
    """
    A site, up within a ``with`` block, or from :meth:`start` to :meth:`stop`.

    :param dir: the directory that keeps all its state; None for a temporary one.
    :param machines: what machines run on: ``qemu``, ``simulated``, or ``auto`` for
        ``qemu`` if this host can run it; the property ``machines`` says which it became.
    :param boot_seconds: how long a simulated machine takes from PENDING to RUNNING.
    :param ending_seconds: how long a simulated machine stays listed after it was killed or shut
        down (a shutdown takes at least two thirds of ``boot_seconds``); until then its disks are in
        use.
    :param host: the address to listen on. Requests that name another host are refused, since a
        web page could point a name of its own at this site (DNS rebinding).
    :param port: the port to listen on; 0 for any free port.
    :param tls: speak HTTPS with a throw-away CA, and issue a certificate to the first user.
    :param users: name to password; None for one account with a random password.
    :param keep_machines: let machines live on when the sandbox stops.
    :param outbound: let real machines reach the network and the services on this host.
    :param confirm_uploads: ask the endorser of an upload by e-mail before it is published. The
        e-mails are not sent, but written to the directory ``mail``.
    :param opennebula_version: the version of the modern engine at ``/RPC2``: ``6.10.5`` or
        ``7.4.0``.
    :param opennebula_seconds: how long that engine takes for a step, such as attaching a disk to a
        simulated machine; without, the step is over before the call is answered.
    :param on_request: called with each request and its status, before the answer is sent.
    :param on_notice: called with each line that the user should see.
    :param on_progress: called again and again while an image is downloaded or built, with the name
        of that work and the part that is done, from 0.0 to 1.0; by any thread.
    :ivar dir: the directory. Like the attributes below, set by :meth:`start`.
    :ivar port: the port.
    :ivar users: the accounts in the configuration file, name to password.
    :ivar marketplace: the Marketplace; ``add()`` puts entries into it.
    :ivar opennebula: the modern engine; ``limit()`` sets a quota, ``fail()`` makes a step fail.
    """

    dir: pathlib.Path
    port: int
    users: dict[str, str]
    marketplace: Registry
    opennebula: OpenNebula
    _compute: Compute
    _qemu_host: Host | None = None

    def __init__(
        self,
        dir: str | os.PathLike[str] | None = None,  # noqa: A002
        *,
        machines: str = "simulated",
        boot_seconds: float = 0.0,
        ending_seconds: float = 0.0,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: bool = False,
        users: Mapping[str, str] | None = None,
        keep_machines: bool = False,
        outbound: bool = False,
        confirm_uploads: bool = False,
        opennebula_version: str = VERSIONS[-1],
        opennebula_seconds: float = 0.0,
        on_request: Callable[[Seen], object] | None = None,
        on_notice: Callable[[str], object] = _LOG.info,
        on_progress: OnProgress = ignored,
    ) -> None:
        if machines not in choice.KINDS:
            kinds = ", ".join(choice.KINDS)
            raise SandboxError(f"machines must be one of {kinds}, not {machines!r}")
        if opennebula_version not in VERSIONS:
            known = ", ".join(VERSIONS)
            raise SandboxError(
                f"opennebula_version must be one of {known}, not {opennebula_version!r}"
            )
        for name, seconds in (
            ("boot_seconds", boot_seconds),
            ("ending_seconds", ending_seconds),
            ("opennebula_seconds", opennebula_seconds),
        ):
            if not 0 <= seconds <= _MAX_SECONDS:
                raise SandboxError(f"{name} must be from 0 to {_MAX_SECONDS}, not {seconds}")
        for user, password in (users or {}).items():
            check_account(user, password)
        self._given_dir = dir
        self._durable = dir is not None  # nobody needs a temporary directory after a crash
        self._given_machines = machines
        self._boot_seconds = boot_seconds
        self._ending_seconds = ending_seconds
        self._host = host
        self._shown_host = _shown_host(host, tls)
        self._tls = tls
        # Without its directory, no later sandbox could adopt them.
        self._keep_machines = keep_machines and dir is not None
        self._outbound = outbound
        self._confirm_uploads = confirm_uploads
        self._opennebula_version = opennebula_version
        self._opennebula_seconds = opennebula_seconds
        self._on_request = on_request
        self._on_notice = on_notice
        self._on_progress = on_progress
        self._given_users = users
        self._given_port = port
        self._running: contextlib.ExitStack | None = None

    def __enter__(self) -> "Sandbox":
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The URL of the site: scheme, host and port."""
        host = self._shown_host
        host = f"[{host}]" if ":" in host else host
        return f"{'https' if self._tls else 'http'}://{host}:{self.port}"

    @property
    def pages_url(self) -> str:
        """The URL of the pages for people (guide 5)."""
        return f"{self.url}{HOME}/"

    @property
    def machines(self) -> str:
        """What machines run on: ``qemu`` or ``simulated``."""
        return "qemu" if self._qemu_host else "simulated"

    @property
    def config_path(self) -> pathlib.Path:
        """The configuration file for this site (guide 4.4); mode 0600, as it holds passwords."""
        return self.dir / "stratuslab-user.cfg"

    @property
    def opennebula_config_path(self) -> pathlib.Path:
        """The configuration file for the modern engine in it, likewise."""
        return self.dir / "opennebula-user.cfg"

    def start(self) -> None:
        """
        Start serving, in a thread of its own.

        :raises SandboxError: the port or the directory cannot be used.
        """
        if self._running:
            raise SandboxError(f"this sandbox is running already, in {self.dir}")
        with contextlib.ExitStack() as stack:
            self.dir = open_directory(self._given_dir, stack)
            stack.enter_context(in_one_line(self.dir))
            lock_directory(self.dir, stack)
            store = Store(self.dir / "sandbox.db", durable=self._durable)
            stack.callback(store.close)
            stack.enter_context(addresses.reserve(store))
            context = None
            if self._tls:
                context = server_context(self.dir, self._host, durable=self._durable)
            threads = THREADS if self._durable else 1
            server = Server(self._host, self._given_port, context, threads)
            server.prepare()
            stack.callback(server.stop)
            self.port = int(server.bind_addr[1])
            names = Names(self._host, server.bind_addr[0])
            server.wsgi_app = self._open_services(store, names)
            for engine in (self._compute, self.opennebula):
                try:
                    engine.adopt()
                except BaseException:
                    engine.stop(keep=True)
                    raise
                stack.callback(engine.stop, self._keep_machines)
            thread = threading.Thread(target=server.serve, name="sandbox", daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.stop)
            self._running = stack.pop_all()

    def stop(self) -> None:
        """
        End the machines (unless they are kept) and release everything. A second call does nothing.

        :raises SandboxError: the end of the machines could not be recorded; everything is released
            all the same.
        """
        running, self._running = self._running, None
        if running:
            running.close()

    def fail(self, vm_id: int, message: str) -> None:
        """
        Make a machine fail, as if its host had broken down.

        :param message: appears in ``TEMPLATE/ERROR/MESSAGE`` of its document, after the words that
            the engine begins such texts with.
        :raises ValueError: there is no such machine, or it has ended.
        """
        if not self._compute.fail(vm_id, message):
            raise ValueError(f"there is no machine {vm_id} that could fail")

    def _open_services(self, store: Store, names: Names) -> Application:
        passwords = made_passwords(self.dir, self._durable)
        self.users = dict(self._given_users or {DEFAULT_USER: passwords[DEFAULT_USER]})
        images = OfferedImages(self.dir / "images")
        self._qemu_host = choice.find(
            self._given_machines,
            store,
            images,
            outbound=self._outbound,
            throwaway=not self._durable,
            notify=self._on_notice,
            on_progress=self._on_progress,
        )
        folders = (self.dir / "machines", self.dir / "vms")
        if not self._qemu_host and any(map(live_on, folders)):
            raise SandboxError(f"real machines live on in {self.dir}: start it with real machines")
        if not self._qemu_host and unsaved(store, self.dir / "machines"):
            raise SandboxError(
                f"real machines wait to be saved in {self.dir}: start it with real machines"
            )
        key = site_key(self.dir, durable=self._durable)
        subjects = self._write_configuration(key.certificate.fingerprint)
        accounts = Accounts(store, SCRYPT_COST if self._durable else LEAST_COST)
        accounts.enrol({**self.users, SUPER_USER: passwords[SUPER_USER]}, subjects)
        confirmations = Confirmations(store, self.dir / "mail") if self._confirm_uploads else None
        self.marketplace = Registry(store, confirmations=confirmations)
        with store.transaction() as db:
            Settings(db).set("url", self.url)
        images.withdraw_others(self.marketplace)
        images.publish(self.marketplace, self.url, key)
        if not self._qemu_host:
            self._add_examples(store, key)
        disks = self.dir / "disks"
        saved = SavedImages(store, disks, self.marketplace, self.url)
        self._compute = Compute(store, partial(self._start_machinery, disks, saved))
        storage = Storage(store, disks, self._compute.machinery)
        self.opennebula = self._open_engine(store, accounts, images, saved)
        services = Services(self._compute, storage, self.marketplace)
        return Application(
            accounts,
            self._compute,
            self.opennebula,
            storage,
            self.marketplace,
            images.find,
            Pages(services, passwords[SUPER_USER]),
            names,
            self._on_request,
        )

    def _add_examples(self, store: Store, key: SigningKey) -> None:
        """Add the example entries, unless this key has endorsed them before."""
        with store.reading() as db:
            endorsed_by = Settings(db).get("examples_endorsed_by")
        if endorsed_by != key.certificate.fingerprint:
            self.marketplace.add_examples(key)
            with store.transaction() as db:
                Settings(db).set("examples_endorsed_by", key.certificate.fingerprint)

    def _start_machinery(
        self, disks: pathlib.Path, saved: SavedImages, report: Report
    ) -> Machinery:
        if not self._qemu_host:
            return self._simulated(report, saved)
        images = FetchedImages(*self._fetching())
        return _real(report, self._qemu_host, self.dir / "machines", disks, images, saved)

    def _simulated(self, report: Report, saved: SavedImages) -> Machinery:
        return Simulated(report, self._boot_seconds, self._ending_seconds, self._is_missing, saved)

    def _fetching(self) -> tuple[pathlib.Path, str, pathlib.Path | None, OnProgress]:
        """Return what images are fetched with."""
        ca = self.dir / "ca.pem" if self._tls else None
        return self.dir / "fetched", self.url, ca, self._on_progress

    def _open_engine(
        self, store: Store, accounts: Accounts, images: OfferedImages, saved: SavedImages
    ) -> OpenNebula:
        """Open the modern engine, which has machines and disks of its own."""
        disks, host = self.dir / "datastore", self._qemu_host
        version, seconds = self._opennebula_version, self._opennebula_seconds
        core = Core(store, disks, version, seconds, real=host is not None)

        def machinery(report: Report) -> Machinery:
            if host is None:
                return self._simulated(report, saved)
            core.files.entries = OwnImages(disks, *self._fetching())
            return _real(report, host, self.dir / "vms", disks, core.files.entries, saved)

        engine = OpenNebula(core, accounts, machinery)
        offered = images.entries if host else current_examples()
        marketplace = f"{self.url}/marketplace/metadata"
        engine.offer([(f"{marketplace}/{entry.identifier}", entry) for entry in offered])
        return engine

    def _is_missing(self, source: str) -> bool:
        """Return whether this URL names an entry of this site's Marketplace that does not exist."""
        try:
            url = urllib.parse.urlsplit(source)
            ours = {"localhost", "127.0.0.1", urllib.parse.urlsplit(self.url).hostname}
            if url.port != self.port or url.hostname not in ours:
                return False
        except ValueError:
            return False
        match [urllib.parse.unquote(segment) for segment in url.path.split("/") if segment]:
            case ["metadata", identifier, *_] | ["marketplace", "metadata", identifier, *_]:
                return not self.marketplace.has(identifier)
        return False

    def _write_configuration(self, endorser: str) -> list[str]:
        """Write the configuration files, and return the subjects of the certificates in them."""
        shared = configuration.shared(self.url, ssh_key(self.dir, self._durable), endorser)
        if self._qemu_host and self._qemu_host.ssh_port != addresses.SSH_PORTS[0]:
            shared["ssh_port"] = str(self._qemu_host.ssh_port)
        certificate, subjects = None, []
        if self._tls:
            shared["ca_certificate"] = str(self.dir / "ca.pem")
            first = next(iter(self.users))
            certificate, subject = user_certificate(self.dir, first, durable=self._durable)
            subjects.append(subject)
        sections = configuration.sections(shared, self.users, certificate)
        configuration.write(self.config_path, sections, durable=self._durable)
        modern = configuration.modern(self.url, shared, self.users)
        configuration.write(self.opennebula_config_path, modern, durable=self._durable)
        return subjects


def _real(report: Report, host: Host, *options: Any) -> Machinery:
    """Make the machinery of QEMU, as :class:`.Qemu` is made."""
    from stratuslab_libcloud.sandbox.machines.qemu import Qemu  # loads what nobody else needs

    return Qemu(report, host, *options)


def _shown_host(host: str, tls: bool) -> str:
    """Return the host that clients should use for the address listened on."""
    host = _ANY_ADDRESS.get(host, host)
    if tls:  # Python 2.7 wants a name in a certificate (compute-xmlrpc 9.1)
        with contextlib.suppress(OSError):
            found = socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM)
            if host in [address[0] for *_, address in found]:
                return "localhost"
    return host
