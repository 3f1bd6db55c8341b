"""The time that a test suite needs to start and stop a site in its own process."""

import sqlite3
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["bare", "moto", "sandbox"]


def bare(_: str) -> Callable[[], object]:
    """The minimum: a port, a thread, and an empty database in a temporary directory."""

    def call() -> None:
        with (
            tempfile.TemporaryDirectory() as folder,
            ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server,
        ):
            with sqlite3.connect(Path(folder, "site.db")) as db:
                db.execute("PRAGMA synchronous = OFF")
                db.execute("CREATE TABLE machines (id INTEGER PRIMARY KEY)")
            db.close()
            thread = threading.Thread(target=server.serve_forever, args=[0.001])
            thread.start()
            server.shutdown()
            thread.join()

    return call


def sandbox(_: str) -> Callable[[], object]:
    """Ours."""
    from stratuslab_libcloud.sandbox.site import Sandbox

    def call() -> None:
        with Sandbox():
            pass

    return call


def moto(_: str) -> Callable[[], object]:
    """The site for tests of AWS drivers, started as its documentation shows."""
    from moto.server import ThreadedMotoServer

    def call() -> None:
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        server.stop()

    return call
