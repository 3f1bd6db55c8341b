"""Long options that were cut short (config-and-cli 3.1)."""

from collections.abc import Mapping, Sequence

import click

__all__ = ["in_full"]


def in_full(args: Sequence[str], params: Sequence[click.Parameter]) -> list[str]:
    """Return the command line with every long option in full (config-and-cli 3.1)."""
    options = {
        name: option
        for option in params
        if isinstance(option, click.Option)
        for name in (*option.opts, *option.secondary_opts)
    }
    rest = list(args)
    full: list[str] = []
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*full, word, *rest]
        needs_value = False
        if word.startswith("--"):
            begin, equals, value = word.partition("=")
            name = _completed(begin, options)
            word = f"{name}{equals}{value}"
            needs_value = not equals and _takes_value(options.get(name))
        elif word.startswith("-"):
            # The first letter that takes a value takes the rest of the word, or the next one.
            taking = [_takes_value(options.get(f"-{letter}")) for letter in word[1:]]
            needs_value = True in taking and taking.index(True) == len(taking) - 1
        full.append(word)
        if needs_value and rest:
            full.append(rest.pop(0))
    return full


def _completed(begin: str, options: Mapping[str, click.Option]) -> str:
    """Find the only long option that begins so; without any, click refuses the word."""
    if begin in options:
        return begin
    found = {name: option for name, option in options.items() if name.startswith(begin)}
    if len(set(map(id, found.values()))) > 1:
        names = ", ".join(f"{name}?" for name in sorted(found))
        raise click.UsageError(f"ambiguous option: {begin} ({names})")
    return next(iter(found), begin)


def _takes_value(option: click.Option | None) -> bool:
    return option is not None and not option.is_flag and not option.count
