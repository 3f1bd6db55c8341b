"""Choose the dialect that a location speaks."""

from stratuslab_libcloud.client.cloud import Cloud
from stratuslab_libcloud.client.stratuslab.cloud import StratusLabCloud
from stratuslab_libcloud.configuration.settings import Settings

__all__ = ["cloud"]


def cloud(settings: Settings, *, timeout: float = 60.0, proxy_url: str | None = None) -> Cloud:
    """
    Make the cloud of one location, without sending anything.

    :param timeout: seconds that a whole call may take.
    :param proxy_url: an HTTP proxy to go through.
    """
    return StratusLabCloud(settings, timeout=timeout, proxy_url=proxy_url)
