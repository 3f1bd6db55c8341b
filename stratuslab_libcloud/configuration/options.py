"""
The options of the user configuration file: one table, a row each (config-and-cli 1.4).

Parsing, the environment variables, the warnings about misspelt keys, the reference file and the
documentation all come from it. To add an option, add a field to :class:`Options`: its name is the
key in the file.
"""

from collections.abc import Callable, Mapping
from dataclasses import Field, dataclass, field, fields
from typing import Any, TypeVar

from stratuslab_libcloud.configuration.values import (
    choice,
    endorsers,
    number,
    path,
    text,
    truth,
    unquoted,
)

__all__ = ["KNOWN", "TABLE", "Options", "Row", "parse"]

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """
    One option in the table.

    :ivar parser: parses a value that is not empty, as those of ``values`` do.
    :ivar doc: a description for people, with code in ``backquotes``. An option without one is
        recognised, but not used by this version.
    :ivar fallback: a description of its default, likewise.
    :ivar example: its value in the reference file.
    :ivar active: whether its line in the reference file is more than a comment.
    :ivar shared: whether it belongs in ``[default]``.
    :ivar inherited: whether sections without the option inherit it from ``[default]``.
    :ivar variable: the environment variable that takes precedence over the file.
    :ivar everywhere: whether that variable concerns every location, not just the default one.
    """

    parser: Callable[[str], Any]
    doc: str = ""
    fallback: str = ""
    example: str = ""
    active: bool = False
    shared: bool = False
    inherited: bool = True
    variable: str = ""
    everywhere: bool = False


def row(default: T, parser: Callable[[str], T], doc: str = "", **more: Any) -> T:
    """Make a field of :class:`Options`; see :class:`Row`."""
    made: T = field(default=default, metadata={"row": Row(parser, doc, **more)})
    return made


