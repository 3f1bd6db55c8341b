"""The accounts of a site, and how users log in: by password or by certificate."""

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping

from cryptography import x509

from stratuslab_libcloud.sandbox.store import Account, Store

__all__ = ["LEAST_COST", "SCRYPT_COST", "Accounts"]

SCRYPT_COST = 1 << 12
LEAST_COST = 2  # for throw-away sites, whose hashes nobody can steal


class Accounts:
    """
    The accounts that may log in. Passwords are stored as scrypt hashes.

    :param cost: scrypt's N.
    """

    def __init__(self, store: Store, cost: int = SCRYPT_COST) -> None:
        self._store = store
        self._cost = cost
        self._key = secrets.token_bytes(32)
        self._verified: dict[bytes, Account] = {}  # by a MAC of name and password
        self._subjects: frozenset[str] = frozenset()

    def enrol(self, passwords: Mapping[str, str], subjects: Iterable[str] = ()) -> None:
        """
        Let exactly these accounts log in; the others keep what they own.

        :param passwords: user name to password.
        :param subjects: subjects of certificates, as ``cryptography`` writes them (RFC 4514).
        """
        self._subjects = frozenset(subjects)
        hashes: list[tuple[str, bytes | None, bytes | None]]
        hashes = [(subject, None, None) for subject in self._subjects]
        for name, password in passwords.items():
            salt = secrets.token_bytes(16)
            hashes.append((name, salt, self._hash(password, salt)))
        with self._store.transaction() as db:
            db.execute("UPDATE accounts SET salt = NULL, hash = NULL")
            db.executemany(
                # 0 and 1 are oneadmin and serveradmin on a real engine.
                "INSERT INTO accounts SELECT COALESCE(MAX(uid), 1) + 1, ?, ?, ? FROM accounts "
                "WHERE true ON CONFLICT (name) DO UPDATE SET salt = excluded.salt, "
                "hash = excluded.hash",
                hashes,
            )

    def by_password(self, name: str, password: str) -> Account | None:
        """Return the account, or None if the name or the password is wrong."""
        proof = hmac.digest(self._key, json.dumps([name, password]).encode(), "sha256")
        if proof in self._verified:
            return self._verified[proof]
        with self._store.reading() as db:
            row = db.execute(
                "SELECT * FROM accounts WHERE name = ? AND hash IS NOT NULL", (name,)
            ).fetchone()
        # An unknown name takes as long as a wrong password.
        salt, expected = (row["salt"], row["hash"]) if row else (bytes(16), bytes(64))
        if not hmac.compare_digest(self._hash(password, salt), expected) or row is None:
            return None
        account = self._verified[proof] = Account(row["uid"], row["name"])
        return account

    def by_name(self, name: str) -> Account | None:
        """Return the account of a user who may log in by password; None if there is none."""
        query = "SELECT * FROM accounts WHERE name = ? AND hash IS NOT NULL"
        with self._store.reading() as db:
            row = db.execute(query, (name,)).fetchone()
        return Account(row["uid"], row["name"]) if row else None

    def by_certificate(self, der: bytes) -> Account | None:
        """Return the account of a certificate, or of the user who signed a proxy certificate."""
        name = x509.load_der_x509_certificate(der).subject.rfc4514_string()
        for prefix in (r"CN=proxy,", r"CN=[0-9]+,"):  # in that order, once each (1.6)
            name = re.sub(f"^{prefix}", "", name)
        if name not in self._subjects:
            return None  # issued by another CA, or for an earlier run
        with self._store.reading() as db:
            row = db.execute("SELECT * FROM accounts WHERE name = ?", (name,)).fetchone()
        return Account(row["uid"], row["name"]) if row else None

    def _hash(self, password: str, salt: bytes) -> bytes:
        # Not the password itself: scrypt ignores NULs at its end (RFC 2104).
        secret = hashlib.sha512(password.encode()).digest()
        return hashlib.scrypt(secret, salt=salt, n=self._cost, r=8, p=1)
