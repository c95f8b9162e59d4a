"""The images of a source after a user's decisions about them."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from vggfeat._util.left_out import LeftOut
from vggfeat.decisions import Decision
from vggfeat.sources.item import Item

REMOVED = "images left out, because it was decided to remove them"
UNKNOWN = "decisions on images that the source does not have"


def decided(items: Iterable[Item], decisions: Mapping[str, Decision], left_out: LeftOut) -> Iterator[Item]:
    """The items that are not to be removed, with their new labels."""
    unknown = set(decisions)
    for item in items:
        unknown.discard(item.path)
        decision = decisions.get(item.path)
        if decision and decision.decision == "remove":
            left_out.add(REMOVED, item.path)
        elif decision and decision.decision == "relabel":
            yield replace(item, label=decision.label)
        else:
            yield item
    left_out.add(UNKNOWN, *unknown)
