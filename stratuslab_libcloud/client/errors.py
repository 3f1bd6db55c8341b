"""Where the errors were before they became everybody's: see :mod:`stratuslab_libcloud.errors`."""

from stratuslab_libcloud.errors import *  # noqa: F403
