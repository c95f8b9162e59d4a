"""The demonstration: what vggfeat finds in the photos inside the package.

demonstration    demonstrate: photos -> store -> benchmark and findings -> text and page
findings         neighbours, twins, and labels that may be wrong
page             the page
"""

from vggfeat.demo.demonstration import Demonstration, demonstrate
from vggfeat.demo.findings import Findings

__all__ = ["Demonstration", "Findings", "demonstrate"]
