"""Fields on the stream: any field comes back, any bytes give a field or a record error."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from icm.codec.bundle.loading import Bundle
from icm.codec.entropy.coder import check_spent, coder_of, new_coder, payload_of
from icm.codec.latents.field import Field, Mode
from icm.codec.motion.coding import FieldTables, pop_field, push_field
from icm.errors import BundleError, RecordError
from tests.icm.codec.motion.fields import fields

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))


@settings(max_examples=150, deadline=None)
@given(st.data(), sizes)
def test_a_field_after_any_other_comes_back(codec: Bundle, data: st.DataObject, size: tuple[int, int]) -> None:
    assert codec.motion is not None
    field, last = data.draw(fields(*size)), data.draw(fields(*size))
    foreground = np.random.default_rng(data.draw(st.integers(0, 99))).random(size) < 0.3
    coder = new_coder()
    push_field(coder, field, last, foreground, codec.motion.tables)
    coder = coder_of(payload_of(coder))
    decoded = pop_field(coder, last, foreground, codec.motion.tables)
    check_spent(coder)
    assert (decoded.modes == field.modes).all()
    assert (decoded.vectors == field.vectors).all()
    assert decoded.global_motion == field.global_motion


@settings(max_examples=200, deadline=None)
@given(st.data(), sizes, st.binary(max_size=200))
def test_any_bytes_give_a_field_or_a_record_error(
    codec: Bundle, data: st.DataObject, size: tuple[int, int], payload: bytes
) -> None:
    assert codec.motion is not None
    last = data.draw(fields(*size))
    try:
        field = pop_field(coder_of(payload[: len(payload) // 4 * 4]), last, np.zeros(size, bool), codec.motion.tables)
    except RecordError:
        return
    assert field.modes.shape == size
    assert field.modes.max() < len(Mode)


@pytest.mark.parametrize("speed", [(0, 3), (-5, 2)])
def test_a_crowd_that_walks_the_same_way_takes_a_few_bits_a_position(codec: Bundle, speed: tuple[int, int]) -> None:
    assert codec.motion is not None
    modes = np.zeros((20, 30), np.uint8)
    modes[4:16, 5:25] = Mode.MOTION
    vectors = np.zeros((2, 40, 60), np.int8)
    vectors[:, 8:32, 10:50] = np.array(speed)[:, None, None]
    field, coder = Field(modes, vectors), new_coder()
    push_field(coder, field, field, np.zeros(modes.shape, bool), codec.motion.tables)
    assert 8 * len(payload_of(coder)) < 4 * 12 * 20


def test_tables_of_another_format_are_refused(codec: Bundle) -> None:
    assert codec.motion is not None
    tables = codec.motion.tables
    with pytest.raises(BundleError, match="do not fit the format"):
        FieldTables(tables.skip_map_tables, tables.choices, tables.modes, tables.offsets)
