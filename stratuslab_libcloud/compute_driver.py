"""
The Apache Libcloud compute driver for StratusLab clouds (User's Guide 13.05, chapter 9.1).

Its methods are in ``driver``, in several parts; ``client`` sends the requests.
"""

from stratuslab_libcloud.driver.account import AccountMethods
from stratuslab_libcloud.driver.deployment import DeploymentMethods
from stratuslab_libcloud.driver.entities import NODE_STATES, StratusLabNode
from stratuslab_libcloud.driver.images import ImageMethods
from stratuslab_libcloud.driver.keys import KeyPairMethods
from stratuslab_libcloud.driver.power import PowerMethods
from stratuslab_libcloud.driver.snapshots import SnapshotMethods
from stratuslab_libcloud.driver.transfers import TransferMethods
from stratuslab_libcloud.driver.volumes import VolumeMethods

__all__ = ["StratusLabNode", "StratusLabNodeDriver"]


class StratusLabNodeDriver(
    ImageMethods,
    DeploymentMethods,
    PowerMethods,
    VolumeMethods,
    SnapshotMethods,
    TransferMethods,
    AccountMethods,
    KeyPairMethods,
):
    """
    StratusLab clouds, one location for each section of the configuration file (guide 9.1).

    >>> driver = StratusLabNodeDriver("default")  # or the name of a section
    >>> size = driver.list_sizes()[0]
    >>> image = driver.list_images()[0]
    >>> node = driver.create_node(name="web", size=size, image=image)
    >>> volume = driver.create_volume(size=5, name="data")

    The examples of the methods use these names: ``driver``, ``image``, ``size``, ``node``,
    ``volume``, ``one`` for a driver on OpenNebula and ``vm`` for a node there, and ``metadata`` for
    the bytes of a signed entry.

    **Errors.** Every error is a :class:`.StratusLabError`, and so a ``LibcloudError``, whose text
    is one line; the tree is in ``stratuslab_libcloud.errors``. Whatever asks a cloud may raise
    :class:`.CredentialsError`, :class:`.ConnectionFailedError`, :class:`.MalformedAnswerError` and
    :class:`.UnavailableError`, besides the errors that its documentation names.

    **Interrupts.** If Ctrl-C interrupts a call that creates something, the exception gets two
    attributes: ``created``, the list of the nodes and volumes that exist, and ``may_exist``, a list
    of sentences about requests that have no answer yet. One line in the log says the same.

    **Threads and forks.** Threads may share a driver: each service has one connection per
    simultaneous call. After a fork each process opens connections of its own.

    **Pickles.** A driver, everything that it returns and every error can be pickled and copied. A
    pickled driver contains its configuration, passwords included, but no connections. A pickled
    node, volume, image, size or location contains no secret. Unpickled in a process that has the
    driver or a copy of it, it finds that driver again; elsewhere its driver reads the configuration
    file again or, if there was none, says so in one line when it is used. Objects of Libcloud's own
    classes, such as a ``Node`` that a caller makes, are pickled with the whole driver.

    **Text from clouds.** Errors and the names of images contain no control characters and can be
    printed as they are. Names of nodes and volumes, and ``extra``, are passed on unchanged.
    """

    type = "stratuslab"
    api_name = "stratuslab"
    name = "StratusLab"
    website = "http://stratuslab.eu/"
    features = {"create_node": ["ssh_key"]}  # noqa: RUF012 - Libcloud's own attribute
    NODE_STATE_MAP = NODE_STATES
