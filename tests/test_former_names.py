"""
All public names that 15.0.0.dev0 had still import from where they were.

Public were the modules of the package, ``client.errors``, and what ``sandbox`` itself shows. The
other modules in ``client``, ``cli`` and ``sandbox`` were called internal then.
"""

import subprocess
import sys
from importlib import import_module

import pytest

from stratuslab_libcloud.former_names import MOVED

NAMES = {
    "stratuslab_libcloud": "__version__ register",
    "stratuslab_libcloud.arguments": (
        "all_of as_bytes check_interface checked_proxy checked_timeout expected numbers_of"
    ),
    "stratuslab_libcloud.client.errors": (
        "ConfigurationError ConflictError ConnectionFailedError CredentialsError "
        "InvalidValueError LostAnswerError MalformedAnswerError MissingCredentialsError "
        "NodeFailedError NotFoundError NotPermittedError NotSupportedError PartialListError "
        "ServiceError StratusLabError UnavailableError"
    ),
    "stratuslab_libcloud.compute_driver": "StratusLabNode StratusLabNodeDriver",
    "stratuslab_libcloud.config": (
        "STANDARD_TYPES Certificate Credentials InstanceType Password Settings UserConfig "
        "default_path direct read"
    ),
    "stratuslab_libcloud.endpoints": (
        "PUBLIC_MARKETPLACE CloudEndpoint cloud is_engine marketplace marketplace_beside "
        "proxy storage storage_beside with_port"
    ),
    "stratuslab_libcloud.entities": (
        "NODE_STATES StratusLabNode new_node to_image to_location to_node to_size to_volume "
        "to_whole_image"
    ),
    "stratuslab_libcloud.ini": "parse",
    "stratuslab_libcloud.metadata": (
        "ABSENT RDF STRAY_DECLARATION Entry MetadataError identifier is_identifier latest "
        "name_of read_entries read_entry read_values sha1_of write_entry"
    ),
    "stratuslab_libcloud.parallel": "ask_all",
    "stratuslab_libcloud.printable": "one_line printable",
    "stratuslab_libcloud.safe_xml": "Scanner UnsafeXMLError parse stream",
    "stratuslab_libcloud.sandbox": "Sandbox SandboxError Seen register_image",
    "stratuslab_libcloud.settings": "Certificate Credentials Password Settings expanded private_of",
    "stratuslab_libcloud.ssh_files": "ChannelClient without_sftp",
    "stratuslab_libcloud.ssh_keys": "public_half public_lines read_public",
}
# What only the driver and the Marketplace's client of then had a use for.
GONE = {"to_whole_image", "read_values"}


@pytest.mark.parametrize("module", NAMES)
def test_every_public_name_of_the_first_development_version_still_imports(module: str) -> None:
    found = import_module(module)
    missing = {name for name in NAMES[module].split() if not hasattr(found, name)}
    assert missing <= GONE


@pytest.mark.parametrize("module", MOVED)
def test_a_former_module_shows_the_things_themselves(module: str) -> None:
    former = import_module(f"stratuslab_libcloud.{module}")
    for home in MOVED[module]:
        found = import_module(f"stratuslab_libcloud.{home}")
        assert found.__all__
        assert all(getattr(former, name) is getattr(found, name) for name in found.__all__)


def test_former_modules_can_be_imported_in_every_way_and_load_nothing_until_then() -> None:
    code = """
import sys
import stratuslab_libcloud
assert not [name for name in sys.modules if name.startswith("stratuslab_libcloud.conf")]
import stratuslab_libcloud.config
from stratuslab_libcloud import settings
from stratuslab_libcloud.printable import one_line
from stratuslab_libcloud.ini import *
print(stratuslab_libcloud.config.read.__module__, settings.Password.__name__, one_line("a\\nb"))
assert parse
try:
    import stratuslab_libcloud.nowhere
except ModuleNotFoundError as error:
    print(error.name)
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=120
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == [
        "stratuslab_libcloud.configuration.file Password a b",
        "stratuslab_libcloud.nowhere",
    ]
