"""What the ``icm`` command does: the codec on files."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from icm.codec.bitstream.record import Record, StreamHeader
from icm.codec.bitstream.salvage import whole_records
from icm.codec.bundle.loading import Bundle
from icm.codec.bundle.lookup import folder_of
from icm.codec.bundle.shipped import DEFAULT_BUNDLE, SHIPPED_BUNDLES, with_shipped
from icm.codec.decoder import Decoder
from icm.codec.encoder import Encoder, quality_units
from icm.codec.latents.latents import QUALITY_STEPS
from icm.codec.threads import MOST_THREADS, thread_count
from icm.command.doctor import examine
from icm.command.inputs import Input, open_frames, readable
from icm.command.outputs import is_standard, open_output
from icm.command.verify import add_verify
from icm.errors import CodecMismatchError, ConfigError, IcmError, ImageError, RecordError
from icm.media.pictures import READABLE, picture_bytes
from icm.media.video_files import LosslessVideo
from icm.service.command_line import say
from icm.version import add_version

SUFFIX = ".icm"
_CAMERA = "file"
_FAULT_FOUND, _FAILED, _IN_PART = 1, 2, 3
_STATUSES = (
    "Exit status: 0 done, 1 the doctor found a fault, 2 nothing was done, 3 done in part: what is missing was said on"
    " standard error."
)


class _Report:
    """What a person should know beside the result.

    Attributes:
        short: whether anything is missing from it.
    """

    def __init__(self) -> None:
        self.short = False

    def missing(self, text: str) -> None:
        self.short = True
        self.note(text)

    def note(self, text: str) -> None:
        tqdm.write(f"icm: {_one_line(text)}", sys.stderr)


def run(arguments: Sequence[str] | None) -> int:
    """Runs the command; returns its exit status, which its help explains."""
    options = _parser().parse_args(arguments)
    report = _Report()
    try:
        healthy = options.run(options, report)
    except IcmError as error:
        print(f"icm: {_one_line(str(error))}", file=sys.stderr)
        return _FAILED
    if healthy is False:
        return _FAULT_FOUND
    return _IN_PART if report.short else 0


def _one_line(text: str) -> str:
    # Names of files may hold anything, line ends and what terminals take for orders among it.
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="icm", description="Compresses pictures and videos for machines, and back.", epilog=_STATUSES
    )
    add_version(parser)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    encode = commands.add_parser(
        "encode",
        help="a picture, a folder of pictures or a video to .icm",
        description="Any file that Pillow or FFmpeg reads, whatever its name; of one that holds several pictures, all.",
        epilog=_STATUSES,
    )
    encode.add_argument("--quality", type=float, default=3.0, help="level, 0 (fewest bits) to 7; default 3")
    encode.add_argument("--bundle", type=Path, default=DEFAULT_BUNDLE, help="codec bundle; default %(default)s")
    encode.set_defaults(run=_encode)
    decode = commands.add_parser(
        "decode", help=".icm to a picture, a stream to .mkv, or a folder of either", epilog=_STATUSES
    )
    decode.add_argument("--bundle", type=Path, help="codec bundle of files that none of those that ship made")
    decode.add_argument("--for-detector", action="store_true", help="pictures as detectors are to see them")
    decode.set_defaults(run=_decode)
    for command in (encode, decode):
        command.add_argument("input", type=Path, help="file or folder; - for standard input")
        command.add_argument("output", type=Path, help="file, or folder for a folder's files; - for standard output")
        command.add_argument(
            "--threads", type=thread_count, default=0, help=f"CPU threads, up to {MOST_THREADS}; default one per core"
        )
        command.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    info = commands.add_parser("info", help="what an .icm file holds", epilog=_STATUSES)
    info.add_argument("input", type=Path, help="file; - for standard input")
    info.add_argument("--json", action="store_true", help="one JSON object instead of text")
    info.set_defaults(run=_info)
    doctor = commands.add_parser(
        "doctor",
        help="whether this machine codes and decodes exactly as others do",
        description="Decodes the golden records of each bundle that ships with 1, 2 and 4 threads, encodes on the CPU"
        " and, where there is one, on a CUDA GPU, and says what this machine computes with. Exit code 1 if a check"
        " fails.",
    )
    doctor.add_argument("--bundle", type=Path, help="codec bundle to examine instead")
    doctor.set_defaults(run=_doctor)
    verify = add_verify(commands)
    verify.set_defaults(run=lambda options, _report: options.verify(options))
    return parser


def _doctor(options: argparse.Namespace, _report: _Report) -> bool:
    return examine([options.bundle] if options.bundle else SHIPPED_BUNDLES)


def _encode(options: argparse.Namespace, report: _Report) -> None:
    _check_output(options)
    bundle = Bundle.load(options.bundle, options.threads, options.device)
    quality_units(bundle, options.quality)

    def encode(source: Path, target: Path) -> None:
        _encode_file(bundle, source, target, options.quality, report)

    if options.input.is_dir():
        pictures, others = _listed(options.input, READABLE)
        if not pictures:
            raise ImageError(f"the folder {options.input} holds no pictures ({', '.join(sorted(READABLE))})")
        if others:
            report.note(f"left out of {options.input}, not called like pictures: {', '.join(others)}")
        _each(pictures, encode, lambda path: options.output / f"{path.name}{SUFFIX}", "encoding", report)
    else:
        encode(options.input, options.output)


def _encode_file(bundle: Bundle, argument: Path, target: Path, quality: float, report: _Report) -> None:
    encoder, header = Encoder(bundle), None
    with (
        readable(argument) as source,
        open_frames(source, report.note, report.missing) as (count, pictures),
        open_output(target, source.path) as file,
    ):
        for number, (time_us, image) in enumerate(_progress(pictures, "encoding", "frame", count), start=1):
            if header is None:
                header = _header(bundle, image)
                file.write(header.pack())
            file.write(encoder.encode(image, quality).record(number, time_us).pack(header))


def _header(bundle: Bundle, image: NDArray[np.uint8]) -> StreamHeader:
    return StreamHeader(bundle.codec_id, _CAMERA, 1, 0, image.shape[1], image.shape[0])


def _decode(options: argparse.Namespace, report: _Report) -> None:
    _check_output(options)
    folders = with_shipped(*([options.bundle] if options.bundle else []))
    load = cache(lambda folder: Bundle.load(folder, options.threads, options.device))

    def bundle_of(codec_id: bytes, name: str) -> Bundle:
        bundle: Bundle = load(folder_of(codec_id, folders, name, "name the right one with --bundle"))
        return bundle

    if options.input.is_dir():
        paths, _ = _listed(options.input, {SUFFIX})
        if not paths:
            raise RecordError(f"the folder {options.input} holds no {SUFFIX} files")
        stems = Counter(_stem(path) for path in paths)

        def target(path: Path) -> Path:
            # Of cat.jpg.icm and cat.png.icm, one would overwrite the other.
            name = _stem(path) if stems[_stem(path)] == 1 else path.stem
            return Path(options.output, name)

        def decode(source: Path, target: Path) -> None:
            _decode_file(bundle_of, source, target, report, in_folder=True, for_detector=options.for_detector)

        _each(paths, decode, target, "decoding", report)
    else:
        _decode_file(bundle_of, options.input, options.output, report, for_detector=options.for_detector)


def _check_output(options: argparse.Namespace) -> None:
    output: Path = options.output
    if options.input.is_dir() and (is_standard(output) or (output.exists() and not output.is_dir())):
        raise ConfigError(f"the files of a folder go to a folder, which {output} is not: name one")


def _listed(folder: Path, suffixes: set[str]) -> tuple[list[Path], list[str]]:
    """The folder's files with such endings, and the names of what else is there; hidden files are left alone."""
    try:
        entries = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise ConfigError(f"cannot list the folder {folder}: {error.strerror}") from None
    # A link that leads nowhere is wanted too, to be named as one that cannot be read; a pipe would be waited for.
    files = [path for path in entries if path.is_file() or not path.exists()]
    wanted = [path for path in files if path.suffix.lower() in suffixes]
    return wanted, [path.name for path in entries if path not in wanted]


