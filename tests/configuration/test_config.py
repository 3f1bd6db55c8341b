"""The configuration file: sections, precedence, credentials, types (config-and-cli 1, 2)."""

import io
import shlex
import subprocess
import textwrap
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from libcloud.compute.deployment import ScriptDeployment
from permissions import unreadable

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.configuration import file as config
from stratuslab_libcloud.configuration.file import Certificate, Password, UserConfig
from stratuslab_libcloud.configuration.options import KNOWN
from stratuslab_libcloud.errors import ConfigurationError, InvalidValueError

TWO_CLOUDS = """
    [default]
    selected_section = a
    username = shared

    [b]
    endpoint = b.example.org
    password = pb

    [a]
    name = "Cloud A"
    endpoint = https://a.example.org/one-proxy/xmlrpc
    password = pa

    [instance_types]
    my.type = 4, 2048, 1024
    """


def read(text: str, **options: Any) -> UserConfig:
    return config.read(io.StringIO(textwrap.dedent(text)), **options)


def value(text: str) -> str:
    """What a password is read as."""
    file = f"[default]\nendpoint = h\nusername = u\nother = x%%y\npassword = {text}\n"
    login = config.read(io.StringIO(file)).settings("default").credentials
    assert isinstance(login, Password)
    return login.password


class TestSections:
    def test_locations_are_the_sections_in_file_order_the_default_one_first(self) -> None:
        assert read(TWO_CLOUDS).locations() == ["a", "b"]

    def test_a_section_inherits_from_default(self) -> None:
        assert read(TWO_CLOUDS).settings("b").credentials == Password("shared", "pb")

    def test_an_empty_value_in_a_section_hides_that_of_default(self) -> None:
        text = "[default]\nendpoint = d\nusername = u\npassword = p\n[a]\npassword =\n"
        assert read(text).settings("a").credentials is None

    def test_quotes_are_stripped_from_name_and_country_only(self) -> None:
        text = '[default]\nendpoint=h\nusername="u"\npassword=p\nname="N"\ncountry = "C"\n'
        assert read(text).display("default") == ("N", "C")
        assert read(text).settings("default").credentials == Password('"u"', "p")

    def test_name_and_country_are_not_inherited(self) -> None:
        text = "[default]\nendpoint = d\nname = D\ncountry = E\n[a]\nendpoint = a\n"
        assert read(text).display("a") == ("a", "unknown")

    def test_default_is_a_location_when_nothing_is_selected(self) -> None:
        text = "[default]\nendpoint = d\n[a]\nendpoint = a\n"
        assert read(text).locations() == ["default", "a"]

    def test_default_without_endpoint_merely_holds_shared_values(self) -> None:
        config_ = read("[default]\nusername = u\n[a]\nendpoint = a\n[b]\nendpoint = b\n")
        assert config_.locations() == ["a", "b"]
        assert config_.settings(config_.default_location).endpoint == ""

    def test_the_only_section_is_the_default_when_default_holds_shared_values(self) -> None:
        config_ = read("[default]\nusername = u\n[a]\nendpoint = a\n")
        assert config_.default_location == "a"

    def test_default_is_no_location_when_another_is_selected(self) -> None:
        text = "[default]\nendpoint = d\nselected_section = a\n[a]\n"
        assert read(text).locations() == ["a"]

    def test_default_can_be_chosen_in_spite_of_a_selected_section(self) -> None:
        text = "[default]\nendpoint = d\nselected_section = a\n[a]\nendpoint = a\n"
        config_ = read(text, location="default")
        assert config_.locations() == ["default", "a"]

    def test_a_section_without_endpoint_is_no_error_before_it_is_used(self) -> None:
        config_ = read("[default]\nselected_section = a\n[a]\nendpoint = a\n[b]\n")
        assert config_.locations() == ["a", "b"]

    @pytest.mark.parametrize("name", ["zz", "instance_types", "DEFAULT"])
    def test_an_unknown_section_is_an_error_that_lists_the_known_ones(self, name: str) -> None:
        with pytest.raises(ConfigurationError, match=r"argument names; known: default, b, a$"):
            read(TWO_CLOUDS, location=name)


