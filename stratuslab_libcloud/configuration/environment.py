"""Options from the environment; an empty variable counts as unset (config-and-cli 2)."""

import os
from pathlib import Path

from stratuslab_libcloud import errors
from stratuslab_libcloud.configuration.options import TABLE
from stratuslab_libcloud.paths import expanded

__all__ = ["of_default_location", "public_key", "value"]


def value(key: str) -> str:
    """Return the value of an option's variable, or ``""``."""
    return os.environ.get(TABLE[key].variable, "")


def of_default_location() -> dict[str, str]:
    """
    Return the options that variables set for the default location only.

    They name services and accounts: one cloud's password must never be sent to another cloud.
    """
    keys = [key for key, row in TABLE.items() if row.variable and not row.everywhere]
    return {key: value(key) for key in keys if value(key)}


def public_key() -> Path | None:
    """
    Return the public key file that ``STRATUSLAB_KEY`` names for every location.

    :raises ConfigurationError: it begins with a ``~`` that cannot be expanded.
    """
    text = value("user_public_key_file")
    try:
        return expanded(text) if text else None
    except ValueError as error:
        variable = TABLE["user_public_key_file"].variable
        raise errors.ConfigurationError(f"{variable} {error}") from None
