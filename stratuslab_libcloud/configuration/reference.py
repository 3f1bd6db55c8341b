"""
Write the options for people: the reference file, and the list in the documentation.

``python -m stratuslab_libcloud.configuration.reference`` prints the reference file, which is stored
as ``conf/stratuslab-user.cfg.ref``.
"""

import textwrap

from stratuslab_libcloud.configuration.options import TABLE, Row

__all__ = ["as_markdown", "reference"]

_WIDTH = 98

_HEAD = """\
# StratusLab user configuration
#
# Put it in place with "stratus-copy-config"; it belongs at
#   $HOME/.stratuslab/stratuslab-user.cfg           (Linux, macOS)
#   %HOMEDRIVE%%HOMEPATH%\\stratuslab\\stratuslab-user.cfg   (Windows)
# It holds passwords: keep it readable for yourself alone.
#
# HOW IT IS READ
#   * Lines that begin with # or ; are comments. After a value, " ;" (a blank and a semicolon)
#     starts a comment, but # does not. No comment can follow a password.
#   * Every section but [instance_types] describes one cloud: a Libcloud location. Options that a
#     section does not set are taken from [default].
#   * The environment variable given with an option takes precedence over the file, but only for
#     the default location, unless noted otherwise.
#   * %(key)s stands for the value of another key of the section, and %% for a percent sign.
#     A value with any other % in it is used unchanged.
#   * A leading ~ in a file name is your home directory.

[default]
"""

_TAIL = """\
# Your own machine sizes, in addition to the standard ones or in place of them:
#   name = CPUs, RAM in MiB, swap in MiB
[instance_types]
# my.type = 4, 2048, 2048
"""


def reference() -> str:
    """Write the text of the reference file."""
    shared, own = ("\n\n".join(map(_lines, _documented(shared))) for shared in (True, False))
    return f"{_HEAD}\n{shared}\n\n\n[my-cloud]\n\n{own}\n\n\n{_TAIL}"


def as_markdown() -> str:
    """Write the options of ``[default]`` and of every section, with a heading for each."""
    shared, own = ("\n\n".join(map(_definition, _documented(shared))) for shared in (True, False))
    return f"## Options of `[default]`\n\n{shared}\n\n## Options of every section\n\n{own}\n"


def _documented(shared: bool) -> list[str]:
    """List the keys of the options that this version uses."""
    return [key for key, row in TABLE.items() if row.doc and row.shared == shared]


def _lines(key: str) -> str:
    row = TABLE[key]
    comments = [_meaning(row), f"Default: {row.fallback}"]
    if row.variable:
        comments.append(f"Environment variable: {_variable(row)}")
    wrapped = [line for comment in comments for line in _wrapped(comment.replace("`", ""))]
    mark = "" if row.active else "# "
    return "\n".join([*(f"# {line}" for line in wrapped), f"{mark}{key} = {row.example}"])


def _wrapped(comment: str) -> list[str]:
    return textwrap.wrap(comment, _WIDTH - 2, break_on_hyphens=False, break_long_words=False)


def _definition(key: str) -> str:
    row = TABLE[key]
    facts = [f"Default: {row.fallback}"]
    if row.variable:
        name, *note = _variable(row).split(" ", 1)
        facts.append(" ".join([f"Environment variable: `{name}`", *note]))
    facts.append(f"Example: `{key} = {row.example}`")
    return "\n".join([f"### `{key}`\n", f"{_meaning(row)}\n", *(f"* {f}" for f in facts)])


def _meaning(row: Row) -> str:
    return row.doc if row.inherited else f"{row.doc} Not inherited from `[default]`."


def _variable(row: Row) -> str:
    return (
        f"{row.variable} (for every section)" if row.everywhere and not row.shared else row.variable
    )


if __name__ == "__main__":
    print(reference(), end="")
