import configparser
import hashlib
import os
import sqlite3
import stat
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import requests
from callers import USERS, Caller
from cryptography.hazmat.primitives import serialization
from present import present

from stratuslab_libcloud.sandbox import SandboxError, accounts
from stratuslab_libcloud.sandbox.site import Sandbox

FIRST = {"jane": "s3cret"}


def jane_at(site: Sandbox) -> Caller:
    return Caller(site, ("jane", FIRST["jane"]))


def configuration(path: Path) -> dict[str, dict[str, str]]:
    parser = configparser.ConfigParser()
    with path.open(encoding="utf-8") as file:
        parser.read_file(file)
    return {name: dict(parser[name]) for name in parser.sections()}


def descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else set()


# -- up and down


def test_nothing_is_left_behind() -> None:
    with Sandbox():
        pass  # whatever is opened once and for all
    threads, before = set(threading.enumerate()), descriptors()
    with Sandbox(users=FIRST, boot_seconds=1, tls=True) as site:
        directory = site.dir
        assert directory.is_dir()
    end = time.monotonic() + 30
    while set(threading.enumerate()) - threads and time.monotonic() < end:
        time.sleep(0.01)
    assert set(threading.enumerate()) <= threads
    assert descriptors() <= before
    assert not directory.exists()


def test_two_sites_side_by_side_know_nothing_of_each_other() -> None:
    with Sandbox(users=FIRST) as one, Sandbox(users=FIRST) as other:
        assert one.port != other.port
        jane_at(one).start()
        jane_at(one).disk()
        assert jane_at(one).pool() == [0]
        assert jane_at(other).pool() == []
        assert jane_at(other).disks("GET").json() == []


def test_a_busy_port_is_told_in_one_line_where_the_sandbox_is_started(site: Sandbox) -> None:
    other = Sandbox(port=site.port)
    with pytest.raises(SandboxError, match=f"^cannot listen on 127.0.0.1:{site.port}: .*$"):
        other.start()
    other.stop()


def test_a_start_that_fails_ends_no_machines(tmp_path: Path, site: Sandbox) -> None:
    with Sandbox(tmp_path, users=FIRST, keep_machines=True) as own:
        jane_at(own).start()
    with pytest.raises(SandboxError):
        Sandbox(tmp_path, users=FIRST, port=site.port).start()
    with Sandbox(tmp_path, users=FIRST) as own:
        assert jane_at(own).states(0) == (3, 3)


def test_a_directory_is_for_one_sandbox_at_a_time(tmp_path: Path) -> None:
    with Sandbox(tmp_path):
        with pytest.raises(SandboxError, match=r"^another sandbox is running on .*$"):
            Sandbox(tmp_path).start()
    with Sandbox(tmp_path):
        pass


