"""How Sphinx builds the site. docs/README.md says how to run it."""

import sys
from pathlib import Path
from typing import Any

from vggfeat import __version__

sys.path.append(str(Path(__file__).parent / "_extensions"))

project, author, version = "vggfeat", "The authors of vggfeat", __version__
copyright = "The authors of vggfeat, under the licence Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton", "commands"]
exclude_patterns = ["README.md", "_build"]
nitpicky = True
smartquotes = False  # "--scales" stays as it is

myst_heading_anchors = 3

default_role = "code"  # of docstrings: `name`
autodoc_typehints = "none"  # numpydoc's sections name the types
autodoc_member_order = "bysource"
# scikit-learn adds these methods to each estimator
_ROUTING = "set_fit_request,set_predict_request,set_score_request,set_transform_request,set_partial_fit_request"
autodoc_default_options = {"members": True, "exclude-members": _ROUTING}
numpydoc_class_members_toctree = False
numpydoc_show_class_members = False

html_theme = "furo"
html_title = f"vggfeat {version}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_sphinx = False
html_copy_source = False
html_theme_options = {"top_of_page_buttons": []}


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", without_map, priority=1)


def without_map(_app: Any, what: str, _name: str, _thing: Any, _options: Any, lines: list[str]) -> None:
    """Leave the summary of a package; the map of its files is for those who read its code."""
    if what == "module":
        lines[1:] = [""]
