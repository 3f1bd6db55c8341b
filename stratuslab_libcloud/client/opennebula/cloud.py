"""A modern OpenNebula, 5 and later, as one cloud."""

from stratuslab_libcloud.client.opennebula.absent import Absent
from stratuslab_libcloud.client.opennebula.account import Account

__all__ = ["OpenNebulaCloud"]


class OpenNebulaCloud(Account, Absent):
    """
    One location: images, volumes and machines of the engine itself. Its methods are those of
    :class:`.Cloud`.

    Each part builds on the one before: images, volumes, attaching, machines, power, account.
    """

    saves_as_it_ends = False
    keeps_stopped_machines = True
