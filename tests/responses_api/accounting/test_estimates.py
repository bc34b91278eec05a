"""Estimates follow what a request holds, not the bytes it takes."""

from __future__ import annotations

import base64
import struct
import zlib
from typing import Any

import orjson
from hypothesis import given
from hypothesis import strategies as st

from responses_api.accounting import expected_tokens
from responses_api.accounting.estimates import (
    AUDIO_TOKENS_PER_SECOND,
    IMAGE_TOKENS,
    MOST_TILES,
    TILE_TOKENS,
    Estimate,
    estimate,
)
from responses_api.accounting.media import Base64, image_size
from responses_api.doors.chat import request as chat
from responses_api.doors.registry import CHAT
from tests.plugins.cases import cases

Json = dict[str, Any]
LARGEST = IMAGE_TOKENS + MOST_TILES * TILE_TOKENS


def png(width: int, height: int, padding: int = 0) -> bytes:
    head = struct.pack(">II5B", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(head)) + b"IHDR" + head
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", zlib.crc32(chunk[4:])) + bytes(padding)


def jpeg(width: int, height: int, exif: int = 100) -> bytes:
    """Return an image with a thumbnail's size in its EXIF part, which is not the image's."""
    thumbnail = b"\xff\xc0\x00\x11\x08" + struct.pack(">HH", 9, 9)
    app = thumbnail + bytes(max(exif - len(thumbnail), 0))
    head = b"\xff\xd8\xff\xe1" + struct.pack(">H", len(app) + 2) + app
    return head + b"\xff\xff\xc2\x00\x11\x08" + struct.pack(">HH", height, width) + bytes(50)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + bytes(20)


def webp(kind: bytes, width: int, height: int) -> bytes:
    lossless = (width - 1 | height - 1 << 14).to_bytes(4, "little")
    extended = bytes(4) + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    rest = {
        b"VP8 ": b"\0\0\0\x9d\x01\x2a" + struct.pack("<HH", width, height),
        b"VP8L": b"\x2f" + lossless,
        b"VP8X": extended,
    }[kind]
    return b"RIFF" + bytes(4) + b"WEBP" + kind + bytes(4) + rest + bytes(10)


def wav(seconds: int, rate: int = 16_000, channels: int = 1, bits: int = 16) -> bytes:
    size = seconds * rate * channels * bits // 8
    form = struct.pack("<HHIIHH", 1, channels, rate, 7, 7, bits)
    return b"RIFF" + bytes(4) + b"WAVEfmt " + struct.pack("<I", 16) + form + bytes(size)


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def of_parts(*parts: Json, window: int | None = None) -> Estimate:
    body = {"messages": [{"role": "user", "content": list(parts)}]}
    return estimate(body, len(orjson.dumps(body)), window)


def url_part(data: bytes, detail: str = "auto") -> Json:
    url = f"data:image/png;base64,{encoded(data)}"
    return {"type": "image_url", "image_url": {"url": url, "detail": detail}}


sides = st.integers(1, 16_000)


@given(width=sides, height=sides, exif=st.integers(0, 60_000))
def test_the_size_of_an_image_is_read_from_its_head(width: int, height: int, exif: int) -> None:
    images = [png(width, height), jpeg(width, height, exif), gif(width, height)]
    images += [webp(kind, width, height) for kind in (b"VP8 ", b"VP8L", b"VP8X")]
    for image in images:
        assert image_size(Base64(encoded(image))) == (width, height), image[:16]


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"RIFF"]))
def test_whatever_an_image_is_made_of_it_has_a_size_or_none(data: bytes, magic: bytes) -> None:
    found = image_size(Base64(encoded(magic + data)))
    assert found is None or min(found) >= 0
    assert image_size(Base64(data.decode("latin-1"))) is None or data


def test_an_image_counts_by_its_pixels_and_not_by_its_bytes() -> None:
    large, small = of_parts(url_part(png(2000, 1500, 3_000_000))), of_parts(url_part(png(64, 64)))
    assert large.fair < 1_000
    assert large.fair - small.fair == 3 * TILE_TOKENS
    assert large.bound < 30_000
    assert small.bound < large.bound


