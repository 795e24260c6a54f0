"""Hands photos to an edge and says what was found in them: python examples/submit.py 127.0.0.1:7444 door photo.jpg ...

The edge's settings list the camera with the source kind "submitted".
"""

import sys
from pathlib import Path

import icm

address, camera, *photos = sys.argv[1:]
with icm.EdgeClient(address) as edge:
    for photo in photos:
        try:
            answer = edge.submit(camera, Path(photo).read_bytes(), wait=True)
        except icm.errors.ImageError as error:
            print(f"{photo}: {error}")
            continue
        found = [box.class_name for box in answer.detections.boxes] if answer.detections else "not looked at yet"
        print(f"{photo}: frame {answer.frame.sequence}, {answer.bytes} bytes, {found}")