@pytest.mark.parametrize("name", ["a ;b", "a\nb", "a\udcffb"])
def test_a_directory_that_no_configuration_file_could_hold_is_refused(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(SandboxError, match=r"^the path of the directory .*$"):
        Sandbox(tmp_path / "new" / name).start()
    assert not (tmp_path / "new").exists()


def test_sites_side_by_side_have_addresses_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    # Neither sandboxes nor, at the same time, this test on another Python take one of them.
    bases = [f"127.255.{os.getpid() % 100 + more}.0" for more in (0, 100)]
    monkeypatch.setattr("stratuslab_libcloud.sandbox.addresses._BASES", bases)
    for _ in range(2):  # given back at the end
        with Sandbox(users=FIRST) as one, Sandbox(users=FIRST) as other:
            machines = [jane.info(jane.start()) for jane in (jane_at(one), jane_at(other))]
            found = {machine.findtext("TEMPLATE/NIC/IP") for machine in machines}
            assert found == {f"{base[:-1]}1" for base in bases}


def test_a_port_that_was_given_by_the_system_can_be_had_again() -> None:
    with Sandbox(users=FIRST) as site, requests.Session() as session:
        session.trust_env = False
        assert session.get(f"{site.url}/metadata").status_code == 200
        site.stop()  # with a connection that is left to fade away
        with Sandbox(users=FIRST, port=site.port) as again:
            assert again.port == site.port
            assert jane_at(again).pool() == []


def test_a_throw_away_site_waits_neither_for_the_disk_nor_for_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    costly = []
    scrypt = hashlib.scrypt
    monkeypatch.setattr("os.fsync", lambda descriptor: costly.append("fsync"))
    monkeypatch.setattr("time.sleep", lambda seconds: costly.append(f"sleep {seconds}"))
    monkeypatch.setattr(
        "hashlib.scrypt", lambda *a, n, **k: costly.append(n) if n > 2 else scrypt(*a, n=n, **k)
    )
    with Sandbox(users=FIRST, tls=True) as site:
        with sqlite3.connect(site.dir / "sandbox.db") as db:
            assert db.execute("SELECT COUNT(*) FROM accounts").fetchone()[0] > 0
        db.close()
    assert costly == []


def test_a_site_that_stays_waits_for_the_disk_and_for_hashes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    synced: list[str] = []
    costs: list[int] = []
    fsync, scrypt = os.fsync, hashlib.scrypt

    def seen_fsync(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    def seen_scrypt(*arguments: Any, n: int, **options: Any) -> bytes:
        costs.append(n)
        return scrypt(*arguments, n=n, **options)

    monkeypatch.setattr("os.fsync", seen_fsync)
    monkeypatch.setattr("hashlib.scrypt", seen_scrypt)
    # As it is outside of tests.
    monkeypatch.setattr("stratuslab_libcloud.sandbox.site.SCRYPT_COST", accounts.SCRYPT_COST)
    with Sandbox(tmp_path, users=FIRST):
        pass
    assert set(costs) == {1 << 12}
    made = ("passwords.json", "id_ed25519", "id_ed25519.pub", "endorser.pem")
    for name in (*made, "stratuslab-user.cfg"):
        assert f"{tmp_path}/{name}.new" in synced
    assert str(tmp_path) in synced


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("passwords.json", content) for content in ("", "{", "[]", "3", '{"clouduser": "x"}')),
        ("passwords.json", '{"clouduser": 1, "pdisk": "x"}'),
        ("passwords.json", '{"clouduser": "", "pdisk": "x"}'),
        *((name, "") for name in ("ca.pem", "ca.key", "server-127.0.0.1.pem", "user-jane.pem")),
        ("ca.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("ca.key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"),
        ("server-127.0.0.1.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        ("user-jane.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"),
        *(("endorser.pem", content) for content in ("", "-----BEGIN CERTIFICATE-----\nAAAA\n")),
        ("images/x.raw.json", "{"),
        ("sandbox.db", "dear diary, " * 1000),
    ],
)
def test_a_damaged_file_is_told_in_one_line_and_what_to_do_helps(
    tmp_path: Path, name: str, content: str
) -> None:
    with Sandbox(tmp_path, users=FIRST, tls=True):
        pass
    (tmp_path / name).write_text(content)
    with pytest.raises(SandboxError) as refused:
        Sandbox(tmp_path, users=FIRST, tls=True).start()
    message = str(refused.value)
    assert str(tmp_path / name) in message
    assert "\n" not in message
    assert ("remove it" in message) == (name != "sandbox.db")
    (tmp_path / name).unlink()
    with Sandbox(tmp_path, users=FIRST, tls=True) as site:
        authority = configuration(site.config_path)["sandbox"]["ca_certificate"]
        assert jane_at(site).disks("GET", verify=authority).status_code == 200


def test_a_file_that_cannot_be_written_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "stratuslab-user.cfg").mkdir()
    with pytest.raises(SandboxError, match=r"^\S+/stratuslab-user.cfg\S* cannot be used: [^\n]+$"):
        Sandbox(tmp_path, users=FIRST).start()


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_with_tls_the_site_is_called_by_name(host: str) -> None:
    with Sandbox(users=FIRST, tls=True, host=host) as site:
        assert site.url == f"https://localhost:{site.port}"
        authority = configuration(site.config_path)["sandbox"]["ca_certificate"]
        assert jane_at(site).disks("GET", verify=authority).status_code == 200


