"""The gate of all addresses, and web servers without end."""

import random
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from tests.kit.image_sources import content, listed, names, png, put
from vggfeat import sources
from vggfeat.errors import DataError, ImageError
from vggfeat.sources import LeftOut, addresses, remote, web
from vggfeat.sources.remote import Remote

TO_THIS_MACHINE = [
    "file", "FILE", "local", "LOCAL", "zip", "tar", "reference", "simplecache", "filecache", "blockcache", "cached",
    "dir", "git", "dvc", "generic", "libarchive", "data", "asynclocal", "jupyter",
]  # fmt: skip


def case(text: str, draw: random.Random) -> str:
    return "".join(draw.choice([letter.lower(), letter.upper()]) for letter in text)


@pytest.fixture
def memory(tmp_path):
    system = fsspec.filesystem("memory")
    yield system
    system.store.clear()
    system.pseudo_dirs[:] = [""]


def test_a_list_at_an_address_names_no_file_of_this_machine(tmp_path, memory):
    secret = put(tmp_path / "secret.png", png())
    rows = [f"{scheme}://{secret}" for scheme in TO_THIS_MACHINE]
    rows += [f"zip://a.png::file://{secret}", f"simplecache::file://{secret}", f"memory://x::file://{secret}"]
    rows += [str(secret), f"../../../..{secret}", "sftp://localhost/x.png", "SSH://localhost/x.png", "smb://h/s/x.png"]
    memory.pipe("/b/list.csv", b"path\n" + "\n".join(rows).encode())
    found = list(sources.items("memory://b/list.csv"))
    assert len(found) == len(rows)
    for item in found:
        if not isinstance(item.image, ImageError):
            assert isinstance(item.image, Remote), item
            assert item.image.system is fsspec.filesystem("memory", use_listings_cache=False), item
            with pytest.raises(ImageError, match="No such file"):
                item.image.fetch()
    refused = [item.path for item in found if isinstance(item.image, ImageError)]
    assert len(refused) == len(TO_THIS_MACHINE) + 4


def test_what_a_user_names_is_read_or_refused_before_any_work(tmp_path):
    put(tmp_path / "a.png", png())
    for scheme in ("file", "FILE", "File"):
        assert names(f"{scheme}://{tmp_path}") == ["a.png"]
        put(tmp_path / "l.txt", f"{scheme}://{tmp_path}/a.png".encode())
        assert content(next(sources.items(tmp_path / "l.txt"))) == png()
    for scheme in set(TO_THIS_MACHINE) - {"file", "FILE"}:
        with pytest.raises(DataError, match=rf"^{scheme}://.*: {scheme.lower()}:// is not read; use one of abfs, "):
            sources.items(f"{scheme}://{tmp_path}/a.png")


def test_two_colons_are_part_of_a_name(memory):
    memory.pipe("/b/a::b.png", png(3))
    memory.pipe("/b/file::c/d.png", png(4))
    assert names("memory://b") == ["a::b.png", "file::c/d.png"]
    assert [content(item) for item in sources.items("memory://b")] == [png(3), png(4)]
    assert addresses.reach("https://h/a::file://b.png")[1] == "https://h/a::file://b.png"


def test_addresses_of_all_kinds_lead_to_this_machine_from_no_remote_list(tmp_path, memory):
    """Random schemes, cases and chains."""
    draw = random.Random(0)
    secret = put(tmp_path / "secret.png", png())
    schemes = [*TO_THIS_MACHINE, "memory", "http", "nonsense", "s3+file", "", "file:", "a::file", "memory::local"]
    rows = []
    for _ in range(400):
        links = [f"{case(draw.choice(schemes), draw)}{draw.choice(['://', ':', ':/', ':///'])}" for _ in range(2)]
        rows.append(draw.choice(["::", "", "/"]).join([links[0], *links[1 : draw.randint(1, 2)], str(secret)]))
    memory.pipe("/b/list.txt", "\n".join(rows).encode())
    for item in sources.items("memory://b/list.txt"):
        if isinstance(item.image, ImageError):
            assert len(str(item.image).splitlines()) == 1
        else:
            assert item.image.system.protocol in ("memory", ("http", "https")), item


