from motet.core.media import Media


def test_the_digest_is_computed_once_and_kept_under_another_type() -> None:
    media = Media("", b"bytes")

    digest = media.sha256

    assert media.sha256 is digest
    assert media.with_type("x/a").sha256 is digest


def test_a_known_digest_changes_neither_equality_nor_repr_nor_hash() -> None:
    media, other = Media("x/a", b"bytes"), Media("x/a", b"bytes")
    before = repr(media)

    assert media.sha256 != Media("x/a", b"other bytes").sha256
    assert (media, hash(media), repr(media)) == (other, hash(other), before)
    assert before == "Media(media_type='x/a', data=b'bytes')"
    assert media.with_type("x/b") == Media("x/b", b"bytes")
