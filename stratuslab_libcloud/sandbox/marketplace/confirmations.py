"""Uploads that wait until their endorsers answer an e-mail (marketplace-rest 2.8)."""

import pathlib
import uuid
from email.message import EmailMessage

from stratuslab_libcloud.sandbox.durable import write_private
from stratuslab_libcloud.sandbox.marketplace.rows import Coordinates
from stratuslab_libcloud.sandbox.store import Store

__all__ = ["Confirmations"]

_SENDER = "marketplace@localhost"
_TEXT = """\
Somebody, probably you, has uploaded a Marketplace entry that names you as its endorser:

{entry}

It is not visible yet. Open one of these addresses.

To publish it:               {action}/confirm/
To discard it:               {action}/abort/
To report it as an abuse:    {action}/abuse/
"""


class Confirmations:
    """
    The uploads that wait.

    :param folder: where the e-mails are written, each to a file, instead of being sent.
    """

    def __init__(self, store: Store, folder: pathlib.Path) -> None:
        self._store = store
        self._folder = folder
        folder.mkdir(mode=0o700, exist_ok=True)

    def ask(self, document: bytes, coordinates: Coordinates, base: str) -> None:
        """
        Keep a checked upload and write to its endorser.

        :param base: the URL of the Marketplace.
        :raises OSError: the e-mail cannot be written; nothing is kept.
        """
        name = str(uuid.uuid4())
        text = _TEXT.format(entry="/".join(coordinates), action=f"{base}/action/{name}")
        with self._store.transaction() as db:
            db.execute("INSERT INTO unconfirmed VALUES (?, ?)", (name, document))
            self._write(name, coordinates.email, "Confirm your Marketplace entry", text)

    def waiting(self, name: str) -> bytes | None:
        """Return the upload that has this UUID; None if none has."""
        with self._store.reading() as db:
            found = db.execute("SELECT document FROM unconfirmed WHERE uuid = ?", (name,))
            row = found.fetchone()
        return row["document"] if row else None

    def forget(self, name: str) -> None:
        """Discard an upload, or what is left of one that was confirmed."""
        with self._store.transaction() as db:
            db.execute("DELETE FROM unconfirmed WHERE uuid = ?", (name,))

    def report(self, name: str, document: bytes) -> None:
        """Write to the administrator about an abuse, and discard the upload."""
        text = "This upload was reported as an abuse:\n\n" + document.decode()
        self._write(f"abuse-{name}", _SENDER, "Abuse of the Marketplace", text)
        self.forget(name)

    def _write(self, name: str, to: str, subject: str, text: str) -> None:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = _SENDER, to, subject
        mail.set_content(text)
        write_private(self._folder / f"{name}.eml", mail.as_bytes())
