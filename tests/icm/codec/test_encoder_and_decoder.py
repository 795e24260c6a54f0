"""Encoder and decoder together, on the shipped bundle."""

from __future__ import annotations

from copy import copy
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from icm.codec.bitstream.record import Kind, Record
from icm.codec.bundle.loading import Bundle
from icm.codec.decoder import Decoder
from icm.codec.encoder import CodedFrame, Encoder, recode_intra
from icm.codec.predict.skip import RD_LAMBDA
from icm.errors import ConfigError, ImageError, RecordError, ReferenceMissingError
from tests.bundles import ICM_1


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.square(a.astype(float) - b).mean()
    return float(10 * np.log10(255**2 / error))


def test_a_picture_comes_back_in_its_size_and_alike(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    record = Encoder(codec).encode(scene, 5).record(1, 0)
    decoded = Decoder(codec).decode(record, 150, 100)
    assert decoded.shape == scene.shape
    assert decoded.dtype == np.uint8
    assert psnr(decoded, scene) > 24


def test_a_higher_level_costs_more_bits_and_comes_closer(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    records = [encoder.encode(scene, level, intra=True).record(1, 0) for level in range(codec.levels)]
    lengths = [len(record.payload) for record in records]
    assert lengths == sorted(lengths)
    closeness = [psnr(decoder.decode(record, 150, 100), scene) for record in records]
    assert closeness[-1] > closeness[3] > closeness[0]


def test_a_level_in_between_lies_in_between(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    low, middle, high = (len(Encoder(codec).encode(scene, quality).payload) for quality in (3, 3.5, 4))
    assert low < middle < high


def test_the_same_picture_gives_the_same_bytes(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    assert Encoder(codec).encode(scene, 3) == Encoder(codec).encode(scene, 3)


def test_channels_keep_their_colour(codec: Bundle) -> None:
    for channel in range(3):
        image = np.full((64, 64, 3), 40, np.uint8)
        image[:, :, channel] = 200
        decoded = Decoder(codec).decode(Encoder(codec).encode(image, 6).record(1, 0), 64, 64)
        assert decoded.mean((0, 1)).argmax() == channel


@pytest.mark.parametrize("size", [(1, 1), (15, 17), (16, 16), (3, 200)])
def test_any_size_can_be_coded(codec: Bundle, size: tuple[int, int]) -> None:
    image = np.full((*size, 3), 128, np.uint8)
    decoded = Decoder(codec).decode(Encoder(codec).encode(image, 4).record(1, 0), size[1], size[0])
    assert decoded.shape == image.shape


def test_a_record_whose_latents_are_not_the_promised_ones_is_refused(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    record = Encoder(codec).encode(scene, 3).record(4, 0)
    with pytest.raises(RecordError, match="record 4 decodes to latents with digest"):
        Decoder(codec).latents(replace(record, digest=record.digest ^ 1), 150, 100)


def test_a_bundle_from_before_motion_codes_without_it_and_refuses_records_with_it(scene: NDArray[np.uint8]) -> None:
    codec = Bundle.load(ICM_1, threads=1)
    earlier = copy(codec)
    earlier.motion = None
    encoder, updated = Encoder(earlier), np.roll(scene, 5, 1)
    frames = [encoder.encode(picture, 3) for picture in (scene, updated, scene)]
    assert not any(frame.motion for frame in frames)
    decoder = Decoder(codec)  # which learned motion since, and still reads these
    for number, frame in enumerate(frames, 1):
        assert (decoder.latents(frame.record(number, 0), 150, 100).values == frame.latents.values).all()
    encoder = Encoder(codec)
    first, second = (encoder.encode(picture, 3).record(n, 0) for n, picture in enumerate((scene, updated), 1))
    assert second.motion
    decoder = Decoder(earlier)
    decoder.latents(first, 150, 100)
    with pytest.raises(RecordError, match="record 2 is a P record with motion, of which icm-1 has none"):
        decoder.latents(second, 150, 100)


@pytest.mark.parametrize("quality", [113, 128, 255])
@pytest.mark.parametrize("kind", list(Kind))
def test_a_quality_above_the_best_level_is_refused_though_all_else_fits(
    codec: Bundle, scene: NDArray[np.uint8], kind: Kind, quality: int
) -> None:
    if kind is Kind.P:  # without motion, which is the kind that can be coded at any quality
        codec = Bundle.load(ICM_1, threads=1)
    encoder, decoder = Encoder(codec), Decoder(codec)
    held = decoder.latents(encoder.encode(scene, 7).record(1, 0), 150, 100)
    forged = replace(held, updated=np.zeros_like(held.updated), quality=quality)
    if kind is Kind.I:
        payload = codec.entropy.encode(forged)
    else:
        payload = codec.temporal.encode(forged, held.values, held.updated, codec.entropy.level(quality))
    record = Record(2, 0, kind, int(kind is Kind.P), quality, forged.digest(), payload)
    with pytest.raises(RecordError, match="best level is 7"):
        decoder.decode(record, 150, 100)


def moving_square(scene: NDArray[np.uint8], steps: int) -> list[NDArray[np.uint8]]:
    """The scene with a dark square that moves three pixels from picture to picture."""
    pictures = []
    for step in range(steps):
        picture = scene.copy()
        picture[30:60, 10 + 3 * step : 40 + 3 * step] = 20
        pictures.append(picture)
    return pictures


def cost(codec: Bundle, picture: NDArray[np.uint8], coded: CodedFrame) -> float:
    """What an encoder makes small: squared error in quantisation steps, and bits by what they are worth."""
    wanted = codec.analysis.scaled(picture, codec.gains(coded.quality), codec.level_shares(coded.quality))
    return float(np.square(wanted - coded.latents.values).sum() + RD_LAMBDA * 8 * len(coded.payload))


def test_a_camera_that_stands_still_sends_one_i_record_and_then_small_p_records(
    codec: Bundle, scene: NDArray[np.uint8]
) -> None:
    encoder = Encoder(codec)
    coded = [encoder.encode(picture, 4) for picture in moving_square(scene, 6)]
    assert [frame.kind for frame in coded] == [Kind.I] + [Kind.P] * 5
    assert all(len(frame.payload) < len(coded[0].payload) / 2 for frame in coded[1:])


def test_p_records_come_back_as_close_as_i_records(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    for number, picture in enumerate(moving_square(scene, 6), 1):
        decoded = decoder.decode(encoder.encode(picture, 4).record(number, 0), 150, 100)
        intra = Decoder(codec).decode(Encoder(codec).encode(picture, 4).record(1, 0), 150, 100)
        assert psnr(decoded, picture) > psnr(intra, picture) - 1.0


@pytest.mark.parametrize(("first", "then"), [(2, 5), (5, 2), (3, 3.5), (6, 0)])
def test_a_change_of_quality_needs_no_i_record_and_drifts_nowhere(
    codec: Bundle, scene: NDArray[np.uint8], first: float, then: float
) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    pictures = moving_square(scene, 6)
    for number, picture in enumerate(pictures, 1):
        coded = encoder.encode(picture, first if number <= 3 else then)
        decoded = decoder.decode(coded.record(number, 0), 150, 100)
    assert coded.kind is Kind.P
    intra = Encoder(codec).encode(pictures[-1], then)
    assert cost(codec, pictures[-1], coded) < cost(codec, pictures[-1], intra)
    closeness = [psnr(decoded, pictures[-1])]
    for number in range(7, 12):
        coded = encoder.encode(pictures[-1], then)
        closeness.append(psnr(decoder.decode(coded.record(number, 0), 150, 100), pictures[-1]))
    assert min(closeness) > closeness[0] - 0.05


def test_a_scene_cut_is_coded_alone_where_that_is_cheaper(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(3)
    other = random.integers(0, 256, scene.shape, np.uint8)
    encoder = Encoder(codec)
    encoder.encode(other, 4)
    cut = encoder.encode(scene, 4)
    assert len(cut.payload) <= len(Encoder(codec).encode(scene, 4).payload)


def test_an_encoder_that_forgets_starts_again_with_an_i_record(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    encoder = Encoder(codec)
    encoder.encode(scene, 4)
    encoder.forget()
    assert encoder.encode(scene, 4).kind is Kind.I
    assert encoder.encode(scene, 4).kind is Kind.P
    assert encoder.encode(scene[:64], 4).kind is Kind.I
    assert encoder.encode(scene[:64], 4, intra=True).kind is Kind.I


def test_any_decoded_frame_can_be_coded_alone_without_loss_and_the_stream_goes_on_from_it(
    codec: Bundle, scene: NDArray[np.uint8]
) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    records = [encoder.encode(picture, 4).record(n, 0) for n, picture in enumerate(moving_square(scene, 4), 1)]
    latents = [decoder.latents(record, 150, 100) for record in records]
    intra = recode_intra(codec, latents[2]).record(3, 0)
    assert intra.kind is Kind.I
    assert intra.digest == records[2].digest
    late = Decoder(codec)
    assert (late.latents(intra, 150, 100).values == latents[2].values).all()
    assert late.latents(records[3], 150, 100).digest() == records[3].digest


def test_a_p_record_without_its_reference_says_which_is_missing(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    encoder, decoder = Encoder(codec), Decoder(codec)
    first, second, third = (encoder.encode(p, 3).record(n, 0) for n, p in enumerate(moving_square(scene, 3), 7))
    decoder.latents(first, 150, 100)
    with pytest.raises(ReferenceMissingError, match="record 9 refers to record 8"):
        decoder.latents(third, 150, 100)
    decoder.latents(second, 150, 100)
    decoder.latents(third, 150, 100)


def test_a_level_that_the_bundle_lacks_is_refused(codec: Bundle, scene: NDArray[np.uint8]) -> None:
    with pytest.raises(ConfigError, match="levels 0 to 7"):
        Encoder(codec).encode(scene, 7.5)


@pytest.mark.parametrize("shape", [(10, 10), (10, 10, 4), (10, 20_000, 3), (0, 10, 3)])
def test_what_is_no_picture_is_refused(codec: Bundle, shape: tuple[int, ...]) -> None:
    with pytest.raises(ImageError):
        Encoder(codec).encode(np.zeros(shape, np.uint8), 3)
