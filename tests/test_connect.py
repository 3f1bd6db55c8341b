"""The Python API of clouds (guide 9.2): ``stratuslab_libcloud.connect``."""

import doctest
import inspect
import io
import re
from functools import partial
from pathlib import Path

import pytest
from dialects import DIALECTS, config_path

import stratuslab_libcloud
from stratuslab_libcloud import Cloud, Endorsement, Machine, NewMachine, Volume, connect
from stratuslab_libcloud.configuration.settings import Certificate, Password
from stratuslab_libcloud.errors import (
    ConfigurationError,
    InvalidValueError,
    NotFoundError,
    NotSupportedError,
)
from stratuslab_libcloud.sandbox.site import Sandbox

PAGE = (Path(__file__).parents[1] / "docs" / "api.md").read_text()
TWO = """\
[default]
selected_section = a
[a]
endpoint = a.example.org
username = u
password = p
[b]
endpoint = b.example.org
pem_certificate = /c.pem
pem_key = /k.pem
user_public_key_file = /keys/b.pub
user_private_key_file = /keys/private
[instance_types]
mine = 3, 4, 5
"""


def test_what_is_public_is_there() -> None:
    for name in stratuslab_libcloud.__all__:
        assert getattr(stratuslab_libcloud, name) is not None
    assert set(stratuslab_libcloud.__all__) <= set(dir(stratuslab_libcloud))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = stratuslab_libcloud.nothing  # type: ignore[attr-defined]


def test_the_page_has_all_that_is_public() -> None:
    listed = "".join(re.findall(r"^\| (`.*?) \|", PAGE, re.M))
    assert sorted(re.findall(r"`(\w+)`", listed)) == sorted(stratuslab_libcloud.__all__)
    documented = re.findall(r"^\.\. auto\w+:: stratuslab_libcloud\.(\w+)$", PAGE, re.M)
    assert {*documented, "__version__"} == set(stratuslab_libcloud.__all__)


def test_what_a_cloud_can_do_is_kept() -> None:
    """Names are added, never removed (guide 9.2)."""
    names = {name for name, _ in inspect.getmembers(Cloud) if not name.startswith("_")}
    assert names >= {
        *("settings", "machine_account", "volume_account", "close", "images", "image"),
        *("machines", "machine", "machine_attributes"),
        *("console_output",),
        *("create_machine", "kill_machine", "shut_down_machine"),
        *("volumes", "volume", "create_volume", "update_volume", "delete_volume"),
        *("attach_volume", "detach_volume"),
        *("verify_image", "endorsements", "upload_metadata", "deprecate_image"),
    }
    assert Machine._fields[:4] == ("id", "name", "owner", "state")
    assert Volume._fields[:3] == ("id", "name", "size")
    assert Endorsement._fields[:3] == ("image", "endorser", "endorsed")


def test_the_examples_of_the_page_do_what_they_show(home: Path) -> None:
    examples = "\n".join(re.findall(r"^```pycon\n(.*?)^```", PAGE, re.M | re.S))
    test = doctest.DocTestParser().get_doctest(examples, {}, "docs/api.md", None, 0)
    report: list[str] = []
    with Sandbox() as site:
        (home / ".stratuslab").mkdir()
        (home / ".stratuslab" / "stratuslab-user.cfg").symlink_to(site.config_path)
        results = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(test, out=report.append)
        left = connect(site.config_path)
        assert (left.machines(), left.volumes()) == ([], [])
        left.close()
    assert "".join(report) == ""
    assert results.attempted > 20


def test_a_cloud_from_its_images_to_its_disks() -> None:
    with Sandbox() as site:
        cloud = connect(site.config_path)
        image = cloud.images()[0]
        kind = next(kind for kind in cloud.settings.instance_types if kind.name == "m1.small")
        order = NewMachine(image.id, kind.cpus, kind.ram, kind.swap)
        machine = cloud.machine(cloud.create_machine(order))
        assert (machine.summary, machine.name) == ("Running", f"one-{machine.id}")
        assert dict(cloud.machine_attributes(machine.id))["template_vcpu"] == "1"
        with pytest.raises(NotFoundError):
            cloud.machine_attributes("77")
        volume = cloud.create_volume(1, "mine")
        assert cloud.attach_volume(volume.id, machine.id) == "vdc"
        cloud.kill_machine(machine.id)
        assert cloud.machines() == []
        cloud.close()


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_cloud_says_whether_stopped_machines_are_kept(dialect: str) -> None:
    with Sandbox() as site:
        cloud = connect(config_path(site, dialect))
        refusal = NotFoundError if cloud.keeps_stopped_machines else NotSupportedError
        for act in (
            cloud.start_machine,
            cloud.reboot_machine,
            partial(cloud.rename_machine, name="x"),
        ):
            with pytest.raises(refusal):
                act("77")
        cloud.close()


