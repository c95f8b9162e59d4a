"""matplotlib figures as inline SVG, which takes its colours and fonts from the page, light or dark."""

import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from xml.etree import ElementTree

# Colours to draw with; each is replaced by a colour of the page in the end.
INK, MUTED, LINE, ACCENT = "#0a0b01", "#0a0b02", "#0a0b03", "#0a0b04"
_THEME = {INK: "--ink", MUTED: "--muted", LINE: "--line", ACCENT: "--accent"}
_SETTINGS: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: small, searchable, in the fonts of the page
    "text.parse_math": False,  # a class may be named $x$
    "axes.unicode_minus": True,
    "font.size": 12,  # 11 px at least on a screen of 400 px, to which a drawing of 400 px shrinks
    "text.color": INK,
    "axes.edgecolor": LINE,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "grid.color": LINE,
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
}


def draw(paint: Callable[[Any], None], width: int, height: int, alt: str) -> str:
    """An <svg> of `width` by `height` CSS pixels with one matplotlib Axes, drawn by `paint`; it scales with the page.

    alt : text for screen readers. The user's matplotlib settings are neither used nor changed.
    """
    from matplotlib.figure import Figure

    file = io.BytesIO()
    with _settings(alt):
        figure = Figure(figsize=(width / 72, height / 72), layout="constrained")
        paint(figure.add_subplot())
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return _inline(file.getvalue(), alt)


@contextmanager
def _settings(salt: str) -> Iterator[None]:
    import matplotlib

    with matplotlib.rc_context(), warnings.catch_warnings():
        # the browser draws the text with its own fonts; a letter that ours lack is only placed less exactly
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS | {"svg.hashsalt": salt})  # different ids for the drawings of a page
        yield


def _inline(svg: bytes, alt: str) -> str:
    """The SVG in the page's colours, without namespaces, metadata and style sheet (it would style the page)."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in ("metadata", "style"):
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        element.attrib = {_local(name): value for name, value in element.attrib.items()}
        if "style" in element.attrib:
            element.attrib["style"] = _styled(element.attrib["style"], element.tag)
        if re.search(r"_\d+$", element.attrib.get("id", "")):  # such as patch_1: nothing refers to it
            del element.attrib["id"]
    width = root.attrib["viewBox"].split()[2]
    size = f"max-width: {1.25 * float(width):.0f}px"  # larger, its text would look out of place
    root.attrib = {"viewBox": root.attrib["viewBox"], "style": size, "role": "img", "aria-label": alt}
    body = ElementTree.tostring(root, encoding="unicode", short_empty_elements=True)
    return re.sub(r"\n\s*", "\n", body)


def _local(name: str) -> str:
    return name.rpartition("}")[2]


def _styled(style: str, tag: str) -> str:
    if tag == "text":
        kept = re.findall(r"(?:font-weight|fill|opacity|text-anchor): ?[^;]+", style)
        size = re.search(r"([\d.]+)px", style)
        style = "; ".join(kept + ([f"font-size: {size[1]}px"] if size else []))
        style = style if "fill:" in style else f"{style}; fill: var(--ink)"
    for colour, name in _THEME.items():
        style = style.replace(colour, f"var({name})")
    return style
