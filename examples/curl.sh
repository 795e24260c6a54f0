#!/usr/bin/env bash
# Talks to the running services with nothing but the contracts: examples/curl.sh [EDGE] [CLOUD]
# `buf` comes with `pip install buf-bin`; the addresses are those of `docker compose up` and of the example settings.
set -euo pipefail
edge=${1:-127.0.0.1:7444} cloud=${2:-127.0.0.1:7443}
call() { buf curl --schema "$(dirname "$0")/../proto" --protocol grpc --http2-prior-knowledge "$@"; }

call -d '{}' "http://$cloud/icm.v1.ArchiveService/ListCameras"
call -d '{"camera": "door"}' "http://$edge/icm.v1.CameraService/GetCamera"
call -d '{"camera": "door", "frame": {"raw": {"width": 1, "height": 1, "rgb": "////"}}}' \
  "http://$edge/icm.v1.CameraService/SubmitFrame"
