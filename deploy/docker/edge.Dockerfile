# The edge: ONNX Runtime, no torch, no compiler, not root. From the repository's root:
#   docker build -f deploy/docker/edge.Dockerfile -t icm-edge .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# The extra to install: edge, or gpu for ONNX Runtime on CUDA.
ARG EXTRA=edge
# Another package index than pip's own.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
RUN python -m venv .venv
ENV PATH=/app/.venv/bin:$PATH
# What the project needs changes seldom, the project often: two layers.
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE /src/
COPY shared/icm/codec/native /src/shared/icm/codec/native
COPY shared/icm/codec/bundle/shipped.py /src/shared/icm/codec/bundle/
RUN cd /src && mkdir -p edge_service cloud_service training/icm_train benchmarks/icm_bench models && cd models \
 && python -c 'from runpy import run_path; print(*run_path("../shared/icm/codec/bundle/shipped.py")["SHIPPED"])' \
  | xargs mkdir && cd .. \
 && pip install -c constraints.txt ".[${EXTRA}]"
COPY . /src
RUN pip install --no-deps --force-reinstall /src

FROM ${BASE} AS runtime
RUN useradd --uid 10001 --create-home icm && install -d -o icm -g icm /data /assets
COPY --from=build /app /app
WORKDIR /app
# ONNX Runtime would send usage data to its maker.
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 ICM_EDGE_SPOOL__FOLDER=/data ORT_DISABLE_TELEMETRY=1
USER 10001:10001
VOLUME /data
EXPOSE 7444 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:9464/healthz', timeout=4)"]
ENTRYPOINT ["icm-edge"]
CMD ["run", "--config", "/etc/icm/edge.yaml"]

# Fetches a clip and detector weights, for the demo in docker-compose.yml.
FROM runtime AS assets
VOLUME /assets
HEALTHCHECK NONE
ENTRYPOINT ["python", "-m", "icm.testing.assets"]
CMD ["--weights", "--clip", "--cache", "/assets"]

FROM runtime AS edge