@cases(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
        {"type": "input_image", "image_url": "https://example.com/a.png"},
        {"type": "input_image", "file_id": "file-1"},
        {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}},
        {"type": "image", "source": {"type": "base64", "data": "bm8gaW1hZ2U="}},
        {"type": "tool_result", "content": [{"type": "image", "source": {"url": "https://e.com"}}]},
    ],
)
def test_an_image_whose_size_is_not_known_counts_as_the_largest(part: Json) -> None:
    assert LARGEST <= of_parts(part).fair < LARGEST + 50


def test_a_recording_counts_by_its_seconds() -> None:
    def of_audio(data: bytes) -> Estimate:
        return of_parts({"type": "input_audio", "input_audio": {"data": encoded(data)}})

    assert of_audio(wav(60)).fair - of_audio(wav(10)).fair == 50 * AUDIO_TOKENS_PER_SECOND
    assert of_audio(wav(60, rate=48_000, channels=2)).fair == of_audio(wav(60)).fair
    minute_of_mp3 = bytes(60 * 8_000)
    assert 600 <= of_audio(minute_of_mp3).fair < 700
    assert of_audio(minute_of_mp3).bound > 5 * of_audio(wav(60)).bound


def test_a_file_counts_by_its_kind() -> None:
    def of_file(name: str, data: bytes) -> Estimate:
        part = {"filename": name, "file_data": f"data:application/x;base64,{encoded(data)}"}
        return of_parts({"type": "file", "file": part})

    text = of_file("a.csv", bytes(400_000))
    assert 100_000 <= text.fair < 100_100
    assert 400_000 <= text.bound < 401_000
    assert of_file("a.pdf", bytes(400_000)).fair < 20_000


def test_a_file_that_calls_itself_an_image_and_its_name_a_text_is_bounded_by_the_dearer_reading() -> (
    None
):
    def of_image(name: str) -> Estimate:
        data = encoded(png(64, 64, 400_000))
        return of_parts(
            {"type": "input_file", "filename": name, "file_data": f"data:image/png;base64,{data}"}
        )

    image, text = of_image("a.png"), of_image("a.csv")
    assert image.bound < 30_000
    assert text.bound >= 400_000
    assert text.fair - image.fair < 100


@given(st.lists(st.sampled_from(["url", "image", "audio", "file"]), max_size=5), st.integers(0, 9))
def test_attachments_never_have_more_than_the_window(kinds: list[str], text: int) -> None:
    made = {
        "url": {"type": "input_image", "image_url": "https://example.com"},
        "image": url_part(png(4000, 4000, 5_000)),
        "audio": {"type": "input_audio", "input_audio": {"data": encoded(bytes(90_000))}},
        "file": {"type": "input_file", "file_url": "https://example.com/a.pdf"},
    }
    parts = [made[kind] for kind in kinds]
    body = {
        "input": [{"role": "user", "content": [*parts, {"type": "input_text", "text": "x" * text}]}]
    }
    size = len(orjson.dumps(body))
    whole, limited = estimate(body, size), estimate(body, size, 10_000)
    assert limited.fair <= limited.bound <= size + 10_000
    assert limited.bound <= whole.bound
    assert whole.fair <= whole.bound


nested: Any = st.recursive(
    st.none()
    | st.booleans()
    | st.just(7)
    | st.sampled_from(["", "data:,", "AAAA", "image_url", "input_audio", "file", "document"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["type", "content", "image_url", "url", "source", "data", "output", "file"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.sampled_from(["messages", "input", "system"]), st.lists(nested, max_size=3))
)
def test_nothing_a_client_writes_makes_estimating_fail(body: Json) -> None:
    found = estimate(body, len(orjson.dumps(body, default=str)))
    assert 0 <= found.fair <= found.bound


def test_text_is_a_token_per_four_bytes_and_at_most_one_per_byte() -> None:
    body = {"input": "x" * 4_000}
    assert estimate(body, 4_020) == Estimate(1_005, 4_020)


def test_limits_of_tokens_count_every_choice() -> None:
    said = [{"role": "user", "content": "Hi"}]
    body = {"model": "m", "messages": said, "max_tokens": 100}
    one = chat.decode(orjson.dumps(body))
    four = chat.decode(orjson.dumps({**body, "n": 4}))
    assert expected_tokens.of_call(CHAT, four) - expected_tokens.of_call(CHAT, one) in range(
        300, 303
    )
