"""Videos at times of every sort: uneven, in jumps, wrapped, cut by edit lists, without any; and of several streams."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from PIL import Image

from icm_bench.inputs.cases import Case
from icm_bench.inputs.judges import Ffmpeg
from icm_bench.inputs.videos import FRAMES, Stamp, scenes, write

WRAP = 2**33 / 90_000
_HOMES = {
    "libx264": ["mp4", "mov", "mkv", "avi", "ts", "flv", "h264", "m2ts"],
    "libx265": ["mp4", "mkv", "ts", "hevc"],
    "mpeg4": ["avi", "mp4", "m4v", "mkv", "nut"],
    "mpeg2video": ["mpg", "ts", "m2v", "vob", "mxf"],
    "mjpeg": ["avi", "mkv", "mjpeg", "mov"],
    "ffv1": ["mkv", "nut", "avi"],
    "libvpx-vp9": ["webm", "ivf"],
}
_RATES = [
    Fraction(10),
    Fraction(25),
    Fraction(30000, 1001),
    Fraction(24000, 1001),
    Fraction(50),
    Fraction(5),
    Fraction(120),
]


def paces(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Even rates and orders of coding in every container."""
    for index in range(count):
        codec = dice.choice(list(_HOMES))
        ending = dice.choice(_HOMES[codec])
        rate = Fraction(25) if codec == "mpeg2video" else dice.choice(_RATES)
        if codec == "mpeg2video" and ending == "mxf":
            rate = Fraction(25)
        b_frames = dice.choice([0, 1, 2, 3]) if codec in ("libx264", "libx265", "mpeg4", "mpeg2video") else 0
        path = write(
            folder / f"{index}.{ending}",
            scenes(dice, dice.randint(2, 14)),
            codec,
            "yuvj420p" if codec == "mjpeg" else "yuv420p",
            rate,
            b_frames=b_frames,
        )
        yield Case("times of videos", f"{codec} in {ending}, {rate} a second, {b_frames} B frames", path, "ffmpeg")


def uneven(dice: random.Random, folder: Path, count: int) -> Iterator[Case]:
    """Variable rates, pauses, and stamps that jump, stand still, begin below zero or wrap around."""
    for index in range(count):
        ending = dice.choice(["mkv", "mp4", "ts", "nut", "flv", "mov"])
        total = dice.randint(6, 16)
        b_frames = dice.choice([0, 0, 2])
        kind = dice.choice(["uneven", "pause", "start", "wrap", "ahead", "back", "still", "jitter", "missing"])
        times = None
        stamp: Stamp | None = None
        at = dice.randrange(2, total - 1)
        match kind:
            case "uneven":
                gaps = [dice.randint(10, 400) for _ in range(total)]
                times = [sum(gaps[:number]) for number in range(total)]
            case "pause":
                b_frames = 0 if ending == "ts" else b_frames
                pause = dice.choice([2_000, 8_000, 60_000, 3_600_000])
                times = [100 * number + pause * (number >= at) for number in range(total)]
            case "start":
                ending, seconds = dice.choice([("nut", -3.3), ("mkv", 777.7), ("ts", 40_000.0), ("mov", 12.0)])
                stamp = updated(seconds)
            case "wrap":
                ending, stamp = "ts", updated(WRAP - 0.1 * at)
            case "ahead":
                stamp = updated(dice.choice([0.3, 5.0, 11.0, 100.0, 4000.0]), at)
            case "back":
                ending, stamp = dice.choice(["ts", "nut"]), None
            case "still":
                ending, stamp = "mkv", _standing(at)
            case "jitter":
                stamp = _jitter(dice)
            case "missing":
                ending, stamp = "ts", _missing(dice)
        path = folder / f"{index}.{ending}"
        pictures = scenes(dice, total)
        unit = Fraction(1, 1000) if times is not None else None
        if kind == "back":
            parts = [
                write(
                    folder / f"{index}-{n}.ts",
                    pictures[n * at : total if n else at],
                    b_frames=b_frames,
                    stamp=updated(dice.choice([0.0, 20.0, 9000.0])),
                )
                for n in (0, 1)
            ]
            path = glued(folder / f"{index}.ts", *parts)
        else:
            write(path, pictures, times=times, unit=unit, stamp=stamp, b_frames=b_frames)
        yield Case("times of videos", f"{kind} in {path.suffix}, from packet {at}, {b_frames} B frames", path, "ffmpeg")


