"""Apache Libcloud compute driver for StratusLab clouds (User's Guide 13.05, chapter 9.1)."""

from stratuslab_libcloud import former_names

__version__ = "15.0.0.dev0"

__all__ = ["__version__", "register"]

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
