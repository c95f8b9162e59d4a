"""The server of the explorer: who may ask, and what can be asked for."""

import io
import json

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("starlette", reason="needs starlette")

from tests.kit.explorers import CLASSES, TOKEN, photo_store, record, serving, write_store
from vggfeat.decisions import Decision, read_decisions
from vggfeat.explore.collection import read_collection
from vggfeat.explore.desk import Desk
from vggfeat.explore.photos import CHANGED, GONE, GREY, NO_FOLDER, OUTSIDE, UNREADABLE
from vggfeat.explore.settings import ExploreSettings
from vggfeat.explore.sheets import ACROSS, SMALL

POLICY = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


def picture(answer):
    with Image.open(io.BytesIO(answer.data)) as image:
        assert image.format == "JPEG"
        return np.asarray(image.convert("RGB")).astype(int)


def test_the_page_is_served_with_a_strict_policy(site):
    for path in ("", "main.js", "state", "sheet/0", "nothing"):
        answer = site(path)
        assert answer.status == (404 if path == "nothing" else 200)
        assert answer.headers["Content-Security-Policy"] == POLICY
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert "Set-Cookie" not in answer.headers


def test_nothing_is_served_without_the_token(site):
    for path in ("", "state", "main.js", "sheet/0", "photo/0", "../x"):
        for token in ("/", "//", "/wrong/", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", f"//{TOKEN}/", f"/x/{TOKEN}/"):
            answer = site(path, token=token)
            assert answer.status == 403, (token, path)
            assert b"whole address" in answer.data


def test_another_host_is_refused(site):
    for host in ("evil.example", f"evil.example:{site.port}", "127.0.0.1.evil.example", "0.0.0.0", "@127.0.0.1", ""):
        assert site("state", host=host).status == 400, host
    assert site("state", host=f"localhost:{site.port}").status == 200


ROWS = ("30", "-1", "99999999999999999999", "0x1", "1.5", "a", "..", "%2e%2e", "red%2f0.jpg", "%C2%B2", "1%00", "")


def test_only_numbers_of_rows_are_answered(site):
    for path in ("photo/", "row/", "tiles/", "sheet/"):
        for row in ROWS:
            assert site(path + row).status in (404, 405), path + row


def test_only_a_few_large_thumbnails_are_made_at_once(site):
    assert site("tiles/" + ",".join(["1"] * 32)).status == 200
    assert site("tiles/" + ",".join(["1"] * 33)).status == 404


PATHS = ("../photos.py", "..%2fphotos.py", "%2e%2e/photos.py", "..\\photos.py", "/etc/passwd", "photo/../../photos.py")


def test_no_file_outside_the_page_is_served(site):
    for path in PATHS:
        answer = site(path)
        assert answer.status in (403, 404), path
        assert b"import" not in answer.data


def test_photos_are_decoded_and_encoded_again(site, desk):
    for row in (0, 7):
        whole = picture(site(f"photo/{row}"))
        assert whole.shape == (60, 80, 3)
        assert np.abs(whole - CLASSES[desk.collection.labels[row]]).max() < 8
    sheet = picture(site("sheet/0"))
    assert sheet.shape == (ACROSS * SMALL, ACROSS * SMALL, 3)
    for row in (0, 17, 29):  # 16 in a line
        y, x = (row // 16) * SMALL + SMALL // 2, (row % 16) * SMALL + SMALL // 2
        assert np.abs(sheet[y, x] - CLASSES[desk.collection.labels[row]]).max() < 12
    assert np.abs(sheet[-1, -1] - GREY).max() < 5  # no row


def test_a_row_has_its_nearest_photos(site, desk):
    found = json.loads(site("row/3").data)
    cosines = desk.collection.X @ desk.collection.X[3]
    order = [row for row in np.argsort(-cosines) if row != 3]
    assert [one["row"] for one in found["neighbours"]] == order[: len(found["neighbours"])]
    assert [one["cosine"] for one in found["neighbours"]] == pytest.approx(
        cosines[order][: len(found["neighbours"])].tolist()
    )
    assert found["name"] == desk.collection.names[3]


def test_the_map_has_a_place_for_each_photo(site):
    places = np.frombuffer(site("map").data, "<f4").reshape(-1, 2)
    assert places.shape == (30, 2)
    assert places.min() >= 0
    assert places.max() <= 1
    classes = np.frombuffer(site("classes").data, "<i4")
    assert np.bincount(classes).tolist() == [10, 10, 10]


def test_decisions_are_kept_in_a_file_beside_the_store(site, desk, tmp_path):
    def decide(**order):
        return site("decide", body=json.dumps({"label": "", "reason": "", **order}).encode())

    desk.decisions_file.write_text("path,decision,label,reason\nelsewhere.jpg,keep,,of another store\n")
    assert decide(rows=[1, 2], decision="remove", reason="blurred").status == 200
    assert json.loads(decide(rows=[2], decision="relabel", label="grün").data)[1]["label"] == "grün"
    one, two = desk.collection.names[1:3]
    expected = {
        "elsewhere.jpg": Decision("keep", "", "of another store"),
        one: Decision("remove", "", "blurred"),
        two: Decision("relabel", "grün"),
    }
    assert read_decisions(desk.decisions_file) == expected
    assert desk.decisions_file == desk.collection.store.path.with_name("s.decisions.csv")
    assert [found["row"] for found in json.loads(decide(rows=[1], decision=None).data)] == [2]
    assert decide(rows=[30], decision="keep").status == 404
    assert decide(rows=[-1], decision="keep").status == 404
    assert decide(rows=[1], decision="burn").status == 400
    assert decide(rows=[1], decision="keep", label="x").status == 400
    assert decide(rows=[1], decision="keep", reason="x" * 1001).status == 400
    assert site("decide", body=b"{").status == 400
    assert site("decide", token="/", body=b"{}").status == 403
    desk.decisions_file.write_text("path,decision\n")
    refused = decide(rows=[1], decision="keep")
    assert refused.status == 422
    assert b"its columns are not path,decision,label,reason" in refused.data


def test_an_image_that_is_no_image_is_one_line(site):
    answer = site("search", body=b"<svg onload=alert(1)>")
    assert answer.status == 422
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert b"\n" not in answer.data


def test_photos_outside_the_source_are_refused(tmp_path):
    """Links out of the source, names that lead out of it, and files of other kinds are a grey picture and a count."""
    photos, secret = tmp_path / "photos", tmp_path / "secret.png"
    photos.mkdir()
    Image.new("RGB", (40, 40), "red").save(secret)
    (photos / "link.jpg").symlink_to(secret)
    (photos / "folder").symlink_to(tmp_path)
    (photos / "page.jpg").write_text("<script>alert(1)</script>")
    Image.new("RGB", (40, 40), "lime").save(photos / "good.png")
    (photos / "inside.jpg").symlink_to(photos / "good.png")
    names = [
        "link.jpg",
        "folder/secret.png",
        "../secret.png",
        str(secret),
        "page.jpg",
        "gone.jpg",
        "good.png",
        "inside.jpg",
    ]
    rows = [record(name, None, np.ones(4, np.float32)) for name in names]
    collection = read_collection(write_store(tmp_path / "s.vggfeat", rows, photos))
    with serving(Desk(collection, ExploreSettings())) as site:
        for row, name in enumerate(collection.names):
            colour = [0, 255, 0] if name in ("good.png", "inside.jpg") else [GREY] * 3
            assert np.abs(picture(site(f"photo/{row}"))[5, 5] - colour).max() < 6, name
            assert np.abs(picture(site(f"tiles/{row}"))[5, 5] - colour).max() < 6, name
        assert json.loads(site("state").data)["missing"] == {OUTSIDE: 4, UNREADABLE: 1, GONE: 1}


def test_a_photo_that_has_changed_is_not_shown(tmp_path):
    path = photo_store(tmp_path, each=2)
    Image.new("RGB", (80, 60), "white").save(tmp_path / "photos" / "red" / "0.jpg")
    desk = Desk(read_collection(path), ExploreSettings())
    desk.sheets.small(0)
    assert desk.photos.missing() == {CHANGED: 1}


def test_photos_that_were_moved_are_found_with_their_folder(tmp_path):
    path = photo_store(tmp_path, each=2)
    (tmp_path / "photos").rename(tmp_path / "moved")
    collection = read_collection(path)
    lost = Desk(collection, ExploreSettings())
    lost.sheets.small(0)
    assert lost.photos.missing() == {NO_FOLDER: 6}
    found = Desk(collection, ExploreSettings(photos=tmp_path / "moved"))
    found.sheets.small(0)
    assert not found.photos.missing()
