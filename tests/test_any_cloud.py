"""examples/any_cloud.py: one program, on three clouds, with files of strings."""

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.configuration.location import direct
from stratuslab_libcloud.sandbox.site import Sandbox

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def main() -> Any:
    return runpy.run_path(str(EXAMPLES / "any_cloud.py"))["main"]


def provider(folder: Path, **values: Any) -> str:
    path = folder / "provider.json"
    path.write_text(json.dumps({"provider": "stratuslab", "size": "m1.small", **values}))
    return str(path)


@pytest.mark.parametrize("path", ["/RPC2", "/one-proxy/xmlrpc"], ids=["opennebula", "stratuslab"])
def test_a_node_on_each_dialect(
    main: Any,
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Sandbox(tmp_path / "site") as site:
        ((key, secret),) = site.users.items()
        monkeypatch.setenv("STRATUSLAB_KEY", str(site.dir / "id_ed25519.pub"))
        arguments: dict[str, Any] = {
            "key": key,
            "secret": secret,
            "host": f"127.0.0.1{path}",
            "port": str(site.port),
            "secure": "False",
        }
        driver = StratusLabNodeDriver(**arguments)
        image = driver.list_images()[0].name
        assert main(provider(tmp_path, arguments=arguments, image=image)) == 0
        assert driver.list_nodes() == []
        driver.ex_close()
    assert capsys.readouterr().out.startswith("node any-cloud runs at 127.")


def test_a_node_of_the_dummy(main: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = {"provider": "dummy", "arguments": {"creds": "0"}, "image": "Ubuntu", "size": "Small"}
    assert main(provider(tmp_path, **told)) == 0
    assert capsys.readouterr().out.startswith("node dummy-3 runs at 127.")


def test_a_name_that_is_none_is_answered_with_those_that_there_are(
    main: Any, tmp_path: Path
) -> None:
    told = {"provider": "dummy", "arguments": {"creds": "0"}, "image": "Minix", "size": "Small"}
    with pytest.raises(SystemExit, match=r"no 'Minix'; there are: Ubuntu 9\.10"):
        main(provider(tmp_path, **told))


def test_without_a_file_it_says_what_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["any_cloud.py"])
    with pytest.raises(SystemExit, match=r"python any_cloud\.py PROVIDER-FILE"):
        runpy.run_path(str(EXAMPLES / "any_cloud.py"), run_name="__main__")


def test_the_provider_file_is_that_of_an_engine() -> None:
    told = json.loads((EXAMPLES / "opennebula.json").read_text())
    driver = StratusLabNodeDriver(**told["arguments"])
    assert all(isinstance(text, str) for text in told["arguments"].values())
    known = direct(driver.key, driver.secret, str(driver.host), driver.port, secure=driver.secure)
    assert known.endpoint == "https://one.example.org:2633/RPC2"
