"""Read XML-RPC answers while they arrive (compute-xmlrpc 2.1, 2.2, 7.3, 7.5)."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import TypeVar

from stratuslab_libcloud.client.http.answer import Answer
from stratuslab_libcloud.client.http.listing import bounded
from stratuslab_libcloud.errors import (
    ConflictError,
    CredentialsError,
    MalformedAnswerError,
    NotFoundError,
    NotPermittedError,
    NotSupportedError,
    QuotaExceededError,
    ServiceError,
    UnavailableError,
)
from stratuslab_libcloud.untrusted import xml

__all__ = ["payload", "pool", "starting"]

T = TypeVar("T")

# Limits for everything that is held in memory: all but a document.
_MOST_VALUES = 100
_MOST_TAGS = 10_000
_LARGEST_VALUE = 2**20
_PIECE = 2**18

# The beginnings of a proxy's messages when it has no answer of the engine to pass on.
_PROXY_FAILURES = ("Failed to ", "internal server error")


# What modern engines mean, whatever the code (modern 10): the same fault has several.
_MEANINGS: tuple[tuple[re.Pattern[str], type[ServiceError]], ...] = (
    (re.compile(r"limit of \S+ reached for .*quota", re.DOTALL), QuotaExceededError),
    # 7.4, when what is attached takes more than there may be (modern 8).
    (re.compile(r"not authorized to perform action on virtual machine"), QuotaExceededError),
    (
        re.compile(r"NAME is already taken|collides with|Cannot (?:acquire|clone) image"),
        ConflictError,
    ),
    (re.compile(r"[Ii]mage (?:cannot be in state|locked)|VM has to be RUNNING"), ConflictError),
    (re.compile(r"does not exist\.?\s*$|does not own an? "), NotFoundError),
)
_MORE = "end nodes or delete volumes and images, or ask the operator for more"


class _Reply:
    """
    An XML-RPC answer: two to five values, or a fault (compute-xmlrpc 2.1, 7.3).

    A pool of machines is a single string in it, of many megabytes; :meth:`payload` yields it piece
    by piece, so that it is never held in memory as a whole.
    """

    def __init__(self) -> None:
        self.values: list[str] = []
        self._kinds: list[str] = []
        self._fault = False
        self._kind = ""
        self._text: list[str] = []
        self._in_value = False
        self._tags = 0
        self._scanner = xml.Scanner()
        parser = self._scanner.parser
        parser.buffer_text = True
        parser.buffer_size = 1 << 20
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data

    def payload(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Yield the text of the second value, if the answer reports success."""
        for piece in _small(pieces):
            self._scanner.feed(piece)
            if self._text and len(self.values) == 1 and self._in_value and self._success:
                text, self._text = "".join(self._text), []
                yield text.encode()
            elif len(self.values) > _MOST_VALUES or sum(map(len, self._text)) > _LARGEST_VALUE:
                raise MalformedAnswerError(
                    f"the answer has more than {_MOST_VALUES} values, or one of more than a MiB"
                )
        self._scanner.feed(b"", last=True)
        self._raise_failure()
        if len(self.values) > 1:
            yield self.values[1].encode()

    @property
    def _success(self) -> bool:
        return not self._fault and self.values[0].strip() in ("1", "true")

    def _raise_failure(self) -> None:
        if self._fault:
            fault = dict(zip(self._kinds, self.values, strict=True))
            raise _fault(fault.get("int", fault.get("i4", "?")), fault.get("string", ""))
        if not self.values or self._kinds[0] != "boolean":
            raise MalformedAnswerError(
                "the answer is XML, but not from OpenNebula; is this the cloud?"
            )
        if not self._success:
            text = self.values[1] if len(self.values) > 1 else "refused without a reason"
            code = self.values[2] if len(self.values) > 2 else ""
            raise _refusal(text, code)

    def _start(self, name: str, _: object) -> None:
        self._tags += 1
        if self._tags > _MOST_TAGS:
            raise MalformedAnswerError(f"the answer has more than {_MOST_TAGS:,} tags")
        if name == "value":
            self._in_value, self._kind, self._text = True, "string", []
        elif name in ("array", "struct"):
            self._in_value = False
        elif self._in_value:
            self._kind, self._text = name, []
        elif name == "fault":
            self._fault = True

    def _end(self, name: str) -> None:
        if name == "value" and self._kind:
            self.values.append("".join(self._text))
            self._kinds.append(self._kind)
            self._kind, self._text = "", []
        elif name == "array":
            self._kind = ""
        self._in_value = False

    def _data(self, text: str) -> None:
        if self._in_value:
            self._text.append(text)


def _small(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Split pieces, so that an answer that is too large is noticed soon."""
    for piece in pieces:
        for start in range(0, len(piece), _PIECE):
            yield piece[start : start + _PIECE]


def payload(answer: Answer) -> Iterator[bytes]:
    """
    Yield the second value of an answer that reports success: a document, or an id.

    :raises ServiceError: the answer reports a failure, or is a fault.
    :raises MalformedAnswerError: the answer is not from OpenNebula.
    """
    if answer.content_type in ("text/html", "application/json"):
        raise MalformedAnswerError(
            f"answered {answer.content_type}, not XML-RPC; is this the cloud endpoint?"
        )
    return _Reply().payload(answer.pieces)


def pool(
    answer: Answer,
    tag: str,
    to_item: Callable[[ET.Element], T | None],
    weight: Callable[[T], int] = lambda _: 0,
) -> list[T]:
    """
    Read the items of a pool while it arrives.

    :param tag: the name of an item.
    :param to_item: makes one of an element; ``None`` if it cannot be read.
    :param weight: the approximate memory of an item, in bytes.
    """
    elements = xml.stream(payload(answer), tag, (f"{tag}_POOL",))
    return list(bounded(map(to_item, elements), weight))


def starting(text: str) -> UnavailableError:
    """Build the error of an engine that refuses every user, as it does just after its start."""
    return UnavailableError(
        f"the engine accepts no user ({text})",
        advice="it may have just been started: try again in a few seconds",
        refused=True,
    )


def _fault(code: str, text: str) -> ServiceError:
    """Build the error for a fault; a proxy sends one when its engine fails (compute-xmlrpc 7.3)."""
    said = f"XML-RPC fault {code}: {text}"
    if code.strip() == "0" and text.strip().startswith(_PROXY_FAILURES):
        return UnavailableError(
            f"the engine behind the proxy gave no answer ({said})", advice="try again later"
        )
    return ServiceError(said)


def _refusal(text: str, code: str) -> ServiceError:
    """Build the error for a refusal; OpenNebula 2.2 sends no code (compute-xmlrpc 2.2, 7.5)."""
    kind: type[ServiceError] = ServiceError
    meant = next((kind for form, kind in _MEANINGS if form.search(text)), None)
    if "Could not find Authorization driver" in text:
        return starting(text)
    if meant is not None:
        kind = meant
    elif "not supported" in text or "Unknown action" in text:
        kind = NotSupportedError
    elif code == "256" or "User couldn't be authenticated" in text:
        return CredentialsError(text, advice="check user name and password")
    elif code == "512" or "ot authorized to perform" in text:
        kind = NotPermittedError
    elif code == "1024" or "Error getting V" in text or "Error getting virtual" in text:
        kind = NotFoundError
    elif code == "2048" or "Wrong state" in text or "wrong state" in text:
        kind = ConflictError
    return kind(text, advice=_MORE if kind is QuotaExceededError else "")
