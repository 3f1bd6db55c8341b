"""How Sphinx builds this documentation: ``tox run -e docs``."""

from pathlib import Path

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
