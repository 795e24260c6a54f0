"""Prints what detectors find, as they find it: python examples/watch.py 127.0.0.1:7443 [camera]"""

import sys

import icm

address, *camera = sys.argv[1:]
with icm.CloudClient(address) as cloud:
    for stored in cloud.cameras():
        print(f"{stored.name}: {stored.records} records since {stored.first:%F %T}")
    print("watching", flush=True)
    for found in cloud.watch(*camera):
        boxes = ", ".join(f"{box.class_name} {box.score:.2f}" for box in found.boxes) or "nothing"
        print(f"{found.captured:%T} {found.frame.camera} {found.frame.sequence}: {boxes}", flush=True)
