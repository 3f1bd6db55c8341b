"""Which dialect a location speaks, and what it costs to find out."""

import io

import pytest
from canned import Canned, rpc
from engines import Scripted, done, machine, pool_of

from stratuslab_libcloud.client import dialects
from stratuslab_libcloud.client.opennebula.cloud import OpenNebulaCloud
from stratuslab_libcloud.client.stratuslab.cloud import StratusLabCloud
from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.configuration import file
from stratuslab_libcloud.errors import NotSupportedError


def made(**options: str) -> object:
    lines = "\n".join(f"{key} = {text}" for key, text in options.items())
    known = file.read(io.StringIO(f"[default]\nusername = u\npassword = p\n{lines}\n"))
    return dialects.cloud(known.settings("default"))


def test_an_option_decides() -> None:
    engine, proxy = "http://h:2633/RPC2", "http://h/one-proxy/xmlrpc"
    assert isinstance(made(endpoint=engine, dialect="stratuslab"), StratusLabCloud)
    assert isinstance(made(endpoint=engine, dialect="opennebula"), OpenNebulaCloud)
    assert isinstance(made(endpoint=proxy, dialect="opennebula"), OpenNebulaCloud)
    assert isinstance(made(endpoint=proxy), StratusLabCloud)


def test_an_engine_is_asked_for_its_version_once_and_only_when_it_matters() -> None:
    answers = {
        "system.version": done("7.4.0"),
        "vmpool.info": pool_of("VM", machine()),
        "vm.info": done(machine()),
        "vm.action": done(81),
        "imagepool.info": pool_of("IMAGE"),
    }
    with Scripted(answers) as engine:
        driver = engine.driver()
        (node,) = driver.list_nodes()
        driver.ex_get_node("81")
        assert "system.version" not in engine.methods
        driver.list_images()
        driver.destroy_node(node)
        driver.list_volumes()
        driver.ex_close()
    assert engine.methods == [
        *("vmpool.info", "vm.info", "system.version"),
        *("imagepool.info", "vm.action", "imagepool.info"),
    ]


def test_an_old_engine_is_spoken_to_as_ever() -> None:
    with Scripted({"vm.action": done(81), "vmpool.info": pool_of("VM", machine())}) as engine:
        driver = engine.driver()
        (node,) = driver.list_nodes()
        driver.destroy_node(node)
        driver.ex_shutdown_node(node)
        with pytest.raises(NotSupportedError, match="speaks StratusLab's dialect"):
            driver.ex_list_networks()
        with pytest.raises(NotImplementedError):
            driver.reboot_node(node)
        driver.ex_close()
    assert engine.calls[1:] == [
        ("system.version",),
        ("vm.action", "finalize", 81),
        ("vm.action", "shutdown", 81),
    ]


def test_a_failure_decides_nothing() -> None:
    broken = (503, "text/plain", b"")
    with Canned([broken, broken, broken, rpc(True, "7.4.0", 0), pool_of("IMAGE")]) as server:
        driver = StratusLabNodeDriver("u", "p", host=f"{server.url}/RPC2", timeout=3)
        with pytest.raises(Exception, match="503"):
            driver.list_images()
        assert driver.list_images() == []
        driver.ex_close()
