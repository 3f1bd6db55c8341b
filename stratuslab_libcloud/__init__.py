"""
Apache Libcloud compute driver for StratusLab clouds (User's Guide 13.05, chapter 9.1), and the
clouds themselves as Python calls (chapter 9.2): :func:`connect`.

>>> import stratuslab_libcloud
>>> cloud = stratuslab_libcloud.connect()
>>> for machine in cloud.machines():
...     print(machine.id, machine.summary)

What is public is in ``__all__``; errors are in :mod:`stratuslab_libcloud.errors`.
"""

from collections.abc import Mapping
from importlib import import_module
from os import PathLike
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stratuslab_libcloud.client.cloud import Cloud
    from stratuslab_libcloud.client.data import (
        Endorsement,
        Image,
        Machine,
        MachineDisk,
        Mount,
        NewImage,
        NewMachine,
        Nic,
        Volume,
    )

from stratuslab_libcloud import former_names

__version__ = "15.0.0.dev0"

__all__ = [
    "Cloud",
    "Endorsement",
    "Image",
    "Machine",
    "MachineDisk",
    "Mount",
    "NewImage",
    "NewMachine",
    "Nic",
    "Volume",
    "__version__",
    "connect",
    "register",
]

_OF_CLOUDS = tuple(name for name in __all__ if name[0].isupper())

former_names.install()


def register() -> None:
    """
    Make ``get_driver("stratuslab")`` find the driver.

    Calling it again changes nothing; nor does calling it after the driver has been registered in
    another spelling, such as the ``"STRATUSLAB"`` of the User's Guide (9.1.3).
    """
    from libcloud.compute.providers import DRIVERS, set_driver

    if not any(str(name).lower() == "stratuslab" for name in DRIVERS):
        set_driver(
            "stratuslab",
            "stratuslab_libcloud.compute_driver",  # type: ignore[arg-type] # Libcloud's annotations are wrong
            "StratusLabNodeDriver",  # type: ignore[arg-type]
        )


def connect(
    config: str | PathLike[str] | IO[str] | IO[bytes] | None = None,
    section: str | None = None,
    *,
    options: Mapping[str, str] | None = None,
    timeout: float = 60.0,
    proxy_url: str | None = None,
) -> "Cloud":
    """
    One cloud of the configuration file; nothing is sent yet (guide 4.4 to 4.10).

    What is missing, be it a file, an endpoint or a password, is an error of the first call that
    needs it.

    :param config: path or open file; default: the guide's place (4.4.2), where it may be absent.
    :param section: its section; default: the selected one, as the guide says (4.10).
    :param options: what counts more than the environment and the file, by the keys of the file,
        such as ``{"endpoint": "cloud.example.org"}``. Of two ways to log in the one that is here
        is used. Another endpoint than the file's also replaces its persistent disk service, so
        that no password gets there. An empty one counts as absent.
    :param timeout: seconds that each request may take, its repetitions included.
    :param proxy_url: an HTTP proxy for all requests; default: the environment's.
    :raises ConfigurationError: naming the file, the section and the key.
    :raises InvalidValueError: there is no such option.
    """
    from stratuslab_libcloud import locations

    return locations.connect(config, section, options or {}, timeout=timeout, proxy_url=proxy_url)


if not TYPE_CHECKING:  # which would take any name for one that is there

    def __getattr__(name: str) -> Any:
        if name not in _OF_CLOUDS:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = "cloud" if name == "Cloud" else "data"
        value = getattr(import_module(f"{__name__}.client.{module}"), name)
        return globals().setdefault(name, value)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
