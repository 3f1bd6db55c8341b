"""What Libcloud documents of every driver's ``connection``: its proxy."""

from collections.abc import Callable

from stratuslab_libcloud.driver import arguments

__all__ = ["Connection"]


class Connection:
    """
    Where the proxy of a driver is set and seen, as with any driver of Libcloud's.

    Nothing is sent by it: each location has three services, which ``client`` talks to.

    :ivar proxy_url: the proxy that was given to the driver or set since, or ``None``: then the
        environment's is used.
    """

    def __init__(self, proxy_url: str | None, on_change: Callable[[str | None], None]) -> None:
        """
        :param on_change: what to do with another proxy.
        :raises InvalidValueError: the proxy is none.
        """
        self.proxy_url = arguments.checked_proxy(proxy_url)
        self._on_change = on_change

    def __repr__(self) -> str:  # without the proxy, which may have a password in it
        return "<Connection of a StratusLab driver>"

    @property
    def http_proxy_used(self) -> bool:
        """Whether a proxy was given."""
        return self.proxy_url is not None

    def set_http_proxy(self, proxy_url: str | None) -> None:
        """
        Use a proxy for all requests from now on, whatever the environment says.

        :param proxy_url: such as ``http://proxy:3128`` or ``http://USER:PASSWORD@proxy:3128``;
            ``None``: the environment's again.
        :raises InvalidValueError: it is none.
        """
        self.proxy_url = arguments.checked_proxy(proxy_url)
        self._on_change(self.proxy_url)
