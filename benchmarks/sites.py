"""What a test suite pays for a site of its own: started and stopped, in the test's process."""

import sqlite3
import tempfile
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

__all__ = ["bare", "moto", "sandbox"]


def bare(_: str) -> Callable[[], object]:
    """The least: a port, a thread, and a database in a temporary directory, all of them empty."""

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
    """The site that tests of AWS drivers run on, in the words of its documentation."""
    from moto.server import ThreadedMotoServer

    def call() -> None:
        server = ThreadedMotoServer(port=0, verbose=False)
        server.start()
        server.stop()

    return call
