"""
A StratusLab site on this machine: compute, persistent disks and Marketplace on one port.

It is a real site with real state, not a set of canned answers. A test suite may run many sites side
by side.
"""

from stratuslab_libcloud.sandbox.errors import SandboxError
from stratuslab_libcloud.sandbox.http.application import Seen
from stratuslab_libcloud.sandbox.registering import register_image
from stratuslab_libcloud.sandbox.site import Sandbox

__all__ = ["Sandbox", "SandboxError", "Seen", "register_image"]