def updated(seconds: float, first: int = 0) -> Stamp:
    """Stamps that are later by so much from a packet on."""

    def move(number: int, packet: Any) -> None:
        if number >= first:
            packet.pts += round(seconds / packet.time_base)
            packet.dts += round(seconds / packet.time_base)

    return move


def _standing(first: int) -> Stamp:
    kept: dict[str, int] = {}

    def stand(number: int, packet: Any) -> None:
        if number == first:
            kept.update(pts=packet.pts, dts=packet.dts)
        elif first < number < first + 3:
            packet.pts, packet.dts = kept["pts"], kept["dts"]

    return stand


def _jitter(dice: random.Random) -> Stamp:
    def shake(number: int, packet: Any) -> None:
        packet.pts += round(dice.uniform(0, 0.03) / packet.time_base)

    return shake


def _missing(dice: random.Random) -> Stamp:
    def drop(number: int, packet: Any) -> None:
        if number and dice.random() < 0.5:
            packet.pts = None

    return drop


def glued(path: Path, *parts: Path) -> Path:
    """One file of the parts' bytes."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def edited(dice: random.Random, folder: Path, count: int, ffmpeg: Ffmpeg) -> Iterator[Case]:
    """What tools make of videos: cuts without coding anew, files put together, other containers, interlacing."""
    for index in range(count):
        ending = dice.choice(["mp4", "mov", "mkv", "ts", "avi", "flv"])
        source = write(folder / f"{index}-whole.mp4", scenes(dice, 20), b_frames=dice.choice([0, 2]))
        path = folder / f"{index}.{ending}"
        how = dice.choice(
            ["cut", "cut", "joined", "fragments", "interlaced", "shifted", "renamed", "sound", "sound late", "telecine"]
        )
        tone = ["-f", "lavfi", "-i", "anullsrc=r=8000:cl=mono:d=3"]
        codec = "mp3" if ending in ("avi", "flv") else "aac"
        if how in ("interlaced", "telecine") and ending == "flv":
            # Which holds neither of their codecs.
            ending, path = "mkv", folder / f"{index}.mkv"
        name = f"file:{path}"
        arguments: list[str | Path]
        match how:
            case "cut":
                arguments = [
                    "-ss",
                    f"{dice.uniform(0.1, 1.2):.2f}",
                    "-i",
                    source,
                    "-t",
                    f"{dice.uniform(0.3, 0.9):.2f}",
                    "-c",
                    "copy",
                    name,
                ]
            case "joined":
                listing = folder / f"{index}.txt"
                listing.write_text(f"file '{source.resolve()}'\n" * 2)
                arguments = ["-f", "concat", "-safe", "0", "-i", listing, "-c", "copy", name]
            case "fragments":
                arguments = ["-i", source, "-c", "copy", "-movflags", "frag_keyframe+empty_moov", name]
            case "interlaced":
                arguments = [
                    "-i",
                    source,
                    "-vf",
                    "tinterlace=interleave_top",
                    "-c:v",
                    "mpeg2video" if ending in ("mkv", "ts") else "mpeg4",
                    "-flags",
                    "+ilme+ildct",
                    "-q:v",
                    "2",
                    name,
                ]
            case "shifted":
                arguments = [
                    "-i",
                    source,
                    "-c",
                    "copy",
                    "-output_ts_offset",
                    str(2.5 if ending == "avi" else dice.choice([-0.35, 2.5, 95_443.2])),
                    name,
                ]
            case "renamed":
                arguments = ["-i", source, "-c", "copy", name]
            case "sound":
                arguments = [*tone, "-i", source, "-c:v", "copy", "-c:a", codec, "-ar", "44100", name]
            case "sound late":
                arguments = [
                    "-itsoffset",
                    "1.5",
                    *tone,
                    "-i",
                    source,
                    "-c:v",
                    "copy",
                    "-c:a",
                    codec,
                    "-ar",
                    "44100",
                    name,
                ]
            case _:
                arguments = [
                    "-r",
                    "24000/1001",
                    "-i",
                    source,
                    "-vf",
                    "telecine",
                    "-c:v",
                    "mpeg2video" if ending in ("mkv", "ts") else "mpeg4",
                    "-q:v",
                    "2",
                    name,
                ]
        ffmpeg.run(*arguments)
        yield Case("times of videos", f"{how}, {ending}", path, "ffmpeg")


def streams(dice: random.Random, folder: Path, count: int, ffmpeg: Ffmpeg) -> Iterator[Case]:
    """Files of several streams: covers, previews, sound and text beside the film."""
    for index in range(count):
        film = write(folder / f"{index}-film.mkv", scenes(dice, FRAMES, (96, 80)), b_frames=dice.choice([0, 2]))
        small = write(folder / f"{index}-small.mkv", scenes(dice, FRAMES, (48, 40)))
        cover = folder / f"{index}-cover.png"

        Image.fromarray(scenes(dice, 1, (160, 160))[0]).save(cover)
        words = folder / f"{index}.srt"
        words.write_text("1\n00:00:00,000 --> 00:00:01,000\nhello\n")
        how = [
            "small first",
            "small second",
            "cover first",
            "cover second",
            "words",
            "two programs",
            "default second",
            "two of one size",
        ][index % 8]
        ending = dice.choice(["mp4", "mkv", "mov"])
        copied = ["-c", "copy"]
        path = folder / f"{index}.{ending}"
        arguments: list[str | Path]
        match how:
            case "small first":
                arguments = ["-i", small, "-i", film, "-map", "0", "-map", "1", *copied]
            case "small second":
                arguments = ["-i", film, "-i", small, "-map", "0", "-map", "1", *copied]
            case "default second":
                arguments = [
                    "-i",
                    film,
                    "-i",
                    small,
                    "-map",
                    "0",
                    "-map",
                    "1",
                    *copied,
                    "-disposition:v:0",
                    "0",
                    "-disposition:v:1",
                    "default",
                ]
            case "two of one size":
                arguments = ["-i", film, "-i", film, "-map", "0", "-map", "1", *copied]
            case "cover first":
                arguments = [
                    "-i",
                    cover,
                    "-i",
                    film,
                    "-map",
                    "0",
                    "-map",
                    "1",
                    *copied,
                    "-disposition:v:0",
                    "attached_pic",
                ]
                path = path.with_suffix(".mp4")
            case "cover second":
                arguments = [
                    "-i",
                    film,
                    "-i",
                    cover,
                    "-map",
                    "0",
                    "-map",
                    "1",
                    *copied,
                    "-disposition:v:1",
                    "attached_pic",
                ]
                path = path.with_suffix(".mp4")
            case "words":
                arguments = [
                    "-i",
                    words,
                    "-i",
                    film,
                    "-map",
                    "0",
                    "-map",
                    "1",
                    "-c:v",
                    "copy",
                    "-c:s",
                    "srt" if ending == "mkv" else "mov_text",
                ]
            case _:
                path = path.with_suffix(".ts")
                arguments = [
                    "-i",
                    small,
                    "-i",
                    film,
                    "-map",
                    "0",
                    "-map",
                    "1",
                    *copied,
                    "-program",
                    "st=0",
                    "-program",
                    "st=1",
                ]
        ffmpeg.run(*arguments, f"file:{path}")
        yield Case("several streams", f"{how}, {path.suffix}", path, "ffmpeg")
