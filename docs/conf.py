"""How Sphinx builds this documentation: ``tox run -e docs``."""

from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import click

import stratuslab_libcloud
from stratuslab_libcloud.configuration import reference

project = "stratuslab-libcloud-drivers"
author = "The stratuslab-libcloud-drivers developers"
version = release = stratuslab_libcloud.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]

source_suffix = {".md": "markdown", ".rst": "restructuredtext"}
exclude_patterns = ["_build", "_generated"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints = "none"
add_module_names = False
autodoc_class_signature = "separated"

html_theme = "furo"
html_title = "StratusLab for Libcloud"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]
html_show_copyright = False
html_copy_source = False

# The page about the configuration lists the options from their own table.
generated = Path(__file__).parent / "_generated"
generated.mkdir(exist_ok=True)
(generated / "options.md").write_text(reference.as_markdown(), encoding="utf-8")

# The pages about the commands have their help, which is their manual, by what a name ends in.
PAGES = {
    "machines": ["instance"],
    "disks": ["volume", "volumes"],
    "images": ["image", "images", "metadata"],
    "others": [],
}


def page_of(name: str) -> str:
    """The page of a command."""
    noun = name.rpartition("-")[2]
    return next((page for page, nouns in PAGES.items() if noun in nouns), "others")


def manual(name: str, command: click.Command) -> Iterator[str]:
    """A section for a command, and one for each command below it."""
    settings = {**command.context_settings, "terminal_width": 80}
    with click.Context(command, info_name=name, **settings) as context:
        yield f"## {name}\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for word, below in command.commands.items():
            yield from manual(f"{name} {word}", below)


commands = {
    point.name: point.load()
    for point in distribution(project).entry_points
    if point.group == "console_scripts"
}
for page in PAGES:
    sections = [manual(name, commands[name]) for name in sorted(commands) if page_of(name) == page]
    text = "\n".join(part for section in sections for part in section)
    (generated / f"{page}.md").write_text(text, encoding="utf-8")

# Quotation marks over several lines, as in commands of curl, are more than the lexer understands.
suppress_warnings = ["misc.highlighting_failure"]
