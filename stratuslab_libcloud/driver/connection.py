"""The part of ``driver.connection`` that Libcloud documents for every driver: its proxy."""

from collections.abc import Callable

from stratuslab_libcloud.driver import arguments

__all__ = ["Connection"]


class Connection:
    """
    Where the proxy of a driver is set and shown, as for any Libcloud driver.

    It sends nothing itself: each location has three services, which ``client`` talks to.

    :ivar proxy_url: the proxy that was given to the driver or set later; if ``None``, the
        environment's is used.
    """

    def __init__(self, proxy_url: str | None, on_change: Callable[[str | None], None]) -> None:
        """
        Check the proxy and keep it.

        :param on_change: called with a proxy that is set later.
        :raises InvalidValueError: this is not the URL of a proxy.
        """
        self.proxy_url = arguments.checked_proxy(proxy_url)
        self._on_change = on_change

    def __repr__(self) -> str:  # without the proxy, which may contain a password
        return "<Connection of a StratusLab driver>"

    @property
    def http_proxy_used(self) -> bool:
        """Whether a proxy was given or set."""
        return self.proxy_url is not None

    def set_http_proxy(self, proxy_url: str | None) -> None:
        """
        Use a proxy for all requests from now on, whatever the environment says.

        :param proxy_url: such as ``http://proxy:3128`` or ``http://USER:PASSWORD@proxy:3128``;
            ``None`` returns to the environment's.
        :raises InvalidValueError: this is not the URL of a proxy.
        """
        self.proxy_url = arguments.checked_proxy(proxy_url)
        self._on_change(self.proxy_url)