def test_an_address_that_is_not_localhosts_is_called_as_it_is() -> None:
    with Sandbox(users=FIRST, tls=True, host="127.0.0.2") as site:
        assert site.url == f"https://127.0.0.2:{site.port}"
        authority = configuration(site.config_path)["sandbox"]["ca_certificate"]
        assert jane_at(site).disks("GET", verify=authority).status_code == 200


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["boot_seconds", "ending_seconds"])
def test_machines_boot_and_end_in_a_time_that_there_is(name: str, seconds: float) -> None:
    options: dict[str, Any] = {name: seconds}
    with pytest.raises(SandboxError, match=name):
        Sandbox(**options)


def test_a_directory_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SandboxError, match=r"^cannot use .* as directory: .*$"):
        Sandbox(tmp_path / "file").start()


def test_it_can_be_stopped_twice_and_started_again(tmp_path: Path) -> None:
    site = Sandbox(tmp_path, users=FIRST)
    for _ in range(2):
        site.start()
        assert jane_at(site).pool() == []
        site.stop()
        site.stop()


def test_it_is_not_started_twice(site: Sandbox) -> None:
    with pytest.raises(SandboxError, match="is running"):
        site.start()
    assert Caller(site, ("jane", USERS["jane"])).pool() == []


def test_machines_of_an_unknown_kind_are_refused() -> None:
    with pytest.raises(
        SandboxError, match=r"^machines must be one of simulated, qemu, auto, not 'xen'$"
    ):
        Sandbox(machines="xen")


# -- what stays


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=FIRST, keep_machines=True) as site:
        jane = jane_at(site)
        disk, used, first, second = jane.disk(tag="mine"), jane.disk(), jane.start(), jane.start()
        jane.act("finalize", first)
        form = {"node": "sandbox", "vm_id": second}
        jane.disks("POST", f"/{used}/mounts", data=form)
        address = jane.info(second).findtext("TEMPLATE/NIC/IP")
        marketplace = jane.request("GET", "/metadata").content
    with Sandbox(tmp_path, users=FIRST) as site:
        jane = jane_at(site)
        assert [found["uuid"] for found in jane.disks("GET").json()] == [used, disk]
        assert jane.states(first) == (6, 0)
        assert jane.states(second) == (3, 3)
        assert jane.info(second).findtext("TEMPLATE/NIC/IP") == address
        assert jane.disks("GET", f"/{used}/mounts").json() == [{"vmId": "1", "device": "vdc"}]
        assert jane.start() == 2
        assert jane.request("GET", "/metadata").content == marketplace


def test_a_stop_ends_the_machines_unless_they_are_to_be_kept(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=FIRST) as site:
        jane = jane_at(site)
        disk = jane.disk()
        failed = jane.start()
        site.fail(failed, "no")
        running = jane.start()
        jane.disks("POST", f"/{disk}/mounts", data={"node": "sandbox", "vm_id": running})
    with Sandbox(tmp_path, users=FIRST) as site:
        jane = jane_at(site)
        assert [jane.states(vm_id) for vm_id in (failed, running)] == [(6, 0), (6, 0)]
        assert jane.disks("GET", f"/{disk}").json()["count"] == "0"
        address = jane.info(running).findtext("TEMPLATE/NIC/IP")
        wanted = f'NIC = [ network_uname = oneadmin, network = "public", ip = {address} ]'
        assert jane.info(jane.start(wanted)).findtext("TEMPLATE/NIC/IP") == address


def test_a_machine_that_was_ending_ends_after_all(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=FIRST, ending_seconds=600, keep_machines=True) as site:
        jane_at(site).act("finalize", jane_at(site).start())
        assert jane_at(site).states(0) == (3, 15)
    with Sandbox(tmp_path, users=FIRST) as site:
        assert jane_at(site).states(0) == (6, 0)


