"""TODO."""

import os
from pathlib import Path

from stratuslab_libcloud.errors import ConfigurationError
from stratuslab_libcloud.paths import expanded

_FROM_ENVIRONMENT = (
    "endpoint",
    "username",
    "password",
    "pdisk_endpoint",
    "pdisk_protocol",
    "pdisk_port",
    "pdisk_username",
    "pdisk_password",
    "marketplace_endpoint",
    "pem_certificate",
    "pem_key",
)


def _environment() -> dict[str, str]:
    """The options that ``STRATUSLAB_*`` variables set; an empty variable counts as unset."""
    found = {key: os.environ.get(f"STRATUSLAB_{key.upper()}", "") for key in _FROM_ENVIRONMENT}
    return {key: text for key, text in found.items() if text}


def _environment_key() -> Path | None:
    text = os.environ.get("STRATUSLAB_KEY")
    try:
        return expanded(text) if text else None
    except ValueError as error:
        raise ConfigurationError(f"STRATUSLAB_KEY {error}") from None
