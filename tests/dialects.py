"""The dialects that sessions run on: one list of them, and a driver for each."""

import configparser
from pathlib import Path

from clouds import config

from stratuslab_libcloud.compute_driver import StratusLabNodeDriver
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["DIALECTS", "config_path", "driver_for"]

DIALECTS = ["stratuslab", "opennebula"]


def config_path(sandbox: Sandbox, dialect: str) -> Path:
    """The file that a sandbox has written for those who speak a dialect."""
    return sandbox.opennebula_config_path if dialect == "opennebula" else sandbox.config_path


def driver_for(sandbox: Sandbox, dialect: str, /, **options: str) -> StratusLabNodeDriver:
    """A driver whose only location is the sandbox's of this dialect, with these options besides."""
    parser = configparser.RawConfigParser()
    parser.read(config_path(sandbox, dialect))
    name = parser["default"]["selected_section"]
    told = {**parser[name], **options}
    lines = [f"[{name}]", *(f"{key} = {text}" for key, text in told.items())]
    return StratusLabNodeDriver(stratuslab_user_config=config(*lines, selected_section=name))
