"""Text of strangers, as it is shown."""

import pytest

from stratuslab_libcloud.untrusted.text import printable_lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("one\r\ntwo\nthree", "one\ntwo\nthree\n"),
        ("one\r\r\ntwo\r\n", "one\ntwo\n"),
        ("[ \x1b[1;32mOK\x1b[0m ] é\tü \x1b[K\n", "[ OK ] é ü\n"),
        ("\x1bc\x1b[?7l\x1b[2J\x1b(Bbooting\n", "booting\n"),
        ("\x1b]0;owned\x07here\x1bPx\x1b\\\n", "here\n"),
        ("\x1b]0;it does not end\nnext\n", "0;it does not end\nnext\n"),
        ("\x9b31mred\x00\u202egnp.exe\ud800\n", " 31mred  gnp.exe\n"),
        ("\x1b", "\n"),
        ("10%\r20%\r", "10%\n20%\n"),
    ],
)
def test_lines_have_nothing_but_what_can_be_seen(text: str, shown: str) -> None:
    assert printable_lines(text) == shown


@pytest.mark.parametrize("part", ["\x1b", "\x1b[", "\x1b[0;", "\x1b]", "\x1b]x\x1b", "\r", "\x1b "])
def test_many_beginnings_of_sequences_take_no_longer_than_other_text(part: str) -> None:
    """The guard is the suite's own: what is quadratic would take hours."""
    assert printable_lines(part * (1 << 20)).replace("\n", "").isprintable()
