"""The exceptions of vggfeat.

    VggfeatError
    ├── UsageError     an argument that can't be meant; also a ValueError
    ├── ImageError     an image that can't be read, or is too small or too large for what is asked
    ├── WeightsError   weights that are missing, damaged, or not those of the net that is asked for
    ├── FetchError     a file that could not be fetched
    ├── DataError      a data set or source that is missing, partial or in another layout
    └── StoreError     a descriptor store that is damaged, in use, or made in another way

Each message is one line that names the file and says what to do; the command prints it as it is.
"""


class VggfeatError(Exception):
    """Anything that vggfeat raises on purpose."""


class UsageError(VggfeatError, ValueError):
    """An argument that can't be meant (the command's exit status is 2)."""


class ImageError(VggfeatError):
    """An image that can't be read, or is too small or too large for what is asked."""


class WeightsError(VggfeatError):
    """Weights that are missing, damaged, or not those of the net that is asked for."""


class FetchError(VggfeatError):
    """A file that could not be fetched."""


class DataError(VggfeatError):
    """A data set or source that is missing, partial or in another layout."""


class StoreError(VggfeatError):
    """A descriptor store that is damaged, in use, or made in another way."""
