"""The docstrings of the driver: complete, and their examples do what they show."""

import doctest
import functools
import inspect
import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timezone
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from clouds import KEY, configured
from endorsers import ENTRY, certified, pkcs12_file
from libcloud.compute.base import NodeDriver
from sshd import Sshd, free_port, needed

from stratuslab_libcloud import NewImage
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.metadata.entry import sha1_of
from stratuslab_libcloud.metadata.keys import SigningKey, pem_key
from stratuslab_libcloud.metadata.rdf import write_entry
from stratuslab_libcloud.metadata.signature import sign
from stratuslab_libcloud.sandbox.site import Sandbox

ROOT = Path(__file__).parents[2]
METHODS: dict[str, Callable[..., Any]] = {
    name: method
    for name, method in inspect.getmembers(StratusLabNodeDriver, inspect.isfunction)
    if not name.startswith("_") and method is not getattr(NodeDriver, name, None)
}
# What a sandbox's StratusLab location cannot show; its OpenNebula engine does.
ELSEWHERE = {
    name
    for name, method in METHODS.items()
    if method.__module__.rpartition(".")[2] in ("account", "keys", "power") or name == "copy_image"
}
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@cache
def jane() -> SigningKey:
    return certified("P-256", email="jane@example.org")


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    """A sandbox whose first image Jane has endorsed, too, before others did."""
    with Sandbox() as sandbox:
        driver = StratusLabNodeDriver(stratuslab_user_config=sandbox.config_path)
        first = driver.list_images()[0].id
        driver.ex_close()
        entry = replace(ENTRY, identifier=first, checksums={"SHA-1": sha1_of(first)})
        when = datetime(2021, 1, 1, tzinfo=timezone.utc)
        sandbox.marketplace.add(sign(write_entry(entry), jane(), digest="sha256", when=when))
        yield sandbox


@pytest.fixture
def names(sandbox: Sandbox, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """What the examples start from, as the class introduces it; nothing is left afterwards."""
    pem = (sandbox.dir / "endorser.pem").read_bytes()
    site = pem_key(pem, pem)
    trusted = ",".join(key.certificate.fingerprint for key in (site, jane()))
    path = configured(
        sandbox,
        tmp_path,
        verify_images="require",
        trusted_endorsers=trusted,
        p12_certificate=pkcs12_file(tmp_path / "key.p12", jane()),
        p12_password="geheim",
    )
    driver = StratusLabNodeDriver(stratuslab_user_config=path)
    image, size = driver.list_images()[0], driver.list_sizes()[0]
    node = driver.create_node(name="web", size=size, image=image)
    volume = driver.create_volume(size=5, name="data")
    metadata = sign(write_entry(ENTRY), jane(), digest="sha256")
    yield {
        "driver": driver,
        "image": image,
        "size": size,
        "node": node,
        "volume": volume,
        "metadata": metadata,
        "NewImage": NewImage,
    }
    for node in driver.list_nodes():
        driver.destroy_node(node)
    for volume in driver.list_volumes():
        driver.destroy_volume(volume)
    sandbox.marketplace.withdraw("jane@example.org", {image.id})  # what an example added
    driver.ex_close()


def give_the_first_address_next(sandbox: Sandbox) -> None:
    with closing(sqlite3.connect(sandbox.dir / "sandbox.db")) as db, db:
        db.execute("DELETE FROM settings WHERE name = 'last public address'")


def run_examples(name: str, documented: object, names: dict[str, Any]) -> int:
    """Run them; :return: how many there are."""
    text = inspect.getdoc(documented) or ""
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    report: list[str] = []
    results = doctest.DocTestRunner(optionflags=OPTIONS).run(test, out=report.append)
    assert results.failed == 0, "".join(report)
    return results.attempted


@pytest.mark.parametrize("name", sorted(set(METHODS) - {"deploy_node", *ELSEWHERE}))
def test_examples_do_what_they_show(name: str, names: dict[str, Any]) -> None:
    assert run_examples(name, METHODS[name], names) > 0


@pytest.fixture
def elsewhere(sandbox: Sandbox, names: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Likewise, with a driver and a node on the engine."""
    ((username, password),) = sandbox.users.items()
    one = StratusLabNodeDriver(username, password, host=f"{sandbox.url}/RPC2")
    vm = one.create_node("web", names["size"], one.list_images()[0], auth=KEY)
    yield {**names, "one": one, "vm": vm}
    for node in one.list_nodes():
        one.destroy_node(node)
    one.ex_close()


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_examples_on_opennebula_do_what_they_show(name: str, elsewhere: dict[str, Any]) -> None:
    assert run_examples(name, METHODS[name], elsewhere) > 0


@needed
def test_the_example_of_deploy_node_does_what_it_shows(
    sandbox: Sandbox, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = names["driver"]
    give_the_first_address_next(sandbox)
    scout = driver.create_node(name="scout", size=names["size"], image=names["image"])
    driver.destroy_node(scout)
    give_the_first_address_next(sandbox)
    address = scout.public_ips[0]
    sshd = Sshd(tmp_path, address, free_port(address))
    sshd.authorized_keys.write_text((sandbox.dir / "id_ed25519.pub").read_text())
    deploy = functools.partial(
        driver.deploy_node, ssh_username=sshd.username, ssh_port=sshd.port, timeout=60
    )
    monkeypatch.setattr(driver, "deploy_node", deploy)
    with sshd:
        assert run_examples("deploy_node", METHODS["deploy_node"], names) > 0


def test_examples_of_the_class_do_what_they_show(
    names: dict[str, Any], tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configuration = (tmp_path / "configured.cfg").read_text()
    (home / ".stratuslab").mkdir()
    for path in (home / ".stratuslab" / "stratuslab-user.cfg", home / "clouds.cfg"):
        path.write_text(configuration)
        path.chmod(0o600)
    monkeypatch.chdir(home)
    names = {**names, "StratusLabNodeDriver": StratusLabNodeDriver}
    assert run_examples("StratusLabNodeDriver", StratusLabNodeDriver, names) > 0
    assert run_examples("__init__", StratusLabNodeDriver.__init__, names) > 0


@pytest.mark.parametrize("name", sorted({*METHODS, "__init__"}))
def test_a_docstring_has_what_a_user_needs(name: str) -> None:
    method = getattr(StratusLabNodeDriver, name)
    text = inspect.getdoc(method) or ""
    parameters = [
        parameter.name
        for parameter in list(inspect.signature(method).parameters.values())[1:]
        if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    assert re.findall(r"^:param (\w+):", text, re.MULTILINE) == parameters
    assert re.search(r"\brequests?\b", text), "what it costs"
    if name not in ("__init__", "ex_close"):
        assert ":rtype:" in text


def test_the_page_of_the_driver_has_every_method_and_its_cost() -> None:
    page = (ROOT / "docs" / "driver.rst").read_text()
    shown = re.findall(r"^\.\. automethod:: StratusLabNodeDriver\.(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted(METHODS)
    costs = "".join(re.findall(r"^   \* - (``.*)$", page, re.MULTILINE))
    assert sorted(re.findall(r"``(\w+)``", costs)) == sorted(METHODS)
