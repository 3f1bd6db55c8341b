"""
The Apache Libcloud compute driver for StratusLab clouds (User's Guide 13.05, chapter 9.1).

Its methods are in ``driver``, part by part; how clouds are asked is in ``client``.
"""

from stratuslab_libcloud.driver.deployment import DeploymentMethods
from stratuslab_libcloud.driver.entities import NODE_STATES, StratusLabNode
from stratuslab_libcloud.driver.images import ImageMethods
from stratuslab_libcloud.driver.volumes import VolumeMethods

__all__ = ["StratusLabNode", "StratusLabNodeDriver"]


class StratusLabNodeDriver(ImageMethods, DeploymentMethods, VolumeMethods):
    """
    StratusLab clouds, as locations: the sections of the user configuration file (guide 9.1).

    >>> driver = StratusLabNodeDriver("default")  # or with the name of a section
    >>> node = driver.create_node("mine", driver.list_sizes()[0], driver.list_images()[0])

    Every error is a :class:`.StratusLabError`, and so a ``LibcloudError``, whose text is one line;
    the tree is in ``stratuslab_libcloud.errors``. Whatever asks a cloud may raise
    :class:`.CredentialsError`, :class:`.ConnectionFailedError`, :class:`.MalformedAnswerError` and
    :class:`.UnavailableError`, besides what the methods name.

    An interrupt (Ctrl-C) of a call that creates something goes on as it is, with two attributes:
    ``created``, the list of the nodes and volumes that exist, and ``may_exist``, a list of
    sentences about what was asked for and not yet answered. One line in the log says the same.

    One driver may be shared by threads: each service has as many connections as there were calls
    of it at the same time. After a fork each process opens connections of its own.

    A driver can be pickled and copied, as can everything that it hands out and every error. It
    arrives with all that it was made of, so that a pickled driver has the passwords in it, and
    without connections. What it hands out leaves the secrets behind: a node finds its driver again
    in a process that has it or a copy of it. Elsewhere its driver reads the configuration file
    again, or, where there is none, says so in one line when it is used. Libcloud's own ``Node`` and
    the like, which callers make around a driver, are pickled with all of it.

    Errors and the names of images can be printed as they are: they have no control characters.
    Names of nodes and volumes, and ``extra``, are as the cloud tells them.
    """

    type = "stratuslab"
    api_name = "stratuslab"
    name = "StratusLab"
    website = "http://stratuslab.eu/"
    features = {"create_node": ["ssh_key"]}  # noqa: RUF012 - Libcloud's own attribute
    NODE_STATE_MAP = NODE_STATES