class TestSelection:
    """Explicit location, name, environment, selected_section, [default]."""

    def test_the_order(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = "[default]\nselected_section = d\n[a]\n[b]\n[c]\n[d]\n"
        assert read(text).default_location == "d"
        monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "c")
        assert read(text).default_location == "c"
        assert read(text, preferred="default").default_location == "c"
        assert read(text, preferred="b").default_location == "b"
        assert read(text, preferred="b", location="a").default_location == "a"
        assert read(text, location="default").default_location == "default"

    def test_an_empty_variable_counts_as_unset(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "")
        assert read(TWO_CLOUDS).default_location == "a"

    def test_an_error_says_who_chose(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError, match=r"which \[default\] selected_section names"):
            read("[default]\nselected_section = zz\n")
        monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "zz")
        with pytest.raises(ConfigurationError, match="which STRATUSLAB_USER_CONFIG_SECTION names"):
            read(TWO_CLOUDS)

    def test_the_argument_of_2013_leaves_the_choice_to_the_file(self) -> None:
        for key in ("unused-key", ""):
            with pytest.warns(UserWarning, match=f"^{key!r} names no section of .*; leave") as seen:
                assert read(TWO_CLOUDS, preferred=key).default_location == "a"
            assert len(seen) == 1
            with pytest.warns(UserWarning, match="names no section"):
                assert read(TWO_CLOUDS, preferred=key, location="b").default_location == "b"

    def test_unless_a_section_has_that_name(self) -> None:
        text = TWO_CLOUDS.replace("[b]", "[unused-key]")
        assert read(text, preferred="unused-key").default_location == "unused-key"

    def test_the_warning_points_at_the_script(self) -> None:
        with pytest.warns(UserWarning, match="names no section") as seen:
            StratusLabNodeDriver("unused-key", stratuslab_user_config=io.StringIO("[default]\n"))
        assert [warning.filename for warning in seen] == [__file__]

    def test_a_slip_in_a_name_gets_a_suggestion(self, monkeypatch: pytest.MonkeyPatch) -> None:
        text = TWO_CLOUDS.replace("[b]", "[fav-cloud]")
        close = r"known: default, fav-cloud, a; did you mean fav-cloud\?$"
        for key in ("fav_cloud", "favcloud", "Fav-Cloud"):
            with pytest.raises(ConfigurationError, match=close):
                read(text, preferred=key)
        for key in ("unused_key", "unusedkey"):
            with pytest.raises(ConfigurationError, match=r"fav-cloud, a$"):
                read(text, preferred=key)
        monkeypatch.setenv("STRATUSLAB_USER_CONFIG_SECTION", "unused-key")
        with pytest.raises(ConfigurationError, match=r"\[unused-key\], which STRATUSLAB_USER"):
            read(text)


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: HOME is not set, and the user id has no entry."""

    def nobody(number: int) -> None:
        raise KeyError(number)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)


@pytest.mark.usefixtures("homeless")
class TestWithoutHome:
    def test_the_default_place_says_what_to_set(self) -> None:
        for call in (config.read, config.default_path):
            with pytest.raises(ConfigurationError, match=r"no home directory .* set HOME, or name"):
                call()

    def test_the_environment_is_enough(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", "h")
        assert config.read().settings("default").endpoint == "https://h:2634/xmlrpc"

    @pytest.mark.parametrize(
        "key", ["pem_key", "pem_certificate", "ca_certificate", "user_public_key_file"]
    )
    def test_a_path_is_named(self, key: str) -> None:
        full = {"pem_key": "/k", "pem_certificate": "/c", key: "~/x"}
        lines = "".join(f"{name} = {path}\n" for name, path in full.items())
        text = f"[default]\nendpoint = h\n{lines}"
        wanted = rf"\[default\] {key} begins with ~, .*: set HOME, or write the path in full$"
        with pytest.raises(ConfigurationError, match=wanted):
            read(text).settings("default")

    def test_the_other_half_of_a_pair_would_be_there(self) -> None:
        text = "[default]\nendpoint = h\npem_certificate = /c\n"
        with pytest.raises(ConfigurationError, match=r"\[default\] pem_key begins with ~"):
            read(text).settings("default")

    def test_so_is_the_file_and_the_key_variable(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(ConfigurationError, match=r"the path ~/x\.cfg .* begins with ~"):
            config.read("~/x.cfg")
        monkeypatch.setenv("STRATUSLAB_KEY", "~/k.pub")
        with pytest.raises(ConfigurationError, match="STRATUSLAB_KEY begins with ~"):
            read(TWO_CLOUDS).settings("a")

    def test_nothing_is_found_where_nothing_can_be(self) -> None:
        settings = read("[default]\nendpoint = h\n").settings("default")
        assert settings.credentials is None
        assert settings.default_key_pair() is None

    def test_a_private_key_is_named(self) -> None:
        driver = StratusLabNodeDriver("u", "p", host="h")
        with pytest.raises(InvalidValueError, match="ssh_key begins with ~"):
            driver.deploy_node(
                ScriptDeployment("true"), ssh_key="~/k", name="n", size=None, image=None
            )


def test_the_home_directory_of_nobody_is_no_folder() -> None:
    text = "[default]\nendpoint = h\nca_certificate = ~no-such-user/ca\n"
    with pytest.raises(ConfigurationError, match=r"begins with ~no-such-user, .* path in full$"):
        read(text).settings("default")


class TestEnvironment:
    def test_it_comes_before_the_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_PASSWORD", "from-env")
        monkeypatch.setenv("STRATUSLAB_MARKETPLACE_ENDPOINT", "https://m.example.org/")
        settings = read(TWO_CLOUDS).settings("a")
        assert settings.credentials == Password("shared", "from-env")
        assert settings.marketplace_endpoint == "https://m.example.org"

    def test_it_never_reaches_another_cloud(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for key in ("USERNAME", "PASSWORD", "PDISK_USERNAME", "PDISK_PASSWORD", "ENDPOINT"):
            monkeypatch.setenv(f"STRATUSLAB_{key}", "from-env")
        settings = read(TWO_CLOUDS).settings("b")
        assert "from-env" not in repr(vars(settings)) + repr(vars(settings.options))

    def test_arguments_come_before_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_PDISK_ENDPOINT", "env.example.org")
        overrides = {"pdisk_endpoint": "argument.example.org"}
        config_ = read(TWO_CLOUDS)
        settings = config_.settings("a", overrides)
        assert settings.pdisk_endpoint == "https://argument.example.org:8445"
        assert "argument" not in str(config_.settings("b", overrides).pdisk_endpoint)

    def test_the_key_variable_holds_everywhere(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_KEY", "/keys/lab.pub")
        settings = read(TWO_CLOUDS + "[c]\nuser_public_key_file = /x\n").settings("b")
        assert settings.default_key_pair() == (Path("/keys/lab.pub"), Path("/keys/lab"))

    def test_it_replaces_a_missing_default_file(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", "cloud.example.org")
        config_ = config.read()
        assert config_.locations() == ["default"]
        assert config_.settings("default").endpoint == "https://cloud.example.org:2634/xmlrpc"


class TestFile:
    def test_the_default_place_is_the_guides(self, home: Path) -> None:
        assert config.default_path() == home / ".stratuslab" / "stratuslab-user.cfg"

    def test_a_missing_default_file_names_the_command_that_makes_one(self) -> None:
        with pytest.raises(ConfigurationError, match="stratus-copy-config"):
            config.read()

    def test_a_named_file_must_exist(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("STRATUSLAB_ENDPOINT", "cloud.example.org")
        with pytest.raises(ConfigurationError, match=r"nope\.cfg: there is no such"):
            config.read(tmp_path / "nope.cfg")

    def test_a_directory_is_no_file(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="cannot be read"):
            config.read(tmp_path)

    def test_what_is_neither_path_nor_file_is_refused(self) -> None:
        with pytest.raises(ConfigurationError, match="a path or an open file"):
            config.read(42)  # type: ignore[arg-type]

    def test_an_empty_file_is_an_error(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no \[default\] section"):
            read("")

    def test_binary_files_and_byte_order_marks_are_read(self) -> None:
        file = io.BytesIO(b"\xef\xbb\xbf[default]\r\nendpoint = h\r\n")
        assert config.read(file).locations() == ["default"]

    def test_a_line_that_is_none_is_named_but_not_shown(self) -> None:
        with pytest.raises(ConfigurationError, match="line 3 ") as caught:
            read("[default]\nendpoint = h\nsecret-word\n")
        assert "secret-word" not in str(caught.value)
        assert caught.value.__cause__ is None

    def test_a_line_before_any_section_is_named_but_not_shown(self) -> None:
        with pytest.raises(ConfigurationError, match="line 1 ") as caught:
            read("password = secret-word\n[default]\n")
        assert "secret-word" not in str(caught.value)

    def test_text_that_is_not_utf8_is_named_by_line(self) -> None:
        with pytest.raises(ConfigurationError, match="line 2 is not UTF-8"):
            config.read(io.BytesIO(b"[default]\npassword = \xe9\n"))


class TestValues:
    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            ("a%b", "a%b"),
            ("a%%b", "a%b"),
            ("a%b%%c", "a%b%%c"),
            ("%(other)s!", "x%y!"),
            ("%(OTHER)s", "x%y"),
            ("%(nothing)s", "%(nothing)s"),
            ("%(password)s", "%(password)s"),
            ("%", "%"),
            ("50%s", "50%s"),
        ],
    )
    def test_interpolation(self, written: str, meant: str) -> None:
        assert value(written) == meant

    def test_two_quotes_are_the_empty_value(self) -> None:
        text = '[default]\nendpoint = h\nusername = u\npassword = ""\n'
        assert read(text).settings("default").credentials is None

    def test_an_inline_comment_ends_a_value(self) -> None:
        text = "[default]\nendpoint = h.example.org ; the lab\nusername = a;b # c\npassword=p\n"
        settings = read(text).settings("default")
        assert settings.endpoint == "https://h.example.org:2634/xmlrpc"
        assert settings.credentials == Password("a;b # c", "p")

    def test_but_never_a_password(self) -> None:
        with pytest.warns(UserWarning, match=r"\[default\] password") as caught:
            assert value("secret ;word") == "secret ;word"
        assert "secret" not in str(caught[0].message)

    def test_keys_are_read_without_case(self) -> None:
        assert read("[default]\nEndPoint: h\n").settings("default").endpoint

    def test_tilde_is_the_home_directory(self, home: Path) -> None:
        text = "[default]\nendpoint=h\nuser_public_key_file = ~/k.pub\nca_certificate=~/ca\n"
        settings = read(text).settings("default")
        assert settings.public_key == home / "k.pub"
        assert settings.options.ca_certificate == str(home / "ca")

    def test_a_slip_of_the_pen_is_named_but_not_its_value(self) -> None:
        with pytest.warns(
            UserWarning, match=r"\[default\] pasword is ignored; did you mean pass"
        ) as caught:
            read("[default]\nendpoint = h\npasword = secret\nsomething_else = 1\n")
        assert len(caught) == 1
        assert "secret" not in str(caught[0].message)

    @pytest.mark.parametrize(
        ("line", "named"),
        [
            ("endpoint = ftp://h/", "endpoint"),
            ("endpoint = h h", "endpoint"),
            ("pdisk_endpoint = https://:1/", "pdisk_endpoint"),
            ("marketplace_endpoint = https://h:99999/", "marketplace_endpoint"),
            ("pdisk_port = 0", "pdisk_port"),
            ("pdisk_port = x", "pdisk_port"),
            ("pdisk_protocol = gopher", "pdisk_protocol"),
            ("ssh_port = 70000", "ssh_port"),
            ("verify_tls = perhaps", "verify_tls"),
            ("default_context_method = two", "default_context_method"),
            ("endpoint_timeout = soon", "endpoint_timeout"),
        ],
    )
    def test_an_error_names_file_section_and_key(self, line: str, named: str) -> None:
        file = io.StringIO(f"[default]\nselected_section=s\n[s]\n{line}\n")
        file.name = "my.cfg"
        with pytest.raises(ConfigurationError) as caught:
            config.read(file).settings("s")
        assert str(caught.value).startswith(f"my.cfg: [s] {named} ")
        assert isinstance(caught.value, ValueError)

    def test_verification_is_not_switched_off_in_silence(self) -> None:
        with pytest.warns(UserWarning, match="verify_tls"):
            settings = read("[default]\nendpoint=h\nverify_tls = no\n").settings("default")
        assert not settings.options.verify_tls


class TestServices:
    def test_storage_is_beside_the_cloud_by_default(self) -> None:
        assert read(TWO_CLOUDS).settings("a").pdisk_endpoint == "https://a.example.org/pdisk"
        assert read(TWO_CLOUDS).settings("b").pdisk_endpoint == "https://b.example.org:8445"

    def test_port_and_protocol_are_for_bare_hosts(self) -> None:
        text = "[default]\nendpoint = c\npdisk_endpoint = {}\npdisk_port=81\npdisk_protocol=http\n"
        assert read(text.format("h/p")).settings("default").pdisk_endpoint == "http://h:81/p"
        assert read(text.format("h:82")).settings("default").pdisk_endpoint == "http://h:82"
        url = "https://h/pdisk"
        assert read(text.format(url)).settings("default").pdisk_endpoint == url

    def test_an_engine_has_no_storage_beside_it(self) -> None:
        settings = read("[default]\nendpoint = http://h:2633/RPC2\n").settings("default")
        assert settings.pdisk_endpoint is None

    def test_the_marketplace_defaults_to_the_public_one(self) -> None:
        settings = read(TWO_CLOUDS).settings("a")
        assert settings.marketplace_endpoint == "https://marketplace.stratuslab.eu"


class TestCredentials:
    """The table of config-and-cli 2.4."""

    LOGIN = "[default]\nendpoint = h\nusername = u\npassword = p\n"

    def globus(self, home: Path) -> Certificate:
        (home / ".globus").mkdir()
        pair = [home / ".globus" / name for name in ("usercert.pem", "userkey.pem")]
        for path in pair:
            path.touch()
        return Certificate(*map(str, pair))

    def test_a_password_beats_the_default_certificate(self, home: Path) -> None:
        self.globus(home)
        assert read(self.LOGIN).settings("default").credentials == Password("u", "p")

    def test_an_explicit_certificate_beats_a_password_with_a_warning(self, home: Path) -> None:
        text = self.LOGIN + "pem_certificate = /c.pem\n"
        with pytest.warns(UserWarning, match="certificate is used"):
            settings = read(text).settings("default")
        assert settings.credentials == Certificate("/c.pem", str(home / ".globus" / "userkey.pem"))

    def test_the_default_certificate_counts_when_there_is_no_user(self, home: Path) -> None:
        pair = self.globus(home)
        text = "[default]\nendpoint = h\n"
        assert read(text).settings("default").credentials == pair
        assert read(text + "pem_key =\n").settings("default").credentials is None
        assert read(text + "username = u\n").settings("default").credentials is None

    def test_nothing_is_nothing(self) -> None:
        assert read("[default]\nendpoint = h\n").settings("default").credentials is None

    def test_storage_falls_back_to_the_cloud_login_half_by_half(self) -> None:
        settings = read(self.LOGIN + "pdisk_password = q\n").settings("default")
        assert settings.storage_credentials == Password("u", "q")
        assert settings.credentials == Password("u", "p")

    def test_a_storage_login_of_its_own_beats_the_certificate(self) -> None:
        text = "[default]\nendpoint=h\npem_key=/k\npem_certificate=/c\npdisk_username=u\n"
        assert isinstance(read(text).settings("default").storage_credentials, Certificate)
        whole = read(text + "pdisk_password=p\n").settings("default")
        assert whole.storage_credentials == Password("u", "p")

    def test_a_login_in_the_endpoint_is_used_and_removed(self) -> None:
        text = "[default]\nendpoint = https://u:p%40@h/one-proxy/xmlrpc\n"
        settings = read(text.replace("%40", "%%40")).settings("default")
        assert settings.credentials == Password("u", "p@")
        assert settings.endpoint == "https://h/one-proxy/xmlrpc"

    def test_no_secret_in_any_repr(self) -> None:
        config_ = read(
            "[default]\nendpoint=h\nusername=u\npassword=Marker1\npdisk_password=Marker2"
        )
        assert "Marker" not in repr(config_) + repr(config_.settings("default"))


class TestKeys:
    def test_the_private_key_is_the_public_one_without_pub(self) -> None:
        text = "[default]\nendpoint = h\nuser_public_key_file = /k/{}\n"
        for public, private in (("backup.pub", "backup"), ("my.b.pub", "my.b"), ("keyb", "keyb")):
            pair = read(text.format(public)).settings("default").default_key_pair()
            assert pair == (Path(f"/k/{public}"), Path(f"/k/{private}"))

    def test_a_sections_public_key_is_not_paired_with_defaults_private_key(self) -> None:
        text = "[default]\nuser_private_key_file=/d\n[a]\nendpoint=h\nuser_public_key_file=/a.pub\n"
        assert read(text).settings("a").default_key_pair() == (Path("/a.pub"), Path("/a"))

    def test_without_configuration_it_is_the_first_that_is_there(self, home: Path) -> None:
        settings = read("[default]\nendpoint = h\n").settings("default")
        assert settings.default_key_pair() is None
        ssh = home / ".ssh"
        ssh.mkdir()
        for name in ("id_ecdsa", "id_ed25519", "id_rsa"):
            (ssh / f"{name}.pub").touch()
            assert settings.default_key_pair() == (ssh / f"{name}.pub", ssh / name)


class TestInstanceTypes:
    def types(self, lines: str) -> dict[str, tuple[int, int, int]]:
        found = read(f"[default]\nendpoint = h\n[instance_types]\n{lines}").instance_types
        return {kind.name: (kind.cpus, kind.ram, kind.swap) for kind in found}

    def test_the_standard_ones(self) -> None:
        assert self.types("") == {
            "t1.micro": (1, 512, 512),
            "m1.small": (1, 1536, 1536),
            "m1.medium": (1, 3072, 3072),
            "m1.large": (2, 6144, 6144),
            "m1.xlarge": (4, 8192, 8192),
            "c1.medium": (2, 1536, 1536),
            "c1.xlarge": (4, 6144, 6144),
        }

    def test_the_users_are_added_or_replace_them(self) -> None:
        types = self.types("My.Type = (4, 2048, 0)\nm1.small = 1 CPU, 1024 MB, 512\n")
        assert types["my.type"] == (4, 2048, 0)
        assert types["m1.small"] == (1, 1024, 512)
        assert len(types) == 8

    @pytest.mark.parametrize(
        "text", ["44", ",", "1, 2, 3, 4", "0, 1, 1", "1, 0, 1", "1.5, 2, 3", ""]
    )
    def test_an_invalid_line_is_named_in_a_warning(self, text: str) -> None:
        with pytest.warns(UserWarning, match=r"\[instance_types\] bad is ignored"):
            types = self.types(f"bad = {text}\ngood = 1, 2, 3\n")
        assert "bad" not in types
        assert types["good"] == (1, 2, 3)


class TestWhoMayRead:
    """Whose file it is."""

    LOGIN = "username = u\npassword = pw\n"

    def written(self, folder: Path, text: str, mode: int) -> Path:
        path = folder / "it's mine.cfg"
        path.write_text(f"[default]\nendpoint = h\n{text}")
        path.chmod(mode)
        return path

    @pytest.mark.parametrize("mode", [0o644, 0o666, 0o604])
    @pytest.mark.parametrize(
        "text",
        [
            LOGIN,
            "pdisk_password = pw\n",
            "[other]\nendpoint = o\npassword = pw\n",
            "[other]\nendpoint = https://u:pw@o/xmlrpc\n",
        ],
    )
    def test_one_line_names_the_file_and_what_to_do_when_it_is_everybody(
        self, tmp_path: Path, text: str, mode: int
    ) -> None:
        path = self.written(tmp_path, text, mode)
        with pytest.warns(UserWarning, match="everybody") as caught:
            config.read(path)
        (told,) = (str(warning.message) for warning in caught)
        complaint, _, command = told.rpartition("; ")
        assert complaint == f"{path}: everybody on this machine can read the passwords in it"
        subprocess.run(shlex.split(command), check=True)
        config.read(path)  # without a warning, which would be an error

    @pytest.mark.parametrize("mode", [0o600, 0o400, 0o640])
    def test_others_may_not_read_it(self, tmp_path: Path, mode: int) -> None:
        config.read(self.written(tmp_path, self.LOGIN, mode))

    def test_there_is_no_password_to_be_read(self, tmp_path: Path) -> None:
        text = 'username = u\npassword = ""\npem_certificate = c.pem\npem_key = k.pem\n'
        config.read(self.written(tmp_path, text, 0o644))

    def test_an_open_file_is_its_openers_affair(self, tmp_path: Path) -> None:
        with self.written(tmp_path, self.LOGIN, 0o644).open() as file:
            config.read(file)

    def test_who_may_not_read_it_is_told(self, tmp_path: Path) -> None:
        path = self.written(tmp_path, self.LOGIN, 0o600)
        with unreadable(path), pytest.raises(ConfigurationError) as caught:
            config.read(path)
        assert str(caught.value) == f"{path}: cannot be read: Permission denied"

    def test_a_folder_that_one_may_not_look_into_has_no_default_certificate(
        self, home: Path
    ) -> None:
        (home / ".globus").mkdir()
        for name in ("usercert.pem", "userkey.pem"):
            (home / ".globus" / name).touch()
        with unreadable(home / ".globus"):
            assert read("[default]\nendpoint = h\n").settings("default").credentials is None

    def test_nor_a_default_key_pair(self, home: Path) -> None:
        (home / ".ssh").mkdir()
        (home / ".ssh" / "id_rsa.pub").touch()
        with unreadable(home / ".ssh"):
            assert read("[default]\nendpoint = h\n").settings("default").default_key_pair() is None


class TestTooMuch:
    def test_references_within_references_have_an_end(self) -> None:
        for begin in ("ha", '""'):
            lines = [f"l0 = {begin}", *(f"l{n} = {f'%(l{n - 1})s' * 10}" for n in range(1, 11))]
            with pytest.raises(
                ConfigurationError, match=r"\[default\] l3 expands to more than 1000"
            ):
                read("\n".join(["[default]", *lines]))

    def test_a_thousand_may_be_written(self) -> None:
        assert value("%(username)s" * 1000) == "u" * 1000


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.binary(max_size=300) | st.text(max_size=300).map(lambda text: f"[default]\n{text}".encode())
)
def test_arbitrary_bytes_are_a_configuration_or_a_configuration_error(content: bytes) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            config_ = config.read(io.BytesIO(content))
            for location in config_.locations():
                config_.settings(location)
        except ConfigurationError as error:
            assert "\n" not in str(error)


KEYS = st.sampled_from(sorted(KNOWN))
VALUES = st.lists(
    st.sampled_from(
        [
            *(
                "h",
                ":",
                "/",
                "//",
                "@",
                "[",
                "]",
                "::1",
                "%",
                "%%",
                "%(name)s",
                "%(endpoint)s",
                " ;x",
            ),
            *("https://", "http://", "ftp://", "localhost", "xmlrpc", "pswd", ".", "..", "ü", "\0"),
            *(
                "~",
                "~/x",
                "~none",
                "~\0",
                '""',
                "yes",
                "no",
                "0",
                "22",
                "99999",
                "\u0663",
                "\u202e",
            ),
        ]
    )
    | st.text(max_size=3),
    max_size=5,
).map("".join)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(KEYS, VALUES), st.dictionaries(KEYS, VALUES))
@example({"pem_key": "~\0"}, {})
@example({"user_public_key_file": "~\0x"}, {})
def test_known_keys_may_have_any_value(base: dict[str, str], own: dict[str, str]) -> None:
    written = {"default": base, "s": own}
    text = "".join(
        f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in options.items())
        for name, options in written.items()
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            config_ = config.read(io.StringIO(text))
            for location in config_.locations():
                config_.display(location)
                config_.settings(location).default_key_pair()
        except ConfigurationError as error:
            assert str(error).isprintable()
    assert all("\n" not in str(warning.message) for warning in caught)


SAFE = st.text(st.characters(exclude_categories=("C", "Z"), exclude_characters="%;"), min_size=1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SAFE, SAFE)
def test_what_is_written_is_what_is_read(username: str, password: str) -> None:
    text = f"[default]\nendpoint = h\nusername = {username}\npassword = {password}\n"
    if '""' in (username, password):
        return
    login = config.read(io.StringIO(text)).settings("default").credentials
    assert login == Password(username, password)
