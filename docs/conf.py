"""The site, built by `make docs`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))  # the gallery has signals of the experiments
sys.path.insert(0, str(Path(__file__).parent / "_ext"))

from repository_links import REPOSITORY, ROOT

from siren_jax import __version__

project = "siren_jax"
author = copyright = "The siren_jax authors"
version = release = __version__

extensions = [
    "myst_nb",  # with myst_parser
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "api_reference",
    "command_reference",
    "gallery",
    "repository_links",
]
exclude_patterns = ["_ext", "_static"]
highlight_language = "none"  # commands and their output; other blocks name their language
default_role = "py:obj"
smartquotes_action = "D"  # dashes; quotes stay

myst_heading_anchors = 4
nb_execution_mode = "cache"  # notebooks run again only when their code changes; `make notebooks` always runs them
nb_execution_cache_path = str(ROOT / ".cache" / "notebooks")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True
nb_output_stderr = "remove-warn"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_class_signature = "mixed"
napoleon_numpy_docstring = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = f"siren_jax {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_theme_options = {
    "source_repository": REPOSITORY,
    "source_branch": "main",
    "source_directory": "docs/",
}
