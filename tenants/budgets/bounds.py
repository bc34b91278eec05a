"""How many tokens a request can have at most, without a tokenizer."""

from __future__ import annotations

# No tokenizer makes more than one token of a byte.
TOKENS_PER_BYTE = 1
# OpenAI's dearest image at high detail: 768 x 2048 pixels in tiles of 512 are 8 x 170 + 85 tokens
# (https://platform.openai.com/docs/guides/images-vision); doubled for models that count otherwise.
TOKENS_PER_IMAGE = 3_000


def input_bound(request_bytes: int, images: int) -> int:
    """A number of input tokens that the request does not exceed. An image sent along in base64 counts by
    its bytes, which is more than it has."""
    return request_bytes * TOKENS_PER_BYTE + images * TOKENS_PER_IMAGE
