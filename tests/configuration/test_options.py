"""The table of options, and what is made of it (config-and-cli 1.4)."""

import io
from dataclasses import fields
from pathlib import Path

import pytest

from stratuslab_libcloud.configuration import file
from stratuslab_libcloud.configuration.options import KNOWN, TABLE, Options, parse

VARIABLES = {
    "selected_section": "STRATUSLAB_USER_CONFIG_SECTION",
    "endpoint": "STRATUSLAB_ENDPOINT",
    "username": "STRATUSLAB_USERNAME",
    "password": "STRATUSLAB_PASSWORD",
    "pdisk_endpoint": "STRATUSLAB_PDISK_ENDPOINT",
    "pdisk_protocol": "STRATUSLAB_PDISK_PROTOCOL",
    "pdisk_port": "STRATUSLAB_PDISK_PORT",
    "pdisk_username": "STRATUSLAB_PDISK_USERNAME",
    "pdisk_password": "STRATUSLAB_PDISK_PASSWORD",
    "marketplace_endpoint": "STRATUSLAB_MARKETPLACE_ENDPOINT",
    "pem_certificate": "STRATUSLAB_PEM_CERTIFICATE",
    "pem_key": "STRATUSLAB_PEM_KEY",
    "p12_certificate": "STRATUSLAB_P12_CERTIFICATE",
    "p12_password": "STRATUSLAB_P12_PASSWORD",
    "user_public_key_file": "STRATUSLAB_KEY",
}


def test_the_variables_are_the_guides() -> None:
    assert {key: row.variable for key, row in TABLE.items() if row.variable} == VARIABLES


def test_the_default_of_an_option_is_what_its_documentation_says() -> None:
    told = {key: TABLE[key].fallback for key in KNOWN if TABLE[key].doc}
    for option in fields(Options):
        if option.default and option.name in told:
            row = TABLE[option.name]
            assert row.parser(told[option.name]) == option.default, option.name


def test_empty_values_and_unknown_keys_count_for_nothing() -> None:
    assert parse({"ssh_port": "", "no_such": "1"}) == Options()
    assert parse({"ssh_port": "23", "verify_tls": "OFF"}) == Options(ssh_port=23, verify_tls=False)


def test_endorsers_are_addresses_and_fingerprints() -> None:
    fingerprint = "0123456789abcdef" * 4
    colons = ":".join(fingerprint[at : at + 2] for at in range(0, 64, 2)).upper()
    found = parse({"trusted_endorsers": f"Ada@example.org, {colons}\n{fingerprint}"})
    assert found.trusted_endorsers == ("ada@example.org", fingerprint, fingerprint)
    with pytest.raises(
        ValueError, match=r"^trusted_endorsers must be e-mail addresses and SHA-256"
    ):
        parse({"trusted_endorsers": "ada@example.org, CN=Ada"})


@pytest.mark.parametrize("key", sorted(KNOWN))
def test_a_value_that_makes_no_sense_is_not_repeated(key: str) -> None:
    try:
        parse({key: "~no-such-user/Marker"})
    except ValueError as error:
        assert str(error).startswith(f"{key} ")
        assert "Marker" not in str(error)


def test_no_value_is_in_a_repr() -> None:
    texts = dict.fromkeys(("password", "pdisk_password", "p12_password", "endpoints"), "Marker")
    config = file.read(io.StringIO("[default]\nendpoint = https://u:Marker@h/\n"))
    settings = config.settings("default", texts)
    assert settings.options.password == "Marker"
    assert "Marker" not in repr(settings.options) + repr(settings)


@pytest.mark.parametrize("key", ["user_public_key_file", "user_private_key_file"])
def test_the_key_variable_spares_us_a_bad_one_in_the_file(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = file.read(io.StringIO(f"[default]\nendpoint = h\n{key} = ~no-such-user/k\n"))
    monkeypatch.setenv("STRATUSLAB_KEY", "/keys/lab.pub")
    pair = config.settings("default").default_key_pair()
    assert pair == (Path("/keys/lab.pub"), Path("/keys/lab"))


def test_name_and_country_are_a_sections_own() -> None:
    text = '[default]\nname = D\ncountry = D\nssh_port = 23\n[a]\nendpoint = a\ncountry = "A"\n'
    options = file.read(io.StringIO(text)).settings("a").options
    assert (options.name, options.country, options.ssh_port) == ("", "A", 23)
