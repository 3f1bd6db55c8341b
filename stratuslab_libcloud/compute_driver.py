"""
The Apache Libcloud compute driver for StratusLab clouds (User's Guide 13.05, chapter 9.1).

Its methods are in ``driver``, in several parts; ``client`` sends the requests.
"""

from stratuslab_libcloud.driver.deployment import DeploymentMethods
from stratuslab_libcloud.driver.entities import NODE_STATES, StratusLabNode
from stratuslab_libcloud.driver.images import ImageMethods
from stratuslab_libcloud.driver.volumes import VolumeMethods

__all__ = ["StratusLabNode", "StratusLabNodeDriver"]


class StratusLabNodeDriver(ImageMethods, DeploymentMethods, VolumeMethods):
    """
    A driver for StratusLab clouds, whose locations are the sections of the user configuration file
    (guide 9.1).

    >>> driver = StratusLabNodeDriver("default")  # or with the name of a section
    >>> node = driver.create_node("mine", driver.list_sizes()[0], driver.list_images()[0])

    Every error is a :class:`.StratusLabError`, and so a ``LibcloudError``, with a text of one line;
    :mod:`stratuslab_libcloud.errors` has the tree of errors. Every method that sends requests may
    raise :class:`.CredentialsError`, :class:`.ConnectionFailedError`,
    :class:`.MalformedAnswerError` and :class:`.UnavailableError`, besides those that it names.

    If an interrupt (Ctrl-C) ends a call that creates something, the exception has two additional
    attributes: ``created``, the list of the nodes and volumes that exist, and ``may_exist``, a list
    of sentences about requests without an answer. One line in the log says the same.

    Threads can share a driver: each service uses one connection per simultaneous call. After a fork
    each process opens connections of its own.

    A driver can be pickled and copied, as can everything that it returns, and every error. The
    pickle of a driver contains its passwords, but no connections. The pickles of nodes, volumes,
    images, sizes and locations contain no secrets: a node finds its driver again in a process that
    has the driver or a copy of it. In other processes its driver reads the configuration file
    again; without a file, using it raises an error that says so. A plain ``Node`` of Libcloud that
    a caller made is pickled with its whole driver, passwords included.

    Errors and the names of images are safe to print: they contain no control characters. The names
    of nodes and volumes, and ``extra``, are as the cloud reports them.
    """

    type = "stratuslab"
    api_name = "stratuslab"
    name = "StratusLab"
    website = "http://stratuslab.eu/"
    features = {"create_node": ["ssh_key"]}  # noqa: RUF012 - Libcloud's own attribute
    NODE_STATE_MAP = NODE_STATES
