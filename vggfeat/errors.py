"""The exceptions of vggfeat.

    VggfeatError
    ├── UsageError     an invalid argument; also a ValueError
    ├── ImageError     an image that cannot be read, or is too small or too large; also a ValueError
    ├── WeightsError   weights that are missing, damaged, or made for a different net
    ├── FetchError     a file that could not be downloaded
    ├── DataError      a data set or source that is missing, incomplete or in an unknown layout
    ├── StoreError     a descriptor store that is damaged, in use, or made with different settings
    └── ModelError     a model that is missing, damaged, or does not fit what is asked of it

Each message is one line that names the file and says what is wrong and what to do. The command prints it unchanged.
"""


class VggfeatError(Exception):
    """Base class of all errors of vggfeat."""


class UsageError(VggfeatError, ValueError):
    """An invalid argument. The exit status of the command is then 2."""


class ImageError(VggfeatError, ValueError):
    """An image that cannot be read, or is too small or too large."""


class WeightsError(VggfeatError):
    """Weights that are missing, damaged, or made for a different net."""


class FetchError(VggfeatError):
    """A file that could not be downloaded."""


class DataError(VggfeatError):
    """A data set or source that is missing, incomplete or in an unknown layout."""


class StoreError(VggfeatError):
    """A descriptor store that is damaged, in use, or made with different settings."""


class ModelError(VggfeatError):
    """A model that is missing, damaged, or does not fit what is asked of it."""
