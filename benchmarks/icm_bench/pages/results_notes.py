"""What the results page says beside the figures: what was counted, where the parts come from, how to read a
column."""

from __future__ import annotations

TITLES = {
    "rate_accuracy": "Bits against detection",
    "regions": "Where the bits go",
    "visual": "What a person sees",
    "training_log": "How training went",
    "video": "A still camera against video codecs",
    "motion_modes": "What each mode of P records is worth",
    "reuse": "Frames in which little changed",
    "redetect": "Looking at the past again",
    "framing": "What a record costs on the wire",
    "rate_control": "Rate control",
    "exactness": "The same latents everywhere",
    "speed": "What a frame costs",
    "layers": "What the transforms' blocks cost",
    "cost": "What the services cost",
    "load": "Many cameras on one cloud",
    "clips": "Clips of the past",
    "index": "A start by the number of segments",
    "events": "Events a second",
    "archive": "A million frames searched",
    "retention": "Deleting by the rules",
    "evidence": "Evidence files",
    "verify": "Verifying an archive",
    "viewer": "The viewer's pages",
    "viewer_wall": "A wall of cameras",
    "chaos": "Kills and cuts",
    "soak": "Memory over time",
    "fuzz": "Hostile bytes",
    "inputs": "What people bring",
}
"""By JSON file, in the order of the page."""

