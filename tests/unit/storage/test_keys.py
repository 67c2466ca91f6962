import mimetypes

import pytest

from app.storage.keys import check_key, media_type


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("plans/a/image-0000/picture.png", "image/png"),
        ("plans/a/image-0000/picture.jpeg", "image/jpeg"),
        ("plans/a/image-0000/picture.webp", "image/webp"),
        ("plans/a/image-0000/picture.jxl", "image/jxl"),
        ("plans/a/image-0000/picture.tiff", "image/tiff"),
        ("plans/a/image-0000/core-00001", "application/octet-stream"),
    ],
)
def test_a_picture_is_told_to_a_browser_where_the_system_has_no_list(key, kind, monkeypatch):
    monkeypatch.setattr(mimetypes, "_db", mimetypes.MimeTypes(filenames=()))

    assert media_type(key) == kind


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("plans/a/image-0000/thumbnail.jpg", "image/jpeg"),
        ("plans/a/image-0000/picture.dzi", "application/xml"),
        ("plans/a/image-0000/picture_files/12/64_7.jpg", "image/jpeg"),
        ("plans/a/image-0000/picture.webp", "image/webp"),
        ("plans/a/image-0000/head", "application/octet-stream"),
    ],
)
def test_a_browser_is_told_what_a_blob_is(key, expected):
    assert check_key(key) == key
    assert media_type(key) == expected
