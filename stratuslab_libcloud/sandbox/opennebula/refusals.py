"""How a modern engine says no: a text, a code and the id of what it is about (modern 10)."""

__all__ = [
    "ACTION",
    "ALLOCATE",
    "API",
    "AUTHENTICATION",
    "AUTHORIZATION",
    "INTERNAL",
    "NO_EXISTS",
    "RefusedError",
]

AUTHENTICATION, AUTHORIZATION, NO_EXISTS, ACTION = 256, 512, 1024, 2048
API, INTERNAL, ALLOCATE = 4096, 8192, 16384


class RefusedError(Exception):
    """The call is refused: its answer is ``[false, text, code, object id, -1]``."""

    def __init__(self, text: str, code: int, object_id: int = -1) -> None:
        super().__init__(text)
        self.code = code
        self.object_id = object_id
