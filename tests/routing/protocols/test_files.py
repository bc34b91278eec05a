"""Data URLs of files and images, whatever they are made of."""

from __future__ import annotations

import base64
import tracemalloc
from urllib.parse import unquote_to_bytes

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway_project.lib.errors import BadRequest
from routing.protocols.shared import files

MEGABYTE = 1024 * 1024

hexadecimal = st.text("0123456789abcdefABCDEF", min_size=2, max_size=2)
escapes = hexadecimal.map(lambda digits: "%" + digits)
plain = st.text(st.sampled_from("=4A \r\n,;é😀"), max_size=4)
well_formed = st.lists(escapes | plain).map("".join)
broken = st.sampled_from(["%", "%4", "%zz", "%\n", "%\r\n", "%%41", "%=", "%4\n"])


@given(text=well_formed)
def test_escaped_content_is_decoded_as_everybody_does(text):
    content = files.in_data_url(f"data:text/plain;charset=utf-8,{text}", "file_data")
    assert content is not None
    assert base64.b64decode(content.data) == unquote_to_bytes(text)


@given(before=well_formed, fault=broken, after=st.just("") | plain.map(" {}".format))
def test_an_escape_that_is_none_is_refused_by_name(before, fault, after):
    with pytest.raises(BadRequest) as refused:
        files.in_data_url(f"data:text/plain,{before}{fault}{after}", "input[0].file_data")
    assert refused.value.param == "input[0].file_data"


@pytest.mark.parametrize("unit", ["%41", "%4", "%", ";"])
def test_content_of_escapes_takes_no_objects_of_their_own(unit):
    """Ten million of them kept a worker busy until it was taken for stuck and killed."""
    url = f"data:text/plain;x{',' if unit != ';' else ''}{unit * (MEGABYTE // len(unit))},"
    tracemalloc.start()
    try:
        files.in_data_url(url, "file_data")
    except BadRequest:
        assert unit in {"%4", "%"}
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 8 * len(url)
