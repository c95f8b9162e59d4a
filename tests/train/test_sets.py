"""What a run trains on."""

from tests.kit.boxed_photos import voc_kit
from vggfeat.data import voc
from vggfeat.train.sets import read_sets


def test_of_photos_with_boxes_the_class_of_the_largest_is_learnt(tmp_path):
    kit = voc_kit(tmp_path)
    sets = read_sets(kit.parent, batch=1)
    assert sets.classes == voc.CLASSES
    photos = dict(zip([*sets.train.paths, *sets.val.paths], [*sets.train.labels, *sets.val.labels], strict=True))
    assert photos == dict.fromkeys(["JPEGImages/one.jpg", "JPEGImages/two.jpg"], voc.CLASSES.index("cat"))
    assert sets.train.boxes is None
    assert any("because their photo is of another class: 1, such as JPEGImages/two.jpg" in note for note in sets.notes)