def test_what_is_in_a_machines_way_is_so_after_a_restart(tmp_path: Path) -> None:
    unknown = "7a031320-9d3b-492f-9a97-3c5bd0ba786b"
    with Sandbox(tmp_path, users=FIRST, boot_seconds=600, keep_machines=True) as site:
        jane = jane_at(site)
        disk = jane.disk()
        for wanted in (disk, unknown, disk):
            jane.start(f'DISK=[source="/x"] DISK=[source="pdisk:h/{wanted}", target=vdb]')
    with Sandbox(tmp_path, users=FIRST) as site:
        jane = jane_at(site)
        assert [jane.states(vm_id) for vm_id in range(3)] == [(3, 3), (7, 0), (7, 0)]
        assert jane.disks("GET", f"/{disk}/mounts").json() == [{"vmId": "0", "device": "static"}]


def test_a_machine_that_was_booting_goes_on_booting(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=FIRST, boot_seconds=600, keep_machines=True) as site:
        jane_at(site).start()
        assert jane_at(site).states(0) == (1, 0)
    with Sandbox(tmp_path, users=FIRST) as site:
        assert jane_at(site).states(0) == (3, 3)


# -- accounts and the configuration file


def test_the_configuration_is_complete_for_the_site(tmp_path: Path) -> None:
    users = {"jane": "100%s #%(ü)s%", "jörg": "b=c:d"}
    with Sandbox(tmp_path / "100%", users=users) as site:
        sections = configuration(site.config_path)
        assert stat.S_IMODE(site.config_path.stat().st_mode) == 0o600
        assert list(sections) == ["default", "sandbox", "jörg"]
        assert sections["default"] == {"selected_section": "sandbox"}
        for section, user in (("sandbox", "jane"), ("jörg", "jörg")):
            found = sections[section]
            assert found["endpoint"] == f"{site.url}/one-proxy/xmlrpc"
            assert found["pdisk_endpoint"] == f"{site.url}/pdisk"
            assert found["marketplace_endpoint"] == f"{site.url}/marketplace"
            assert found["name"]
            assert found["country"]
            assert (found["username"], found["password"]) == (user, users[user])
            assert "ca_certificate" not in found
            assert Caller(site, (user, users[user])).pool() == []


def test_the_modern_engine_has_a_file_of_its_own(tmp_path: Path) -> None:
    users = {"jane": "100%s #%(ü)s%", "jörg": "b=c:d"}
    with Sandbox(tmp_path / "100%", users=users, tls=True) as site:
        assert stat.S_IMODE(site.opennebula_config_path.stat().st_mode) == 0o600
        sections = configuration(site.opennebula_config_path)
        assert sections.pop("default") == {"selected_section": "opennebula"}
        (found,) = sections.values()
        del found["name"], found["country"]
        assert found == {
            "endpoint": f"{site.url}/RPC2",
            "dialect": "opennebula",
            "user_public_key_file": str(site.dir / "id_ed25519.pub"),
            "ca_certificate": str(site.dir / "ca.pem"),
            "username": "jane",
            "password": users["jane"],
        }


def test_no_key_trips_up_the_original_commands(tmp_path: Path) -> None:
    """
    They let the file set any option of theirs, whatever its type, and ignore other keys
    (config-and-cli 1.4, 1.8): ``user_private_key_file`` is one that they choke on.
    """
    theirs = {
        *("selected_section", "name", "country", "username", "password"),
        *("endpoint", "pdisk_endpoint", "marketplace_endpoint"),
        *("pem_certificate", "pem_key", "user_public_key_file"),
    }
    unknown_to_them = {"ca_certificate", "ssh_port", "verify_images", "trusted_endorsers"}
    with Sandbox(tmp_path, users=USERS, tls=True) as site:
        sections = configuration(site.config_path)
    assert list(sections) == ["default", "sandbox", "jörg", "certificate"]
    assert {key for section in sections.values() for key in section} <= theirs | unknown_to_them