def _each(
    paths: list[Path],
    work: Callable[[Path, Path], None],
    target: Callable[[Path], Path],
    what: str,
    report: _Report,
) -> None:
    """Does the work on each file; one that cannot be read costs itself only."""
    done = 0
    for path in _progress(paths, what, "file", len(paths)):
        try:
            work(path, target(path))
            done += 1
        except (ImageError, RecordError, CodecMismatchError) as error:
            report.missing(f"left out: {error}")
    if not done:
        raise ImageError(f"none of the {len(paths)} files could be read")
    if done < len(paths):
        report.note(f"{done} of {len(paths)} files are done")


def _stem(path: Path) -> str:
    """What a file shows: cat.jpg.icm and cat.icm both give cat."""
    inner = Path(path.stem)
    return inner.stem if inner.suffix.lower() in READABLE else inner.name


def _decode_file(
    bundle_of: Callable[[bytes, str], Bundle],
    argument: Path,
    target: Path,
    report: _Report,
    *,
    in_folder: bool = False,
    for_detector: bool,
) -> None:
    """Decodes one file into a picture or a video.

    Args:
        bundle_of: the bundle that decodes a codec's records, by its id; takes the file's name for the error.
        in_folder: whether the target's name still lacks its ending, .png for one picture and .mkv for more.
        for_detector: whether pictures are as detectors are to see them, or as people are.
    """
    with readable(argument) as source:
        header, records, problem = _read(source)
        bundle = bundle_of(header.codec_id, source.name)
        suffix = target.suffix.lower()
        if in_folder or is_standard(target) or (not suffix and target.exists() and not target.is_file()):
            suffix = ".png" if len(records) == 1 else ".mkv"
        if in_folder:
            target = target.with_name(target.name + suffix)
        if suffix != ".mkv" and len(records) > 1:
            raise ConfigError(f"{source.name} holds {len(records)} frames: name the output .mkv to get them as a video")
        if problem:
            report.missing(problem)
        pictures = _decoded(bundle, source, header, records, report, for_detector=for_detector)
        with open_output(target, source.path) as file:
            if suffix == ".mkv":
                video = LosslessVideo(file, header.width, header.height)
                for time_us, picture in pictures:
                    video.write(time_us, picture)
                video.finish()
            else:
                file.write(picture_bytes(next(pictures)[1], suffix))


