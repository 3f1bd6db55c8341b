"""The configuration files that a site writes for its users (guide 4.4)."""

import configparser
import io
import pathlib
from collections.abc import Mapping

from stratuslab_libcloud.sandbox.durable import write_private

__all__ = ["modern", "sections", "shared", "write"]

Section = dict[str, str]


def shared(url: str, private_key: pathlib.Path, endorser: str) -> Section:
    """
    Return the settings that all sections of a site share.

    :param url: of the site.
    :param private_key: the SSH key that the site made for its users.
    :param endorser: the fingerprint of the certificate that its own images are endorsed with.
    """
    return {
        "endpoint": f"{url}/one-proxy/xmlrpc",
        "pdisk_endpoint": f"{url}/pdisk",
        "marketplace_endpoint": f"{url}/marketplace",
        # Clients derive the private key's name from it. A setting user_private_key_file would
        # confuse the original commands.
        "user_public_key_file": str(private_key.with_suffix(".pub")),
        "verify_images": "require",
        "trusted_endorsers": endorser,
    }


def sections(
    shared: Section, users: Mapping[str, str], certificate: pathlib.Path | None
) -> dict[str, Section]:
    """
    Return all sections: one for each user, and one for the certificate.

    :param users: name to password; the section of the first is the selected one.
    :param certificate: the file with the first user's certificate and key, if there is one.
    """
    made = {"default": {"selected_section": "sandbox"}}
    for number, (user, password) in enumerate(users.items()):
        made[user if number else "sandbox"] = {
            "name": "StratusLab sandbox" + (f" ({user})" if number else ""),
            "country": "localhost",
            **shared,
            "username": user,
            "password": password,
        }
    if certificate:
        made["certificate"] = {
            "name": "StratusLab sandbox (certificate)",
            "country": "localhost",
            **shared,
            "pem_certificate": str(certificate),
            "pem_key": str(certificate),
        }
    return made


def modern(url: str, shared: Section, users: Mapping[str, str]) -> dict[str, Section]:
    """Return the sections of the file for the modern engine, as its first user sees it."""
    username, password = next(iter(users.items()))
    kept = ("user_public_key_file", "ca_certificate", "ssh_port")
    location = {
        "name": "OpenNebula sandbox",
        "country": "localhost",
        "endpoint": f"{url}/RPC2",
        "dialect": "opennebula",
        **{key: shared[key] for key in kept if key in shared},
        "username": username,
        "password": password,
    }
    return {"default": {"selected_section": "opennebula"}, "opennebula": location}


def write(path: pathlib.Path, sections: Mapping[str, Section], *, durable: bool) -> None:
    """Write the file with mode 0600, as it holds passwords."""
    parser = configparser.RawConfigParser()
    parser.read_dict(
        {
            section: {key: value.replace("%", "%%") for key, value in values.items()}
            for section, values in sections.items()
        }
    )
    text = io.StringIO()
    parser.write(text)
    write_private(path, text.getvalue().encode(), durable=durable)
