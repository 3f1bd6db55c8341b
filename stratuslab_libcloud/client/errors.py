"""The former place of :mod:`stratuslab_libcloud.errors`, which still works."""

from stratuslab_libcloud.errors import *  # noqa: F403
