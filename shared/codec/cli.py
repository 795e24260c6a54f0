"""The ``icm`` command: the codec on files."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shared.codec.bundle import DEFAULT_BUNDLE, Bundle
from shared.codec.codec import Decoder, Encoder
from shared.codec.doctor import examine
from shared.codec.latents import QUALITY_STEPS
from shared.codec.media import PICTURES, VIDEOS, LosslessVideo, open_video, read_picture, write_picture
from shared.codec.record import Record, StreamHeader, parse_stream
from shared.errors import CodecMismatchError, ConfigError, IcmError, ImageError, RecordError

SUFFIX = ".icm"
_CAMERA = "file"


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command.

    Returns:
        0 on success; 1 where ``doctor`` found a fault; 2, with one line on stderr, when it could not; 3 when it did
        what could be done and something is missing, which stderr names.
    """
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except IcmError as error:
        print(f"icm: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("icm: interrupted; files already finished are kept", file=sys.stderr)
        return 130
    return status


class _Shortfalls:
    """What is missing of what a command was given. Each is said at once."""

    def __init__(self) -> None:
        self._any = False

    def add(self, text: str) -> None:
        self._any = True
        _say(text)

    @property
    def status(self) -> int:
        """The command's exit status."""
        return 3 if self._any else 0


def _say(text: str) -> None:
    # Not through a progress bar that may be under way.
    tqdm.write(f"icm: {text}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="icm", description="Compresses pictures and videos for machines, and back.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    encode = commands.add_parser("encode", help="a picture, a folder of pictures or a video to .icm")
    encode.add_argument("--quality", type=float, default=3.0, help="level, 0 (fewest bits) to 7; default 3")
    encode.set_defaults(run=_encode)
    decode = commands.add_parser("decode", help=".icm to a picture, a stream to .mkv, or a folder of either")
    decode.set_defaults(run=_decode)
    for command in (encode, decode):
        command.add_argument("input", type=Path)
        command.add_argument("output", type=Path)
        command.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="codec bundle; default %(default)s")
        command.add_argument("--threads", type=int, default=0, help="CPU threads; default one per core")
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    info = commands.add_parser("info", help="what an .icm file holds")
    info.add_argument("input", type=Path)
    info.add_argument("--json", action="store_true", help="one JSON object instead of text")
    info.set_defaults(run=_info)
    doctor = commands.add_parser(
        "doctor",
        help="whether this machine codes and decodes exactly as others do",
        description="Decodes the bundle's golden records with 1, 2 and 4 threads, encodes on the CPU and, where there"
        " is one, on a CUDA GPU, and says what this machine computes with. Exit code 1 if a check fails.",
    )
    doctor.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="codec bundle; default %(default)s")
    doctor.set_defaults(run=_doctor)
    return parser


def _doctor(options: argparse.Namespace) -> int:
    return 0 if examine(options.bundle) else 1


def _encode(options: argparse.Namespace) -> int:
    bundle = Bundle.load(options.bundle, options.threads, options.device)
    source: Path = options.input
    shortfalls = _Shortfalls()
    if source.is_dir():
        pictures = sorted(p for p in source.iterdir() if p.suffix.lower() in PICTURES)
        if not pictures:
            raise ImageError(f"the folder {source} holds no pictures ({', '.join(sorted(PICTURES))})")

        def encode(path: Path) -> None:
            _encode_picture(bundle, path, options.output / f"{path.name}{SUFFIX}", options.quality)

        _each(pictures, "encoding", "picture", encode, (ImageError,), shortfalls)
    elif source.suffix.lower() in VIDEOS:
        _encode_video(bundle, source, options.output, options.quality, shortfalls)
    else:
        _encode_picture(bundle, source, options.output, options.quality)
    return shortfalls.status


def _each(
    paths: Sequence[Path],
    what: str,
    unit: str,
    run: Callable[[Path], None],
    bad: tuple[type[IcmError], ...],
    shortfalls: _Shortfalls,
) -> None:
    """Runs a folder's files one by one; one that is bad is named, and the others go on.

    Raises:
        IcmError: of another kind than ``bad``, or every file was bad.
    """
    done = 0
    for path in _progress(paths, what, unit):
        try:
            run(path)
            done += 1
        except bad as error:
            shortfalls.add(str(error))
    if not done:
        raise ImageError(f"none of the {len(paths)} {unit}s in {paths[0].parent} could be used")


def _encode_picture(bundle: Bundle, source: Path, target: Path, quality: float) -> None:
    image = read_picture(source)
    header = _header(bundle, image)
    record = Encoder(bundle).encode(image, quality).record(1, 0)
    _write_all(target, iter([header.pack(), record.pack(header)]))


def _encode_video(bundle: Bundle, source: Path, target: Path, quality: float, shortfalls: _Shortfalls) -> None:
    encoder = Encoder(bundle)

    def parts() -> Iterator[bytes]:
        header = None
        with open_video(source, _say, shortfalls.add) as (count, frames):
            for number, (time_us, image) in enumerate(_progress(frames, "encoding", "frame", count), start=1):
                if header is None:
                    header = _header(bundle, image)
                    yield header.pack()
                yield encoder.encode(image, quality).record(number, time_us).pack(header)
        if header is None:
            raise ImageError(f"{source} holds no frames")

    _write_all(target, parts())