def _decoded(
    bundle: Bundle,
    source: Input,
    header: StreamHeader,
    records: list[Record],
    report: _Report,
    *,
    for_detector: bool,
) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    """The records' pictures, with their times in microseconds from the first one.

    Raises:
        RecordError: not one can be decoded.
    """
    decoder, start_us, lost = Decoder(bundle), None, []
    for record in _progress(records, "decoding", "frame", len(records)):
        try:
            picture = decoder.decode(record, header.width, header.height, for_detector=for_detector)
        except RecordError as error:
            lost.append(str(error))
            continue
        start_us = record.capture_us if start_us is None else start_us
        yield record.capture_us - start_us, picture
    if len(lost) == len(records):
        raise RecordError(f"{source.name}: {lost[0]}")
    if lost:
        report.missing(f"{source.name}: {len(lost)} records cannot be decoded; the first: {lost[0]}")


def _info(options: argparse.Namespace, report: _Report) -> None:
    with readable(options.input) as source:
        header, records, problem = _read(source)
        if problem:
            report.missing(problem)
        size = source.path.stat().st_size
    pixels = header.width * header.height
    payload = sum(len(record.payload) for record in records)
    seconds = (records[-1].capture_us - records[0].capture_us) / 1e6
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
        say(json.dumps(facts))
    else:
        for name, value in facts.items():
            say(f"{name.replace('_', ' '):>18}  {value}")


def _read(source: Input) -> tuple[StreamHeader, list[Record], str | None]:
    """The file's whole records, of which there is one at least, and what is missing of it."""
    try:
        header, records, problem = whole_records(source.path.read_bytes())
    except OSError as error:
        raise RecordError(f"cannot read {source.name}: {error.strerror}") from None
    except RecordError as error:
        raise RecordError(f"{source.name}: {error}") from None
    return header, records, f"{source.name}: {problem}" if problem else None


def _progress(items: Any, what: str, unit: str, total: int) -> Any:
    """Shows on a terminal how far it is; of a single one there is nothing to show."""
    return tqdm(items, desc=what, unit=unit, total=total or None, disable=True if total == 1 else None)