NOTES = {
    "rate_accuracy": """\
Detectors are frozen and in no loss: yolo26n and yolov8n, which `python -m icm.testing.assets --weights --older`
fetches, and YOLOX-nano from github.com/Megvii-BaseDetection/YOLOX. Object masks of training photos that have no labels
come from yolo26n-seg, of the first one's family. mAP over the photos' boxes by faster-coco-eval, which computes what
pycocotools does.

What is counted: JPEG (optimised, progressive), WebP (method 6) and AVIF (speed 4) as the files that Pillow writes,
with AVIF's container (275 bytes, 0.007 bpp); HEVC (x265, preset slow, fixed quantiser) and VVC (VVenC, preset
medium) as one intra picture's elementary stream with its parameter sets, without a container; ours as the file of
one picture, stream header and record. All but ours have chroma at half resolution. No package registry has a VVC
encoder; VVenC is built from its public source, github.com/fraunhoferhhi/vvenc, and given as `--vvenc`.

Intervals are 95 % bootstrap intervals over the photos, 200 samples, the same for every codec. Detectors see our
pictures as the cloud's detector does (`for_detector`), icm-2's with half of its grain. `map low` and `map high` say
what another choice of photos could give; since codecs share their photos, what tells them apart are the paired
intervals of the BD-rates. A BD-rate is the mean difference in bits at equal detection, in per cent; below zero ours
takes fewer. It is averaged over the detection from `from` to `to`, which both curves reach, by the package
`bjontegaard` (pchip) on those points of a curve that find more than all cheaper ones. `change` is what finetuning the
decoder did to mAP at the same bits, in per cent, the mean over the levels.

`plain MSE` and `Object-MSE` are what object-region learning is measured by: the same networks, from the same start, for
6,500 steps of the one or the other and 500 on rounded latents (`training/icm_train/configs/icm-2.yaml`), neither
finetuned. `Object-MSE` is what icm-2 is before finetuning.""",
    "regions": """\
`objects` are the positions (16x16 pixels) that a labelled object reaches into, `beside` their neighbours, `elsewhere`
all others. Shares are of the latents' bits; errors are those of finetuned decoders without grain.

With `coarser_by` 1 or 2 only objects have the level, and everything else is coded that many levels coarser, told by the
labels' masks, which no encoder has. So it is a bound, not a codec: what an encoder that told objects from their
surroundings could save at the same mAP, with the bits for the map left out.""",
    "layers": """\
Milliseconds of one block of ONNX Runtime in float32, on one thread (`_1`) and on two (`_2`), and the same for each
thousand multiplications a pixel (`ms_per_kmac`), which is what blocks of different sizes are compared by. Dense blocks
are icm-1's, gated ones icm-2's, with the gate that costs least.""",
    "reuse": """\
Each clip goes through the cloud's engine with a look at every frame (`every frame`) and with `detector.reuse` as it is
set by default (`reused`), in pieces of ten frames in turn, as they wait where a cloud is busy: entropy decoding,
synthesis, a detector at its usual confidence, and with `video` the MP4, for which every frame is synthesised. `part` is
the whole clip, or the fifth of its windows of a second in which the fewest positions change from a frame to the next.
`ap50` is that of persons against the ground truth, `lasting` that of all classes, vehicles as one, against objects that
looking at every frame saw for a second or more, gaps filled. `emptied` is the clip's background without whatever
moves, under the clip's noise: none of the clips has a second in which nobody moves.""",
    "redetect": """\
Each row is a job of `icm-cloud redetect` over one clip, worked off by the service's own worker with nothing live beside
it. `loading_s` is what the process takes to load torch, weights and bundle. Frames that are not looked at are decoded
to latents and not synthesised.""",
    "index": """\
Each segment is a file with one record of 64 bytes and a row in an SQLite index; real ones are some hundred times as
large, but a start asks them for their size alone. The files were written a moment before, so the system still knew
their names. `imports MB` is the process before it opens anything.""",
    "clips": """\
A clip of all frames of the camera, made in the process by what answers ReadClip: `times_real_time` is its length by the
time that took. `cut` puts fragments of the archive's videos together, `rendered` decodes the records; `cached` renders
what was rendered before. The peer is `transcoded`: the archive's videos decoded and coded again by the same H.264
encoder, which is what a cut costs without fragments; `times_peer` is by that.

Of key frames the bitrate of the archive's videos is told, of the frames as the camera took them and as the codec's
decoder shows them, grain and all; `more_percent` is what they take beyond videos of ten seconds with one.""",
    "events": """\
Frames a second, the best of three rounds, in batches that each are a transaction; three detections in a frame that has
any. `row by row` is how it was done before, a query and an ORM object for each frame. PostgreSQL waits for the disk at
each commit, SQLite as the cloud sets it.""",
    "archive": """\
A month of 16 cameras, made up so that a few see most of it, in bursts and hardly anything at night: what a detector
found in a million frames, as a running cloud folds it. SearchService answers over gRPC to a caller in the same process;
each kind of question is asked with other arguments each time, first pages count what there is besides, and `all pages
of` follow the cursor to the end, one page a measurement. `p95 ms` is that of the best round, since other programs share
the machine, whose load is told; `p95 on a processor` is what both ends and PostgreSQL worked, which is what remains
where nobody else is. PostgreSQL is Debian's, as it sets itself up.""",
    "verify": """\
Segments of one record, as large as ten seconds at 25 kbit/s, of two cameras, and their chains. `verify` reads chains
and the index and looks at names and sizes; `--deep` reads and hashes every file and looks for seals. The files were
written a moment before and come from memory: `sha256sum` reads the same ones in the same run. `chain bytes a segment`
is what the chain takes of the disk.""",
    "visual": """\
`psnr` is the mean over pictures; of objects (COCO's polygons) and of what is around them PSNR is taken over all
their pixels. `perceptual` is the LPIPS distance in a shift-tolerant AlexNet, 0 for equal pictures. Finetuning has
terms in the features of the same network and one for the pattern itself, and the strength of the grain was chosen with
a look at these very pictures, so neither this distance nor the checkerboard score is an independent witness of it; the
picture sheet is (`icm-bench sheet`: the crops in which ours is farthest from the original). The decoder before
finetuning is shown without grain.

`C2` to `C16` are the 95 % bootstrap upper bounds of C_s(decoded) - C_s(original) in dB: how far harmonics of a
pattern that repeats every s pixels stand out of their surroundings in the power spectrum of the luma. With all
below 1 dB the checkerboard counts as gone. The control is the same test on the originals with a pattern of half a
grey level at one stride, which it must find there.""",
    "video": """\
Clips of cameras that stand still, and a frozen yolo26n on some of their frames (`benchmarks/icm_bench/video/scenes.py`
says which): `vtest` is PETS 2009 S2.L1, as OpenCV's `vtest.avi`, small persons on a nearly empty place; `tud_campus`
three seconds of a pavement full of people near by; `crossing` eight seconds of a junction full of small vehicles and
persons.
`:noise8` has noise of sigma 8 on every colour, `:shake` a mount in the wind, up to two pixels; these are compared with
three codecs only. `ap50` is the average precision of persons at IoU 0.5 against the
clip's ground truth, `agreement` the same against what the detector finds on the uncompressed frames, boxes of vehicles
included where the scene has them. With 36 to 100 frames looked at, differences of less than 0.01 say little. What a
bit is worth in the choice of modes is what `shared/icm/codec/predict/skip.py` says of a uniform quantiser; a quarter to
three times as much was tried on a clip that was trained on and on frames 450 to 590 of `vtest`.
The detector sees our pictures as the cloud's does (`for_detector`), icm-2's P records without grain.
`0@0.75` is level 0 with pictures whose sides were made three quarters as long first, as rate control does where the
lowest level costs too much; they are shown at the clip's size.

What is counted, for all as it goes over a link: of the video codecs each packet of at most 1,400 bytes with 40 for
RTP, UDP and IPv4; of ours every record with its 23 bytes, the stream header, and what gRPC, HTTP/2, TCP and IPv4 add
where records wait half a second for each other, as by default (`benchmarks/icm_bench/video/wire.py`). `bare` is
without all that: packets, and records. Ours sends one I record, the first (`first_bytes`), as an edge does: somebody
who joins gets a keyframe that the cloud made of what it has, at no cost to the uplink. Of the others, those with one
key frame would have to be asked for another. VVC is coded by VVenC at preset medium (`--codecs vvc --vvenc PROGRAM`),
with pictures out of their order as the other encoders' medium has them; the clips as they are alone have it. Its rows
were decoded with the filter of FFmpeg's that `picture_codecs/vvc_decoder.py` now passes by, which is to its
disadvantage (0.01 to 0.06 dB on two photos; not measured on video). The rate of frames is taken on the machine as it
was, so it is rough; `icm-bench speed` times single frames. A BD-rate is the mean difference in bits at equal
precision, in per cent; below zero ours takes fewer.""",
    "motion_modes": """\
Bits of a P record's parts in the mean, `record` being its 23 bytes of header, and of a hundred moved positions how many
have each mode. Below, what it costs to be without some modes: bits at equal squared error in the blocks in which
something moves, against the encoder that has all. The tables stay those of all modes, so a codec made without them
would lose a little less. Last, what a camera's troubles cost at level 1, made on purpose from the first clip
(`benchmarks/icm_bench/video/scenes.py`), in the mean from the ninth frame on.""",
    "speed": """\
`entropy_share_of_encode` is what entropy coding takes of coding a frame, `entropy_share_of_frame` of all that the edge
does for it, reading it from a video stream included. I are frames coded alone, P those after the last one.""",
    "exactness": """\
Records of a camera's clip, I and P, at qualities that change within a chain, are decoded from their bytes alone, in
each runtime with a chain of its own. A mismatch is a record that does not decode, decodes to latents, moved positions
or hyper-latents of which one is not as it was coded, or whose latents are coded to other bytes; every fourth is coded
again. `latents` are all of an I record's, and those of a P record's moved positions. `qualities` counts the different
ones in sixteenths of a level, of 113. `requantised` are P records of another quality than the frame they refer to,
`again_alone` P records that followed once more as an I record, as a keyframe or an intra copy does; the chain goes on
after it.

The runtimes compute the integer networks, which decide what the bits mean. The first three are the services' own, with
all optimisations; torch and NumPy read the same weights. There is no row for a GPU: the integer networks always run on
the CPU, whatever the transforms run on. The entropy coder is the same in all rows;
`tests/icm/codec/entropy/test_tables.py` holds it to a plain integer decoder. All ran on the machine named above; `icm
doctor` asks the same of another one.

The linear path, by which blocks of the reference are moved, is multiplied in float64 by BLAS and scaled by compiled
code as the services do it; in the last row NumPy's 64-bit integers do it, the moving of blocks excepted. What compiled
code says of modes and vectors is held to a slow reading of the definitions by
`tests/icm/codec/motion/test_known.py`. The controls have one filter of one network, or one latent's weights of the
linear path, off by the least there is, and decode the first 25 records of each chain. Of I records motion has no say,
of P records the hyper-synthesis and the context have none.""",
    "load": """\
Only the ingest and the record store run, as in `icm-cloud`, without decoder and detector. The cameras send ten
coded frames over and over, the first as an I record, each in a message of its own (`cloud.batch_seconds` 0, the
dearest way); `cameras cpu` is what they take of the same machine, `cpu` what the cloud takes. Latency counts from
the moment a record was due. `grpc ms a record` is what a server costs that only takes the same messages and answers
them: with few cameras every message wakes a process that sleeps, and that costs more than twice what it does where
the next message is there already. So what a camera costs is not flat but falls with their number. Without cameras the
cloud takes less than a thousandth of a core.""",
    "retention": """\
A pass over an archive in which nothing is due, the plan of a batch of 256 segments, and its deletion with all that a
crash must not tear apart; the peer is the unlinking of as many files alone. A pass costs the same with a hundred times
as many segments.""",
    "evidence": """\
What an edge sent of a clip, exported and checked as `icm verify` does, beside `sha256sum` of the file; a large case of
small pictures beside a tenth of it, and beside decoding its records alone. `margins` are shares of what a frame of a
clip may differ from its record's picture: the worst honest one, and the least telling ones where the video shows the
frame after, or the tenth after.""",
    "viewer": """\
The real viewer, in a process of its own, on the archive that searches are measured on and the rows of a million
segments; an administrator asks for one page after the other, at addresses drawn at random. `queries` are statements
that a page asks the database, the one that finds the session among them, counted in a second viewer. `p95 ms` is that
of the best round, since other programs share the machine, whose load is told; `p95 on a processor` is what the viewer
worked. A login is mostly argon2id. Holds, storage, integrity and jobs are what the cloud beside it says, which holds a
few records. Of `frame`, `p95 without cloud` is without what the cloud takes to decode, asked for the same frame right
after each page. Addresses that are no pages (pictures, feeds, downloads) are left out, as
`benchmarks/icm_bench/viewer/page_table.py` says.""",
    "viewer_wall": """\
The viewer is the real one; the cloud is its live view alone, to which pictures of the clip are shown as the pipeline
would. `wall cores` is the viewer's share of a processor and what the cloud takes more than with nobody looking, both
together. `peer cores a person` is what the same compression alone would take for each who looks, were it not shared;
`jpeg ms` is one picture's. Those who look acknowledge as pages do, and are not counted.""",
    "rate_control": """\
Halfway the link halves. `settled seconds` asks that no 5 s from then on take more than 1.1 of what the link carries,
so one late peak counts as not settled until then; `late peak` says how high it was. `granted seconds` asks the same of
the rate that is granted, which may rise above the link for a while to find out whether it carries more by now. Three
runs settled after 0.9, 0.2 and 0.0 s, with late peaks of 1.05, 1.06 and 1.08 and 0.93, 0.88 and 0.92 of the link in use
at the end; the first is shown.""",
    "fuzz": """\
`stream`, `picture` and `latents` are parsers; `ingest`, `calls`, `watch` and `http` are hostile clients of running
services, which must answer with a typed status, log no traceback and stay healthy. Memory is that of the services
after a fifth of the time and at the end.""",
    "inputs": """\
Files made at random, read, and compared with what Pillow (pictures) or ffmpeg 5.1 (videos) shows of the same file,
before anything is coded: number, size, colour and times, by `icm` and by the edge's sources and frame API. Damaged
files are right if nothing is lost that the judge still shows and what is lost is said, unless their format has nothing
that would tell. Commands are processes. [inputs.md](inputs.md) says what becomes of what.""",
    "training_log": """\
Of icm-2, from the last run of its transforms on. The last figures of each stage, means over the last twentieth of its
log; the plots show the whole of it.""",
}
"""By JSON file; sections without a note have none."""
