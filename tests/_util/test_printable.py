"""Text for people: nothing in it controls a terminal, tells a secret, or makes a second line."""

import doctest
import random
import unicodedata

import pytest

from vggfeat._util import printable as module
from vggfeat._util.printable import LINE, hidden, printable, recorded, say

ATTACKS = {
    "\x1b[31mred": r"\x1b[31mred",
    "\x1b]8;;http://evil\x1b\\link": "\\x1b]8;;http://evil\\x1b\\link",
    "\x1b]52;c;cm0=\x07": r"\x1b]52;c;cm0=\x07",
    "a\nb\r\x08c\td\x00": r"a\nb\r\x08c\td\x00",
    "\u202egpj.exe\u2066": r"\u202egpj.exe\u2066",
    "a\u200bb\u2060\ufeff": r"a\u200bb\u2060\ufeff",
    "\x9b31m\x85": r"\x9b31m\x85",
    "caf\udce9 \ud800": r"caf\xe9 \ud800",
    "a\u2028b\u2029": r"a\u2028b\u2029",
}


@pytest.mark.parametrize(("text", "shown"), ATTACKS.items())
def test_what_controls_a_terminal_is_shown_as_its_escape(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["photos/Ω Ж 写真.jpg", "é n\u0303 ❤️", "a\u3000b\u202fc\xa0d", r"C:\photos\x1b.jpg"])
def test_other_names_stay_as_they_are(text):
    assert printable(text) == text


def test_a_long_text_keeps_its_beginning_and_its_end():
    path = "/photos/" + "d" * 4000 + "/cat.jpg"
    assert len(printable(path, 100)) == 99
    assert printable(path, 100).startswith("/photos/d") and printable(path, 100).endswith("d/cat.jpg")


def check_line(line):
    """A line that was printed: one, short, without a character that is invisible."""
    assert line.endswith("\n") and len(line) <= LINE + 1
    assert not {unicodedata.category(c) for c in line[:-1]} & {"Cc", "Cf", "Cs", "Zl", "Zp"}


@pytest.mark.parametrize("rounds", [500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_random_names(rounds, capsys):
    rng = random.Random(15)
    odd = [*map(chr, range(0xA0)), *"\u200b\u200d\u202e\u2028\u2066\ufeff\udc80\udcff\ud800\U000e0041\x1b\x1b]\\/:?#@"]
    for _ in range(rounds):
        say("".join(rng.choices(odd, k=rng.choice((1, 10, 100, 3000)))))
        check_line(capsys.readouterr().err)


SECRETS = {
    "https://me:secret@host/a.h5": "https://host/a.h5",
    "https://secret@host/a.h5": "https://host/a.h5",
    "https://me:se/cr?et@host/a.h5": "https://host/a.h5",
    "ftp://me:secret@host/a.h5": "ftp://host/a.h5",
    "https://h/l.csv?X-Amz-Signature=secret&page=2": "https://h/l.csv?…",
    "https://h/l.csv#access_token=secret": "https://h/l.csv#…",
    "zip://a.zip::https://me:secret@h/a.zip?sig=secret": "zip://a.zip::https://h/a.zip?…",
    "HTTPS://me:secret@h/a": "HTTPS://h/a",
    "http://me:secret@[::1]:80/a": "http://[::1]:80/a",
}
NO_SECRETS = [
    "abfs://photos@account.dfs/x", "http://[::1]:80/@x", "http://h:80/@x", "s3://b/Song #3?.jpg", "/a/b?token=c",
    "me@host: no such file", "http://h:80: refused (a@b)",
]  # fmt: skip


@pytest.mark.parametrize(("address", "shown"), SECRETS.items())
def test_secrets_of_addresses_are_hidden(address, shown):
    assert hidden(f"{address}: not found; or ({address})") == f"{shown}: not found; or ({shown})"
    assert "secret" not in recorded(address)


@pytest.mark.parametrize("text", NO_SECRETS)
def test_other_addresses_stay(text):
    assert hidden(text) == text


@pytest.mark.parametrize("text", ["/photos/a?token=b#c", "s3://bucket/photos", "https://h/l.csv", "abfs://c@a.dfs/x"])
def test_an_address_without_a_secret_is_recorded_as_it_is(text):
    assert recorded(text) == text


def test_a_renewed_signature_is_of_the_same_source_and_another_query_of_another():
    first = recorded("https://a:b@h/l.csv?id=1&X-Amz-Signature=a&X-Amz-Date=1")
    assert first == recorded("https://h/l.csv?id=1&X-Amz-Signature=b&X-Amz-Date=2") == recorded(first)
    assert first != recorded("https://h/l.csv?id=2&X-Amz-Signature=a&X-Amz-Date=1")
    assert recorded("https://h/l.csv?token=a") == "https://h/l.csv"


def test_doctests():
    assert doctest.testmod(module).failed == 0
