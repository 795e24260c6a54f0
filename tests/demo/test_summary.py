"""The demo's summary: the page and the last line tell the same figures."""

import io
import json
from fractions import Fraction
from pathlib import Path

import grpc
import pytest
from PIL import Image

from deploy.demo.clip import Clip
from deploy.demo.comparison import Sizes
from deploy.demo.progress import Progress, Table
from deploy.demo.sheet import Tile, draw
from deploy.demo.summary import Summary
from deploy.demo.watching import Watcher, quantile
from icm.testing.scraping import Metrics
from icm.v1 import archive_pb2_grpc, frame_pb2

EDGE = """
icm_edge_frames_total{camera="demo",outcome="spooled"} 19
icm_edge_frames_total{camera="demo",outcome="dropped"} 1
icm_edge_dropped_total{camera="demo",reason="image"} 1
icm_edge_spool_bytes 2500
"""
CLOUD = """
icm_cloud_records_total{camera="demo",outcome="persisted"} 18
icm_cloud_received_bytes_total{camera="demo"} 50000
icm_cloud_capture_to_persisted_seconds_bucket{camera="demo",le="0.1"} 9
icm_cloud_capture_to_persisted_seconds_bucket{camera="demo",le="0.5"} 18
icm_cloud_capture_to_persisted_seconds_bucket{camera="demo",le="+Inf"} 18
icm_cloud_capture_to_detected_seconds_count{camera="demo"} 17
icm_cloud_detections_total{camera="demo",class="dog"} 2
icm_cloud_detections_total{camera="demo",class="person"} 30
"""
CLIP = Clip(Path("clips/cut.mkv"), "square.avi", 20, Fraction(10), 640, 480, "yuv420p")


@pytest.fixture
def progress() -> Progress:
    return Progress.read(Metrics(EDGE), Metrics(CLOUD))


@pytest.fixture
async def summary(progress: Progress) -> Summary:
    async with grpc.aio.insecure_channel("127.0.0.1:1") as channel:
        watcher = Watcher(archive_pb2_grpc.ArchiveServiceStub(channel), "demo")
    watcher.latencies.extend([0.3, 0.1, 0.2, 0.9])
    videos = [Path("data/archive/demo/a.mp4")]
    return Summary(
        CLIP, "early", 3.0, progress, watcher, Sizes(100_000, 25_000), Path("data/archive"), videos,
        Path("data/sheet.png"), 4.26,
    )  # fmt: skip


def test_progress_is_read_from_the_metrics_of_both_services(progress: Progress) -> None:
    assert progress == Progress(
        encoded=19,
        dropped=1,
        persisted=18,
        detected=17,
        received_bytes=50_000,
        spool_bytes=2500,
        to_persisted=(0.1, pytest.approx(0.46)),
        to_detected=None,
        detections={"person": 30, "dog": 2},
    )


async def test_the_line_of_json_holds_every_figure(summary: Summary) -> None:
    assert "\n" not in summary.json()
    assert json.loads(summary.json()) == {
        "frames": 17,
        "dropped": 1,
        "clip": "square.avi",
        "width": 640,
        "height": 480,
        "fps": 10.0,
        "bundle": "early",
        "quality": 3.0,
        "kbit_per_second": {"icm": 200.0, "jpeg_q35": 400.0, "h264_crf35": 100.0},
        "capture_to_persisted_seconds": {"p50": 0.1, "p95": 0.46},
        "capture_to_detected_seconds": {"p50": 0.2, "p95": 0.9},
        "detections": {"person": 30, "dog": 2},
        "seconds": 4.3,
        "archive": "data/archive",
        "sheet": "data/sheet.png",
    }


async def test_the_page_shows_the_same_figures_to_a_person(summary: Summary) -> None:
    text = summary.text()
    for figure in ("200.0 kbit/s", "400.0 kbit/s", "100.0 kbit/s", "0.20s p50", "0.46s p95", "person", "30"):
        assert figure in text
    assert "ffplay data/archive/demo/a.mp4" in text


def test_a_quantile_of_exact_values_is_one_of_them() -> None:
    assert quantile([], 0.5) is None
    assert quantile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert quantile([3.0, 1.0, 2.0], 0.95) == 3.0
    assert quantile([1.0], 0.0) == 1.0


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_table_that_is_drawn_over_itself(progress: Progress) -> None:
    output = Terminal()
    table = Table(CLIP, output)
    table.show(progress)
    first = output.getvalue()
    table.show(progress)
    assert output.getvalue().startswith(f"{first}\x1b[{first.count(chr(10))}F")
    assert "person 30, dog 2" in first


def test_anything_else_gets_plain_lines(progress: Progress) -> None:
    output = io.StringIO()
    table = Table(CLIP, output)
    table.show(progress)
    table.show(progress)
    assert output.getvalue().count("\n") == 1
    assert "\x1b" not in output.getvalue()
    assert "17 of 20 seen" in output.getvalue()


def test_the_contact_sheet_shows_boxes_where_the_detector_saw_something(tmp_path: Path) -> None:
    file = io.BytesIO()
    Image.new("RGB", (960, 480), "black").save(file, "PNG")
    found = frame_pb2.Detection(class_name="person", score=0.9, left=200, top=200, right=400, bottom=460)
    draw([Tile(file.getvalue(), [found], "a caption")] * 4, tmp_path / "sheet.png")
    with Image.open(tmp_path / "sheet.png") as sheet:
        sheet.load()
        assert sheet.size == (3 * 480 + 2 * 4, 2 * (240 + 22) + 4)
        assert sheet.convert("RGB").getpixel((100, 150)) != (0, 0, 0)  # the box's left edge, at half the size
        assert sheet.convert("RGB").getpixel((150, 150)) == (0, 0, 0)  # inside it
