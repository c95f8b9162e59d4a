"""What is left out, and why. All of it is counted, so that a user is told."""

from collections import Counter, defaultdict
from collections.abc import Collection

from vggfeat._util.printable import printable
from vggfeat.formats import suffix_of

SHOWN = 4  # suffixes in a line, at most
MOST = 1000  # suffixes that are counted for each reason, at most


class LeftOut:
    """How many things are left out for each reason, and the first of their names in alphabetical order.

    Parameters
    ----------
    expected : collection of str
        Names that are not counted, because it is known that they are left out.
    """

    def __init__(self, expected: Collection[str] = ()) -> None:
        self._expected = frozenset(expected)
        self._counts: Counter[str] = Counter()
        self._examples: dict[str, str] = {}
        self._suffixes: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def add(self, reason: str, *names: str, count: int = 1) -> None:
        """Count names under a reason.

        Parameters
        ----------
        reason : str
            What the names are, in the plural, and why they are left out.
        *names : str
            The names.
        count : int
            How many things each name stands for.
        """
        for name in names:
            if name not in self._expected:
                self._counts[reason] += count
                self._examples[reason] = min(name, self._examples.get(reason, name))

    def add_file(self, reason: str, name: str) -> None:
        """Count a file under a reason whose line lists the suffixes.

        Parameters
        ----------
        reason, name : str
            As for `add`.
        """
        self.add(reason, name)
        suffixes, suffix = self._suffixes[reason], suffix_of(name) or "no suffix"
        if name not in self._expected and (suffix in suffixes or len(suffixes) < MOST):
            suffixes[suffix] += 1

    def count(self, reason: str) -> int:
        """Return how many things are left out for a reason.

        Parameters
        ----------
        reason : str
            As for `add`.

        Returns
        -------
        int
        """
        return self._counts[reason]

    def example(self, reason: str) -> str:
        """Return the first of the names that are left out for a reason.

        Parameters
        ----------
        reason : str
            A reason with a count above 0.

        Returns
        -------
        str
            In printable characters.
        """
        return printable(self._examples[reason])

    def lines(self, only: Collection[str] | None = None) -> list[str]:
        """Say what is left out.

        Parameters
        ----------
        only : collection of str, optional
            The reasons to say. Default: all.

        Returns
        -------
        list of str
            One line for each reason, in alphabetical order.

        Examples
        --------
        >>> left_out = LeftOut()
        >>> for name in ("a/1.txt", "a/2.txt", "a/1.json"):
        ...     left_out.add_file("files that are not images", name)
        >>> left_out.lines()
        ['files that are not images: 3 (.txt, .json), such as a/1.json']
        """
        return [
            f"{reason}: {self._counts[reason]:,}{self._kinds(reason)}, such as {self.example(reason)}"
            for reason in sorted(self._counts)
            if only is None or reason in only
        ]

    def _kinds(self, reason: str) -> str:
        counts = self._suffixes.get(reason, Counter())
        most = sorted(counts, key=lambda suffix: (-counts[suffix], suffix))
        more = [f"{len(most) - SHOWN} more"] if len(most) > SHOWN else []
        return f" ({', '.join([*map(printable, most[:SHOWN]), *more])})" if most else ""
