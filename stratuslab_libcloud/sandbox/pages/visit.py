"""
A visit: a request for a page, its visitor, and the answers it can get.

Pages are HTML made on the server, and work without scripts. Each form carries a token that only
this site can make, and only for the login that the form was made for.
"""

import hmac
import json
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jinja2
import markupsafe
from werkzeug import Request, Response
from werkzeug.exceptions import Forbidden

from stratuslab_libcloud.sandbox.compute.rules import Compute
from stratuslab_libcloud.sandbox.marketplace.registry import Registry
from stratuslab_libcloud.sandbox.storage.rules import Storage
from stratuslab_libcloud.sandbox.store import Account
from stratuslab_libcloud.untrusted.text import printable

__all__ = ["HOME", "NAVIGATION", "NOBODY", "Services", "Visit", "wants_page"]

HOME = "/pages"
NOBODY = Account(-1, "")
"""Who visits a page that asks for no login."""

NAVIGATION = (("Machines", "machines"), ("Storage", "storage"), ("Marketplace", "marketplace"))
"""What each page links to: a title, and the first segment of its path."""

_OPEN = {"marketplace"}  # what needs no login

_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
        "base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    # With "no-referrer", browsers send the forms of our own pages with the origin "null".
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def _visible(value: object) -> object:
    """Blank out what would not show, or turn the writing around it."""
    if not isinstance(value, str) or isinstance(value, markupsafe.Markup):
        return value
    return "\n".join(map(printable, value.splitlines()))


_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("stratuslab_libcloud.sandbox.pages"),
    autoescape=True,
    finalize=_visible,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


@dataclass(frozen=True)
class Services:
    """The rules of a site, the same as its other front ends are made of."""

    compute: Compute
    storage: Storage
    marketplace: Registry


@dataclass(frozen=True)
class Visit:
    """
    A request for a page.

    :ivar door: where its visitor logs in: ``pswd`` or ``cert``.
    :ivar account: the visitor's, or NOBODY.
    :ivar key: the secret that tokens are made with.
    """

    services: Services
    request: Request
    door: str
    account: Account
    key: bytes

    def path(self, *segments: str) -> str:
        """Return the path of a page; its first segment is one of the NAVIGATION."""
        prefix = HOME if segments[0] in _OPEN else f"{HOME}/{self.door}"
        return "/".join([prefix, *(urllib.parse.quote(segment, safe="") for segment in segments)])

    @property
    def token(self) -> str:
        """The token of this visitor's forms."""
        login = json.dumps([self.door, self.account.name]).encode()
        return hmac.new(self.key, login, "sha256").hexdigest()

    @cached_property
    def form(self) -> Mapping[str, str]:
        """
        The fields of the form that was sent, without blanks around them.

        :raises Forbidden: it lacks the token, or has somebody else's.
        """
        fields = self.request.form
        if not hmac.compare_digest(fields.get("token", "").encode(), self.token.encode()):
            raise Forbidden(
                "This form was not made for your present login. Nothing was done: "
                "go back, load the page again, and send the form once more."
            )
        return {name: value.strip() for name, value in fields.items()}

    def show(self, template: str, status: int = 200, **values: Any) -> Response:
        """Answer with a page: a template, and the values in it, which it escapes."""
        text = _TEMPLATES.get_template(template).render(
            visit=self, navigation=NAVIGATION, done=self.request.args.get("done"), **values
        )
        return Response(text, status, _HEADERS, content_type="text/html; charset=UTF-8")

    def refuse(self, status: int, text: str) -> Response:
        """Answer that something could not be done, on a page of its own."""
        return self.show("refused.html", status, text=text)

    def go(self, *segments: str, done: str = "") -> Response:
        """
        Send the browser to a page, once a form has been dealt with.

        :param done: what was done; the template of the page has the words for it.
        """
        query = f"?done={urllib.parse.quote(done)}" if done else ""
        return Response(status=303, headers={**_HEADERS, "Location": self.path(*segments) + query})


def wants_page(request: Request) -> bool:
    """Return whether somebody looks with a browser at what programs ask for."""
    if request.method not in ("GET", "HEAD") or "media" in request.args:
        return False
    accepted = request.accept_mimetypes
    quality = max((quality for media, quality in accepted if media == "text/html"), default=0)
    return bool(quality) and quality == max(quality for _, quality in accepted)
