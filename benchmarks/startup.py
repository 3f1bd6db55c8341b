"""The time before a program's first request, in a process that has imported nothing."""

from collections.abc import Callable

__all__ = ["base", "package", "ready"]


def base(_: str) -> Callable[[], object]:
    """Libcloud's part of any compute driver."""

    def call() -> None:
        import libcloud.compute.base  # noqa: F401

    return call


def package(_: str) -> Callable[[], object]:
    """Our package by itself, as a program that may not need it imports it."""

    def call() -> None:
        import stratuslab_libcloud  # noqa: F401

    return call


def ready(_: str) -> Callable[[], object]:
    """Libcloud's part, and then ours: registered, found and constructed."""

    def call() -> object:
        import libcloud.compute.base  # noqa: F401
        from libcloud.compute.providers import get_driver

        import stratuslab_libcloud

        stratuslab_libcloud.register()
        return get_driver("stratuslab")("jane", "secret", host="localhost")  # type: ignore[call-arg]

    return call
