#!/usr/bin/env bash
# Talks to the running services with nothing but the contracts: examples/curl.sh [EDGE] [CLOUD] [CAMERA]
# `buf` comes with `pip install buf-bin`; addresses and camera are those of `docker compose up`.
set -euo pipefail
edge=${1:-127.0.0.1:7444} cloud=${2:-127.0.0.1:7443} camera=${3:-submitted}
call() { buf curl --schema "$(dirname "$0")/../proto" --protocol grpc --http2-prior-knowledge "$@"; }

call -d '{}' "http://$cloud/icm.v1.ArchiveService/ListCameras"
call -d "{\"camera\": \"$camera\"}" "http://$edge/icm.v1.CameraService/GetCamera"
call -d "{\"camera\": \"$camera\", \"frame\": {\"raw\": {\"width\": 1, \"height\": 1, \"rgb\": \"////\"}}}" \
  "http://$edge/icm.v1.CameraService/SubmitFrame"