def _header(bundle: Bundle, image: NDArray[np.uint8]) -> StreamHeader:
    return StreamHeader(bundle.codec_id, _CAMERA, 1, 0, image.shape[1], image.shape[0])


def _decode(options: argparse.Namespace) -> int:
    bundle = Bundle.load(options.bundle, options.threads, options.device)
    source: Path = options.input
    shortfalls = _Shortfalls()
    if source.is_dir():
        paths = sorted(p for p in source.iterdir() if p.suffix.lower() == SUFFIX)
        if not paths:
            raise RecordError(f"the folder {source} holds no {SUFFIX} files")
        stems = Counter(_stem(path) for path in paths)

        def decode(path: Path) -> None:
            # Of cat.jpg.icm and cat.png.icm, one would overwrite the other.
            name = _stem(path) if stems[_stem(path)] == 1 else path.stem
            _decode_file(bundle, path, options.output / f"{name}.png", options.output / f"{name}.mkv", shortfalls)

        _each(paths, "decoding", "file", decode, (RecordError, CodecMismatchError), shortfalls)
    else:
        _decode_file(bundle, source, options.output, options.output, shortfalls)
    return shortfalls.status


def _stem(path: Path) -> str:
    """What a file shows: cat.jpg.icm and cat.icm both give cat."""
    inner = Path(path.stem)
    return inner.stem if inner.suffix.lower() in PICTURES else inner.name


def _decode_file(bundle: Bundle, source: Path, picture: Path, video: Path, shortfalls: _Shortfalls) -> None:
    """Decodes a file of one frame to ``picture``, one of more to ``video``."""
    header, records = _read(source, shortfalls)
    target = picture if len(records) == 1 else video
    if header.codec_id not in bundle.decodes:
        raise CodecMismatchError(
            f"{source} was made with codec {header.codec_id.hex()[:16]}, but bundle {bundle.name} is codec"
            f" {bundle.codec_id.hex()[:16]}: name the right one with --bundle"
        )
    decoder = Decoder(bundle)
    if target.suffix.lower() == ".mkv":
        _decode_video(decoder, header, records, target)
    elif len(records) == 1:
        _make_folder(target.parent)
        write_picture(target, decoder.decode(records[0], header.width, header.height))
    else:
        raise ConfigError(f"{source} holds {len(records)} frames: name the output .mkv to get them as a video")


def _decode_video(decoder: Decoder, header: StreamHeader, records: list[Record], target: Path) -> None:
    _make_folder(target.parent)
    video = LosslessVideo(target, header.width, header.height)
    try:
        start = records[0].capture_us
        for record in _progress(records, "decoding", "frame"):
            video.write(record.capture_us - start, decoder.decode(record, header.width, header.height))
        video.finish()
    except BaseException:
        video.abandon()
        raise


def _info(options: argparse.Namespace) -> int:
    shortfalls = _Shortfalls()
    header, records = _read(options.input, shortfalls)
    pixels = header.width * header.height
    payload = sum(len(record.payload) for record in records)
    seconds = (records[-1].capture_us - records[0].capture_us) / 1e6
    size = options.input.stat().st_size
    facts: dict[str, Any] = {
        "codec_id": header.codec_id.hex(),
        "camera": header.camera,
        "width": header.width,
        "height": header.height,
        "records": len(records),
        "kinds": {kind: sum(r.kind.name == kind for r in records) for kind in ("I", "P")},
        "quality": sorted({r.quality / QUALITY_STEPS for r in records}),
        "bytes": size,
        "payload_bytes": payload,
        "overhead_bytes": size - payload,
        "bits_per_pixel": round(8 * size / len(records) / pixels, 5),
        "seconds": round(seconds, 6),
    }
    if len(records) > 1 and seconds > 0:
        per_second = (len(records) - 1) / seconds
        facts["frames_per_second"] = round(per_second, 3)
        facts["kbit_per_second"] = round(8 * size / len(records) * per_second / 1000, 2)
    if options.json:
        print(json.dumps(facts))
    else:
        for name, value in facts.items():
            print(f"{name.replace('_', ' '):>18}  {value}")
    return shortfalls.status


def _read(path: Path, shortfalls: _Shortfalls) -> tuple[StreamHeader, list[Record]]:
    """The header and all whole records before the first that is cut off or damaged, which is a shortfall."""
    listed: list[Record] = []
    try:
        header, records = parse_stream(path.read_bytes())
        for record in records:
            listed.append(record)
    except OSError as error:
        raise RecordError(f"cannot read {path}: {error.strerror}") from None
    except RecordError as error:
        if not listed:
            raise RecordError(f"{path}: {error}") from None
        shortfalls.add(f"{path}: {error}; only what comes before it is used: {len(listed)} records")
    if not listed:
        raise RecordError(f"{path} holds a header but no record")
    return header, listed


def _write_all(target: Path, parts: Iterator[bytes]) -> None:
    """Writes the parts to the file, all or nothing."""
    if target.is_dir():
        raise ConfigError(f"{target} is a folder: name the file to write, such as {target / f'out{SUFFIX}'}")
    _make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.part")
    try:
        with temporary.open("wb") as file:
            for part in parts:
                file.write(part)
        temporary.replace(target)
    except OSError as error:
        raise ConfigError(f"cannot write {target}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder {folder}: {error.strerror}") from None


def _progress(items: Any, what: str, unit: str, total: int | None = None) -> Any:
    return tqdm(items, desc=what, unit=unit, total=total or None, disable=None)
