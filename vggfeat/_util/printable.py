"""Text for people: no control characters, no secrets of addresses, lines of bounded length.

All that the command prints, and all that the library prints, passes `printable` and `hidden`. Data files, such as JSON
and CSV, keep names exactly; an address that they record as the place of the data passes `recorded`.
"""

import re
import sys
from hashlib import sha256
from unicodedata import category

LINE = 2000  # characters of a line on stderr, at most

# user:password@ of an address; also with / ? or # in the password, which belong there as %2F %3F %23
_USER = re.compile(r"([a-z][a-z0-9+.-]*)://([^\s/?#]*|[^\s/?#:\[]*:(?!\d{1,5}(?:\W|$))(?:(?!://)\S)*)@", re.IGNORECASE)
# the query of an address in a text, without the punctuation after it; a key of an object store may contain ? and #
_QUERY = re.compile(
    r"""(https?://[^\s?#]*[?#]|[a-z][a-z0-9+.-]*://[^\s?]*\?(?=\S*=))\S+?(?=[\])}>'",;:.]*(?:\s|$))""", re.IGNORECASE
)
_HEAD = re.compile(r"(https?://[^?#]*|[^?]*)([?#]?)(.*)", re.IGNORECASE | re.DOTALL)
# what a signature adds to a query: of Amazon, Google and Azure; tokens
_SIGNED = re.compile(
    r"(x-amz-.*|x-goog-.*|awsaccesskeyid|googleaccessid|expires|signature|policy|key-pair-id"
    r"|s[vprtes]|ss|srt|spr|sig|sk[a-z]{1,4}|(.*[_-])?(token|key|secret|password|auth))=.*",
    re.IGNORECASE | re.DOTALL,
)
_RECORDED = re.compile("~[0-9a-f]{8}")


def printable(text: str, most: int | None = None) -> str:
    r"""The text on one line; a character that is invisible or controls a terminal becomes its escape, such as \x1b.

    Those are control and format characters (the marks of the direction of text and of width zero are among them),
    separators of lines, and code points without a meaning. A byte of a name that is no UTF-8 becomes its number.

    most : a text of more characters loses its middle, so that the end of a path stays.

    >>> printable("a\nb"), printable("wheelbarrow", 7)
    ('a\\nb', 'whe…row')
    """
    if not text.isprintable():
        text = "".join(c if c.isprintable() or category(c) == "Zs" else _escape(c) for c in text)
    if most is None or len(text) <= most:
        return text
    half = (most - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def hidden(text: str) -> str:
    """The text; its addresses have no user and password, and … stands for the query after their ?.

    >>> hidden("https://me:secret@host/list.csv?token=secret: not found")
    'https://host/list.csv?…: not found'
    """
    return _QUERY.sub(r"\1…", _without_users(text)) if "://" in text else text


def recorded(address: str) -> str:
    """The name of an address for a record: without user, password and signature; a digest stands for its query.

    It is the same when the signature is renewed. A path on this machine, and a recorded name, stay as they are.

    >>> recorded("https://me:secret@host/list.csv?id=3&X-Amz-Signature=secret")
    'https://host/list.csv?~3a61b75b'
    """
    found = _HEAD.fullmatch(_without_users(address))
    if not found or "://" not in found[1]:
        return address
    head, mark, query = found.groups()
    kept = "&".join(pair for pair in query.split("&") if not _SIGNED.fullmatch(pair))
    if not kept:
        return head
    if not _RECORDED.fullmatch(kept):
        kept = f"~{sha256(kept.encode(errors='surrogatepass')).hexdigest()[:8]}"
    return head + mark + kept


def reason_of(error: BaseException) -> str:
    r"""What an error says, in one line: the words of the system, or the first line of its text, or its type.

    >>> reason_of(OSError(2, "No such file", "a.jpg")), reason_of(ValueError("one\ntwo")), reason_of(EOFError())
    ('No such file', 'one', 'EOFError')
    """
    text = str((error.strerror if isinstance(error, OSError) else None) or error)
    return next(iter(text.strip().splitlines()), "") or type(error).__name__


def say(line: str) -> None:
    """Print a line on stderr. One of more than LINE characters loses its middle."""
    print(printable(hidden(line), LINE), file=sys.stderr, flush=True)


def _without_users(text: str) -> str:
    """The text without the users of addresses. One without a password may be a container: abfs://photos@account."""

    def bare(found: re.Match[str]) -> str:
        scheme, user = found.groups()
        return f"{scheme}://" if ":" in user or scheme.lower().startswith("http") else found[0]

    return _USER.sub(bare, text)


def _escape(character: str) -> str:
    if "\udc80" <= character <= "\udcff":  # how Python holds a byte of a file's name that is no UTF-8
        return f"\\x{ord(character) - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()