@dataclass(frozen=True, kw_only=True, repr=False)  # it contains passwords
class Options:
    """The options of one section: its own, and those that it inherits."""

    selected_section: str = row(
        "",
        text,
        "The section to use when none is named.",
        fallback="`[default]` itself or, if that has no endpoint, the only other section",
        example="my-cloud",
        active=True,
        shared=True,
        variable="STRATUSLAB_USER_CONFIG_SECTION",
        everywhere=True,
    )
    endpoint_timeout: int | None = row(
        None,
        number(86400),
        "Seconds to wait for each cloud when several are listed together.",
        fallback="as long as for any other call",
        example="20",
        shared=True,
    )
    name: str = row(
        "",
        unquoted,
        "The name of this cloud in `list_locations()`.",
        fallback="the name of the section",
        example='"My StratusLab Cloud"',
        active=True,
        inherited=False,
    )
    country: str = row(
        "",
        unquoted,
        "The country of this cloud in `list_locations()`.",
        fallback="unknown",
        example='"Earth"',
        active=True,
        inherited=False,
    )
    endpoint: str = row(
        "",
        text,
        "The cloud endpoint: a URL, or a host name (which means https on port 2634).",
        fallback="none; every cloud needs one",
        example="https://cloud.example.com/one-proxy/xmlrpc",
        active=True,
        variable="STRATUSLAB_ENDPOINT",
    )
    dialect: str = row(
        "",
        choice("stratuslab", "opennebula"),
        "What the cloud speaks: `stratuslab` (a proxy, persistent disks, a Marketplace) or "
        "`opennebula` (a modern engine, 5 and later, itself).",
        fallback="`stratuslab`, unless the endpoint is an engine (a URL that ends in `/RPC2`), "
        "which is asked for its version",
        example="opennebula",
    )
    network: str = row(
        "",
        text,
        "The network of new machines: a name or, on OpenNebula, also an id.",
        fallback="`public` and, on OpenNebula, the only network that there is",
        example="public",
    )
    datastore: str = row(
        "",
        text,
        "The datastore of new volumes, on OpenNebula: a name or an id.",
        fallback="the first for images",
        example="default",
    )
    pdisk_endpoint: str = row(
        "",
        text,
        "The persistent disk service: a URL or a host name.",
        fallback="`/pdisk` on the cloud endpoint's host, or port 8445 of it if that is a bare host "
        "name",
        example="https://cloud.example.com/pdisk",
        active=True,
        variable="STRATUSLAB_PDISK_ENDPOINT",
    )
    pdisk_protocol: str = row(
        "https",
        choice("https", "http"),
        "The protocol (https or http) to use when the endpoint of the persistent disk service is a "
        "bare host name.",
        fallback="https",
        example="https",
        variable="STRATUSLAB_PDISK_PROTOCOL",
    )
    pdisk_port: int = row(
        8445,
        number(65535),
        "The port to use when the endpoint of the persistent disk service is a bare host name.",
        fallback="8445",
        example="8445",
        variable="STRATUSLAB_PDISK_PORT",
    )
    marketplace_endpoint: str = row(
        "",
        text,
        "The Marketplace of image metadata: a URL or a host name.",
        fallback="`https://marketplace.stratuslab.eu`",
        example="https://cloud.example.com/marketplace",
        variable="STRATUSLAB_MARKETPLACE_ENDPOINT",
    )
    username: str = row(
        "",
        text,
        "The name of your account. Log in with a user name and password, or with a certificate; "
        "where both are configured, the certificate is used (User's Guide 4.9.2).",
        fallback="none",
        example="username",
        active=True,
        variable="STRATUSLAB_USERNAME",
    )
    password: str = row(
        "",
        text,
        "The password of your account or, on OpenNebula, a login token. It may contain any "
        "character, as no comment can follow it.",
        fallback="none",
        example="password",
        active=True,
        variable="STRATUSLAB_PASSWORD",
    )
    pdisk_username: str = row(
        "",
        text,
        "The name of another account, for the persistent disk service.",
        fallback="`username`",
        example="username",
        variable="STRATUSLAB_PDISK_USERNAME",
    )
    pdisk_password: str = row(
        "",
        text,
        "The password of that account.",
        fallback="`password`",
        example="password",
        variable="STRATUSLAB_PDISK_PASSWORD",
    )
    pem_certificate: str = row(
        "",
        path,
        "A PEM certificate to log in with. For a grid or VOMS proxy, name the proxy file both here "
        "and in `pem_key`.",
        fallback="`~/.globus/usercert.pem`, if there is no user name",
        example="~/.globus/usercert.pem",
        variable="STRATUSLAB_PEM_CERTIFICATE",
    )
    pem_key: str = row(
        "",
        path,
        "The key of that certificate, unencrypted.",
        fallback="`~/.globus/userkey.pem`, if there is no user name",
        example="~/.globus/userkey.pem",
        variable="STRATUSLAB_PEM_KEY",
    )
    ca_certificate: str = row(
        "",
        path,
        "A file of CA certificates to trust, for a cloud that uses its own CA.",
        fallback="the usual CAs",
        example="/etc/ssl/certs/my-cloud-ca.pem",
    )
    verify_tls: bool = row(
        True,
        truth,
        "Whether to verify the certificates of the services. With `no`, anybody on the network "
        "path can read your password; set `ca_certificate` instead.",
        fallback="yes",
        example="yes",
    )
    user_public_key_file: str = row(
        "",
        path,
        "The SSH public key to install on new machines.",
        fallback="the first of `~/.ssh/id_rsa.pub`, `id_ed25519.pub` and `id_ecdsa.pub` that "
        "exists",
        example="~/.ssh/id_rsa.pub",
        variable="STRATUSLAB_KEY",
        everywhere=True,
    )
    user_private_key_file: str = row(
        "",
        path,
        "The private half of that key, which `deploy_node` uses to log in.",
        fallback="the name of the public key without `.pub`",
        example="~/.ssh/id_rsa",
    )
    ssh_port: int = row(
        22,
        number(65535),
        "The port of SSH on the machines of this cloud.",
        fallback="22",
        example="22",
    )
    default_context_method: str = row(
        "one",
        choice("one", "cloud-init"),
        "How a machine gets its context: `one` (OpenNebula's and HEPiX's way) or `cloud-init`.",
        fallback="one",
        example="one",
    )

    verify_images: str = row(
        "warn",
        choice("off", "warn", "require"),
        "Whether to verify who endorsed an image before a machine starts from it: `off`, `warn` or "
        "`require`. With `require` nothing starts but images whose Marketplace entries are signed "
        "by somebody that `trusted_endorsers` or `trusted_ca` names, and the cloud gets the URL of "
        "that very entry, `/metadata/ID/ENDORSER/DATE`, which front ends of 2014 may not "
        "understand.",
        fallback="warn",
        example="warn",
    )
    trusted_endorsers: tuple[str, ...] = row(
        (),
        endorsers,
        "Whose images to trust: SHA-256 fingerprints of their certificates, and e-mail addresses, "
        "separated by commas. Anybody can make a certificate with any address: an address counts "
        "only in a certificate from an authority of `trusted_ca`.",
        fallback="whoever has a certificate from such an authority",
        example="2f7d0ab1c3e45968877665544332211000ffeeddccbbaa998877665544332211",
    )
    trusted_ca: str = row(
        "",
        path,
        "A PEM file with the authorities that certify trusted endorsers.",
        fallback="none",
        example="/etc/ssl/certs/endorsers-ca.pem",
    )
    p12_certificate: str = row(
        "",
        path,
        "The PKCS12 file with the certificate and key to sign image metadata with (User's Guide "
        "4.9.3).",
        fallback="`~/.globus/usercert.p12`",
        example="~/.globus/usercert.p12",
        variable="STRATUSLAB_P12_CERTIFICATE",
    )
    p12_password: str = row(
        "",
        text,
        "The password of that file. The commands ask for it if it is missing.",
        fallback="none",
        example="password",
        variable="STRATUSLAB_P12_PASSWORD",
    )

    default_instance_type: str = row(
        "",
        text,
        "The type of machine that `stratus-run-instance` starts.",
        fallback="`m1.small`",
        example="m1.small",
    )

    # For the commands of the User's Guide.
    instance_type: str = row("", text)
    endpoints: str = row("", text)
    port_translation: str = row("", text)
    pat_service_host: str = row("", text)
    pat_gateway_host: str = row("", text)


def _row(option: Field[Any]) -> Row:
    found: Row = option.metadata["row"]
    return found


TABLE: Mapping[str, Row] = {option.name: _row(option) for option in fields(Options)}
"""The options by key, in the order of the reference file."""

KNOWN = frozenset(TABLE)
"""The keys that are recognised."""


def parse(texts: Mapping[str, str]) -> Options:
    """
    Parse the values of a section; empty values count as missing, unknown keys are ignored.

    :raises ValueError: names the key and the problem, but not the value.
    """
    values = {}
    for key, known in TABLE.items():
        if value := texts.get(key):
            try:
                values[key] = known.parser(value)
            except ValueError as error:
                raise ValueError(f"{key} {error}") from None
    return Options(**values)