def test_the_key_pair_is_one_and_its_owners_only(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as site:
        section = configuration(site.config_path)["sandbox"]
        public = section["user_public_key_file"]
        private = public.removesuffix(".pub")
        assert {stat.S_IMODE(os.stat(path).st_mode) for path in (private, public)} == {0o600}
        with open(private, "rb") as file:
            key = serialization.load_ssh_private_key(file.read(), None)
        with open(public) as file:
            text = file.read()
        assert text.startswith("ssh-ed25519 ")
        loaded = serialization.load_ssh_public_key(text.encode())
        assert loaded == key.public_key()
    with Sandbox(tmp_path), open(public) as file:
        assert file.read() == text


def test_with_tls_it_names_the_ca_and_a_certificate_that_open_the_site(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users=FIRST, tls=True) as site:
        sections = configuration(site.config_path)
        authority = sections["sandbox"]["ca_certificate"]
        assert site.url == f"https://localhost:{site.port}"  # what Python 2.7 can verify
        assert jane_at(site).disks("GET", verify=authority).status_code == 200
        section = sections["certificate"]
        assert not {"username", "password"} & set(section)
        certificate = (section["pem_certificate"], section["pem_key"])
        answer = Caller(site, None).request(
            "GET", "/pdisk/cert/disks", verify=section["ca_certificate"], cert=certificate
        )
        assert answer.status_code == 200
        kept = {path.name: path.read_bytes() for path in tmp_path.glob("*.pem")}
    with Sandbox(tmp_path, users=FIRST, tls=True) as site:
        assert {path.name: path.read_bytes() for path in tmp_path.glob("*.pem")} == kept


def test_all_files_are_their_owners_only(tmp_path: Path) -> None:
    with Sandbox(tmp_path / "new", tls=True) as site:
        modes = {
            path.name: stat.S_IMODE(path.stat().st_mode)
            for path in site.dir.rglob("*")
            if path.is_file() and path.name != "lock"
        }
        assert set(modes.values()) == {0o600}, modes
        assert stat.S_IMODE(site.dir.stat().st_mode) == 0o700


def test_without_users_there_is_one_account_with_a_password_that_stays(tmp_path: Path) -> None:
    with Sandbox(tmp_path) as site:
        first = site.users
        ((user, password),) = first.items()
        assert user == "clouduser"
        assert password.isalnum()
        assert len(password) >= 16
        assert Caller(site, (user, password)).pool() == []
    with Sandbox(tmp_path) as site:
        assert site.users == first
    with Sandbox() as other:
        assert other.users != first


def test_the_services_account_is_not_in_the_configuration(site: Sandbox, service: Caller) -> None:
    assert service.disks("GET").status_code == 200
    text = site.config_path.read_text()
    assert present(service.auth)[1] not in text
    assert "pdisk" not in site.users


def test_who_is_no_longer_a_user_does_not_come_in_but_keeps_what_he_has(tmp_path: Path) -> None:
    with Sandbox(tmp_path, users={"jane": "old", "joe": "j"}) as site:
        disk = Caller(site, ("joe", "j")).disk()
    with Sandbox(tmp_path, users={"jane": "new"}) as site:
        assert Caller(site, ("joe", "j")).disks("GET").status_code == 401
        assert Caller(site, ("jane", "old")).disks("GET").status_code == 401
        assert Caller(site, ("jane", "new")).disks("GET").status_code == 200
    with Sandbox(tmp_path, users={"joe": "k"}) as site:
        assert [found["uuid"] for found in Caller(site, ("joe", "k")).disks("GET").json()] == [disk]


@pytest.mark.parametrize(
    ("user", "password"),
    [
        ("", "x"),
        ("a:b", "x"),
        ("a]b", "x"),
        ("a\nb", "x"),
        (" a", "x"),
        ("pdisk", "x"),
        ("Default", "x"),
        ("x" * 65, "x"),
        ("jane", ""),
        ("jane", "x\ny"),
        ("jane", "x "),
        ("jane", "x ;y"),
        ("jane", ";y"),
        ("jane", '""'),
        ("jane", "\ud800"),
        ("\udfff", "x"),
    ],
)
def test_an_account_that_no_configuration_file_could_hold_is_refused(
    user: str, password: str
) -> None:
    with pytest.raises(SandboxError) as refused:
        Sandbox(users={user: password})
    assert "\n" not in str(refused.value)


def test_accounts_are_the_ones_that_were_given(site: Sandbox) -> None:
    assert site.users == USERS