def test_the_section_is_the_selected_one_or_the_one_that_is_named() -> None:
    assert connect(io.StringIO(TWO)).settings.location == "a"
    settings = connect(io.StringIO(TWO), "b").settings
    assert settings.endpoint == "https://b.example.org:2634/xmlrpc"
    assert settings.instance_types[-1].name == "mine"
    with pytest.raises(ConfigurationError, match=r"no section \[c\].*known: default, a, b"):
        connect(io.StringIO(TWO), "c")


def test_options_come_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRATUSLAB_ENDPOINT", "environment.example.org")
    monkeypatch.setenv("STRATUSLAB_KEY", "/keys/environment.pub")
    cloud = connect(io.StringIO(TWO), "b")
    assert "environment" in cloud.settings.endpoint
    assert cloud.settings.default_key_pair() == (
        Path("/keys/environment.pub"),
        Path("/keys/environment"),
    )
    options = {"endpoint": "option.example.org", "user_public_key_file": "/keys/option.pub"}
    settings = connect(io.StringIO(TWO), "b", options=options).settings
    assert "option" in settings.endpoint
    assert settings.default_key_pair() == (Path("/keys/option.pub"), Path("/keys/option"))
    options = {"user_private_key_file": "/keys/given"}
    settings = connect(io.StringIO(TWO), "b", options=options).settings
    assert settings.default_key_pair() == (Path("/keys/environment.pub"), Path("/keys/given"))


def test_a_password_does_not_reach_the_storage_of_another_cloud(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Design, section 3: what a file says of storage is about the file's own cloud."""
    file = TWO.replace(
        "password = p\n",
        "password = p\npdisk_endpoint = s.example.org\npdisk_username = v\npdisk_password = q\n",
    )
    own = connect(io.StringIO(file)).settings
    assert own.pdisk_endpoint == "https://s.example.org:8445"
    assert own.storage_credentials == Password("v", "q")
    there = {"endpoint": "other.example.org", "username": "me", "password": "mine"}
    settings = connect(io.StringIO(file), options=there).settings
    assert settings.pdisk_endpoint == "https://other.example.org:8445"
    assert settings.storage_credentials == Password("me", "mine")
    same = {**there, "endpoint": "a.example.org"}
    assert connect(io.StringIO(file), options=same).settings.pdisk_endpoint == own.pdisk_endpoint
    both = {**there, "pdisk_endpoint": "disks.example.org"}
    settings = connect(io.StringIO(file), options=both).settings
    assert settings.pdisk_endpoint == "https://disks.example.org:8445"
    for key, text in there.items():
        monkeypatch.setenv(f"STRATUSLAB_{key.upper()}", text)
    settings = connect(io.StringIO(file)).settings
    assert settings.pdisk_endpoint == "https://other.example.org:8445"
    assert settings.storage_credentials == Password("me", "mine")
    monkeypatch.setenv("STRATUSLAB_PDISK_ENDPOINT", "of-environment.example.org")
    settings = connect(io.StringIO(file)).settings
    assert settings.pdisk_endpoint == "https://of-environment.example.org:8445"
    third = {"endpoint": "third.example.org"}
    settings = connect(io.StringIO(file), options=third).settings
    assert settings.pdisk_endpoint == "https://third.example.org:8445"


def test_an_empty_option_counts_as_absent() -> None:
    settings = connect(io.StringIO(TWO), options={"endpoint": "", "password": ""}).settings
    assert settings.endpoint == "https://a.example.org:2634/xmlrpc"
    assert settings.credentials == Password("u", "p")


def test_the_login_among_the_options_is_used() -> None:
    login = {"username": "me", "password": "mine"}
    assert connect(io.StringIO(TWO), "b", options=login).settings.credentials == Password(
        "me", "mine"
    )
    certificate = {"pem_certificate": "/c", "pem_key": "/k"}
    settings = connect(io.StringIO(TWO), "a", options=certificate).settings
    assert settings.credentials == Certificate("/c", "/k")
    with pytest.warns(UserWarning, match="the certificate is used"):
        settings = connect(io.StringIO(TWO), "a", options={**login, **certificate}).settings
    assert settings.credentials == Certificate("/c", "/k")


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="no option 'endpont'; did you mean endpoint"):
        connect(io.StringIO(TWO), options={"endpont": "x"})


def test_without_a_file_the_options_do() -> None:
    cloud = connect(options={"endpoint": "h", "username": "u", "password": "p"})
    assert cloud.settings.endpoint == "https://h:2634/xmlrpc"
    with pytest.raises(ConfigurationError, match="there is no endpoint in the environment"):
        connect().machines()
    with pytest.raises(ConfigurationError, match="there is no such configuration file"):
        connect("/no/such/file")
