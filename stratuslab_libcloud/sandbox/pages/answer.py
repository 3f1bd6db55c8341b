"""The routes of the pages."""

import pathlib
from collections.abc import Callable, Sequence

from werkzeug import Request, Response
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.utils import send_from_directory

from stratuslab_libcloud.sandbox.compute.console import STATUS as CALL_STATUS
from stratuslab_libcloud.sandbox.compute.rules import CallRefusedError
from stratuslab_libcloud.sandbox.pages import machines, storage
from stratuslab_libcloud.sandbox.pages.visit import NOBODY, Services, Visit
from stratuslab_libcloud.sandbox.routes import Routes
from stratuslab_libcloud.sandbox.storage.records import RequestRefusedError
from stratuslab_libcloud.sandbox.storage.rest import STATUS
from stratuslab_libcloud.sandbox.store import Account

__all__ = ["Pages"]

_STATIC = pathlib.Path(__file__).with_name("static")
_NOTHING = "There is nothing here."
_LOGIN = (
    "Log in with a user name and a password of this site. Its configuration file has them: "
    'the line beginning with "ready" says where that is.'
)


class Pages:
    """
    The pages of a site.

    :param secret: what the tokens of forms are made with; the same after a restart, so that forms
        that are open meanwhile still work.
    """

    def __init__(self, services: Services, secret: str) -> None:
        self._services = services
        self._key = secret.encode()

    def open(self, request: Request, door: str, segments: Sequence[str]) -> Response:
        """
        Answer a request for a page that needs no login.

        :param door: where the visitor would log in: ``pswd`` or ``cert``.
        :param segments: of the path after ``pages``.
        """
        return self._answer(_OPEN, self._visit(request, door, NOBODY), segments)

    def shows(self, request: Request, door: str) -> Callable[..., Response]:
        """Return what shows a service's own page, which needs no login: as :meth:`Visit.show`."""
        return self._visit(request, door, NOBODY).show

    def answer(
        self, request: Request, door: str, account: Account, segments: Sequence[str]
    ) -> Response:
        """Answer a request for a page of this account's; the segments are those after the door."""
        return self._answer(_OWN, self._visit(request, door, account), segments)

    def refuse(self, request: Request, door: str, refusal: Response) -> Response:
        """Add a page to the refusal of a request whose sender has not logged in."""
        visit = self._visit(request, door, NOBODY)
        text = _LOGIN if refusal.status_code == 401 else refusal.get_data(as_text=True)
        page = visit.refuse(refusal.status_code, text)
        if challenge := refusal.headers.get("WWW-Authenticate"):
            page.headers["WWW-Authenticate"] = challenge
        return page

    def _visit(self, request: Request, door: str, account: Account) -> Visit:
        return Visit(self._services, request, door, account, self._key)

    @staticmethod
    def _answer(routes: Routes, visit: Visit, segments: Sequence[str]) -> Response:
        try:
            respond, variables = routes.match(visit.request.method, segments)
            if visit.request.method == "POST":
                _ = visit.form  # refuses, before anything is done, one without its token
            response: Response = respond(visit, **variables)
        except NotFound:
            response = visit.refuse(404, _NOTHING)
        except MethodNotAllowed as error:
            response = visit.refuse(405, "This page cannot do that.")
            response.headers["Allow"] = ", ".join(error.valid_methods or ())
        except HTTPException as error:
            response = visit.refuse(error.code or 400, str(error.description))
        except RequestRefusedError as refused:
            response = visit.refuse(STATUS[refused.kind], str(refused))
        except CallRefusedError as refused:
            response = visit.refuse(CALL_STATUS.get(refused.code, 500), str(refused))
        return response


def _welcome(visit: Visit) -> Response:
    return visit.show("welcome.html")


def _enter_marketplace(visit: Visit) -> Response:
    """Its pages have the addresses of the service itself."""
    return Response(status=303, headers={"Location": "/marketplace/metadata"})


def _send_static(visit: Visit, name: str) -> Response:
    response = send_from_directory(_STATIC, name, visit.request.environ)
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


_OPEN = Routes(
    ("GET", "/", _welcome),
    ("GET", "/marketplace", _enter_marketplace),
    ("GET", "/static/<name>", _send_static),
)
_OWN = Routes(*storage.ROWS, *machines.ROWS)
