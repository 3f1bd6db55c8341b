"""What an account has and may have: networks, templates, keys, limits (modern 3, 6, 8)."""

import re
import xml.etree.ElementTree as ET
from typing import Any

from stratuslab_libcloud.client.data import MachineTemplate, Network
from stratuslab_libcloud.client.engine.elements import decimal, part, text
from stratuslab_libcloud.client.engine.template import single
from stratuslab_libcloud.client.opennebula.power import Power

__all__ = ["Account"]

_KEYS = "SSH_PUBLIC_KEY"
_AMOUNT = re.compile("[A-Z_]+")


class Account(Power):
    """The part of the cloud that is about the account."""

    def networks(self) -> list[Network]:
        """List the networks that machines may be in; one request."""
        return self.engine.networks()

    def templates(self) -> list[MachineTemplate]:
        """List the templates that machines may start from; one request."""
        return self.engine.templates()

    def public_keys(self) -> list[str]:
        """The keys that the engine keeps for the account; one request."""
        return _lines(self.engine.user())

    def set_public_keys(self, lines: list[str]) -> None:
        """Keep these keys instead; two requests."""
        number = (self.engine.user().findtext("ID") or "").strip()
        self.engine.change("one.user.update", int(number), single(_KEYS, "\n".join(lines)), 1)

    def user(self) -> dict[str, Any]:
        """What the engine says of the account, without its secrets; one request."""
        found = self.engine.user()
        return {
            "id": text(found, "ID"),
            "name": text(found, "NAME"),
            "group": text(found, "GNAME"),
            "groups": [one.text.strip() for one in part(found, "GROUPS") if one.text],
            "enabled": text(found, "ENABLED") != "0",
            "public_keys": _lines(found),
        }

    def quota(self) -> dict[str, dict[str, float | None]]:
        """What is used of what is limited; one request."""
        found = self.engine.user()
        amounts: dict[str, dict[str, float | None]] = {}
        for kind in ("VM", "DATASTORE", "NETWORK", "IMAGE"):
            for one in part(found, f"{kind}_QUOTA").findall(kind):
                place = "" if kind == "VM" else f"{kind.lower()}_{text(one, 'ID')}_"
                amounts |= {f"{place}{name}": told for name, told in _amounts(one).items()}
        return amounts


def _amounts(quota: ET.Element) -> dict[str, dict[str, float | None]]:
    """Read the limits of one kind; -1 and -2 stand for none that the engine names (modern 8)."""
    found: dict[str, dict[str, float | None]] = {}
    for child in quota:
        used = decimal(text(quota, f"{child.tag}_USED"))
        if used is None or not _AMOUNT.fullmatch(child.tag):
            continue
        limit = decimal((child.text or "").strip())
        within = None if limit is None or limit < 0 else limit
        found[child.tag.lower()] = {"used": used, "limit": within}
    return found


def _lines(user: ET.Element) -> list[str]:
    kept = part(user, "TEMPLATE").findtext(_KEYS) or ""
    return [line.strip() for line in kept.splitlines() if line.strip()]
