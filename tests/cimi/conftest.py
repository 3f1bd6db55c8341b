"""What the tests of the CIMI provider share."""

from providers import provider

__all__ = ["provider"]