class Endless(BaseHTTPRequestHandler):
    """/page: a page without end; /self: a folder in itself; /in: folders without files; /body: a file without end;
    /to: redirects; /tags: a page of unfinished tags. asked : the paths so far."""

    asked: list[str]

    def do_HEAD(self):
        self.answer(200, b"")

    def do_GET(self):
        self.server.asked.append(self.path)
        first = self.path.split("/")[1]
        if first == "to":
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif first in ("page", "body"):
            self.send_response(206 if "Range" in self.headers else 200)
            self.send_header("Content-Type", "text/html" if first == "page" else "image/png")
            self.end_headers()
            line = b'<a href="%d.png">x</a>\n' if first == "page" else b"%d"
            try:
                for n in range(2**40):
                    self.wfile.write(b"".join(line % (n * 1000 + i) for i in range(1000)))
            except OSError:
                self.close_connection = True
        else:
            pages = {
                "self": b'<a href="a.png">a</a> <a href="x/">x</a> <a href="y/">y</a>',
                "in": b'<a href="x/">x</a> <a href="y/">y</a>',
                "tags": b"<a " * 2**20 + b'<a href="b.png">' + b"href" * 2**18,
                "l.txt": b"http://127.0.0.1:%d/to/file:///etc/hostname\n" % self.server.server_port,
            }
            self.answer(200, pages[first])

    def answer(self, status, data):
        self.send_response(status)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


@pytest.fixture
def endless():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Endless)
    server.asked = []
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_folder_on_the_web_that_holds_itself_is_left_out(endless):
    server, address = endless
    left_out = LeftOut()
    found = [item.path for item in sources.items(f"{address}/self", left_out)]
    assert found == ["a.png", "x/a.png", "y/a.png"]
    assert left_out.count(remote.CIRCLE) == 4
    assert sorted(names(f"{address}/self/**/*.png")) == ["a.png", "x/a.png", "y/a.png"]
    assert len(server.asked) < 20


def test_folders_of_folders_without_end_end(endless):
    _, address = endless
    system, path = addresses.reach(f"{address}/in")
    with pytest.raises(DataError, match=r"is the last of 50 folders in a row without a file; name a folder of images"):
        list(remote._folders(system, path, remote._entries(system, path), LeftOut(), empty=50))


def test_a_page_without_end_is_one_line(endless):
    _, address = endless
    system, _ = addresses.reach(address)
    with pytest.raises(ValueError, match="this folder has more than 2 links; name a list instead"):
        system.ls(f"{address}/self/", links=2)
    with pytest.raises(ValueError, match="the page of this folder has more than 100,000 bytes"):
        system.ls(f"{address}/page/", page=100_000)


def test_a_page_of_unfinished_tags_is_read_in_linear_time(endless):
    """A regular expression of fsspec needs hours for it."""
    _, address = endless
    assert names(f"{address}/tags") == ["b.png"]


def test_a_body_without_end_is_read_up_to_the_bound(endless):
    _, address = endless
    (item,) = sources.items(f"{address}/body/a.png")
    with pytest.raises(ImageError, match=r"body/a\.png: has more than 1,000,000 bytes"):
        item.image.fetch(1_000_000)


@pytest.mark.parametrize(
    "target", ["file:///etc/hostname", "FILE:///etc/hostname", "local:///etc/hostname", "ftp://h/x"]
)
def test_a_redirect_leads_to_the_web_only(endless, target):
    server, address = endless
    (item,) = sources.items(f"{address}/to/{target}.png")
    with pytest.raises(ImageError, match=r"^http://127\.0\.0\.1.*: "):
        item.image.fetch()
    assert listed(f"{address}/l.txt")[0][2] is None
    assert all(path.startswith(("/to/", "/l.txt")) for path in server.asked)


@pytest.mark.parametrize(
    ("link", "target"),
    [
        ("a.png", "http://h/d/a.png"), ("/d/a.png", "http://h/d/a.png"), ("http://h/d/a/", "http://h/d/a/"),
        ("https://h/d/a", "https://h/d/a"), ("../", None), ("/e/a.png", None), ("http://other/d/a.png", None),
    ],
)  # fmt: skip
def test_links_of_a_page_lead_into_its_folder(link, target):
    assert web._inside(link, "http://h/d/") == target
