"""Image data sets: readers, which return an ImageSet, and random splits. Free of torch.

    readers    READERS: the reader of each data set by its name, such as "voc2007"; and what can be downloaded
    base       ImageSet; finding a data set and reading its texts
    listing    the images in folders, and how many other things are left out
    subsets    the usual names of the folders of train, val and test
    voc        PASCAL VOC 2007 and 2012, classification
    actions    PASCAL VOC 2012, actions
    caltech    Caltech-101 and Caltech-256
    folder     your own images, one folder per class
    sample     the photos inside the package
    digits     the handwritten digits of scikit-learn
    splits     random splits into training and test images
    imagenet   ILSVRC-2012 and data sets with its layout
    kit        the development kit of ILSVRC
    boxed      Boxed, photos with true boxes for localisation; read_boxed, held_out
    boxes_csv  boxes in a CSV file
    boxes_xml  the boxes of VOC and ILSVRC
    annotations  their XML files
    marked     boxes as they are written, put right and counted

Each reader takes the data set's folder, `root`, and options of its own. Without `root` it looks in
$VGGFEAT_DATA/<name>; the actions are in the archive of voc2012 and so in its folder.

>>> images = READERS["digits"]()
>>> len(images), len(images.classes)
(1797, 10)
"""

from vggfeat.data.base import ImageSet
from vggfeat.data.readers import READERS
from vggfeat.data.splits import Split, random_split

__all__ = ["READERS", "ImageSet", "Split", "random_split"]
