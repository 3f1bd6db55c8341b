"""The dialects that sessions run on: one list of them, and a driver for each."""

import configparser

from clouds import config

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["DIALECTS", "driver_for"]

# By dialect the location in the file that a sandbox writes.
_LOCATIONS = {"stratuslab": "sandbox", "opennebula": "opennebula"}
DIALECTS = list(_LOCATIONS)


def driver_for(sandbox: Sandbox, dialect: str, /, **options: str) -> StratusLabNodeDriver:
    """A driver whose only location is the sandbox's of this dialect, with these options besides."""
    parser = configparser.RawConfigParser()
    parser.read(sandbox.config_path)
    name = _LOCATIONS[dialect]
    told = {**parser[name], **options}
    lines = [f"[{name}]", *(f"{key} = {text}" for key, text in told.items())]
    return StratusLabNodeDriver(stratuslab_user_config=config(*lines, selected_section=name))
