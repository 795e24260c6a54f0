# The cloud: torch for the detector, no compiler, not root. From the repository's root:
#   docker build -f deploy/docker/cloud.Dockerfile -t icm-cloud .
ARG BASE=python:3.11-slim-bookworm

FROM ${BASE} AS build
# The extra to install: cloud, or cloud-gpu for CUDA.
ARG EXTRA=cloud
# cpu: a torch wheel laid into deploy/wheels, else PyTorch's own CPU build; cuda: the package index's build, several GB.
ARG TORCH=cpu
ARG TORCH_CPU_INDEX=https://download.pytorch.org/whl/cpu
# Another package index than pip's own.
ARG PIP_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /app
RUN python -m venv .venv
ENV PATH=/app/.venv/bin:$PATH
COPY deploy/wheels /wheels
COPY pyproject.toml hatch_build.py constraints.txt README.md LICENSE /src/
COPY shared/icm/codec/native /src/shared/icm/codec/native
COPY shared/icm/codec/bundle/shipped.py /src/shared/icm/codec/bundle/
# Without its dependencies: they follow with all the others, and a CPU build asks for no CUDA packages.
RUN torch=$(grep '^torch==' /src/constraints.txt); \
    case "$TORCH" in \
      cuda) pip install --no-deps "$torch" ;; \
      cpu) if ls /wheels/torch-*.whl >/dev/null 2>&1; \
           then pip install --no-deps --no-index --find-links /wheels "$torch"; \
           else pip install --no-deps --index-url "$TORCH_CPU_INDEX" "$torch" \
             || { echo "cannot reach PyTorch's CPU builds: lay a wheel of $torch into deploy/wheels" >&2; exit 1; }; fi ;; \
      *) echo "TORCH is cpu or cuda, not $TORCH" >&2; exit 1 ;; \
    esac
# What the project needs changes seldom, the project often: two layers. OpenCV comes as the build without windows, which
# needs no X11 libraries of the system.
RUN cd /src && mkdir -p edge_service cloud_service training/icm_train benchmarks/icm_bench models && cd models \
 && python -c 'from runpy import run_path; print(*run_path("../shared/icm/codec/bundle/shipped.py")["SHIPPED"])' \
  | xargs mkdir && cd .. \
 && pip install -c constraints.txt ".[${EXTRA}]" \
 && opencv=$(pip freeze | sed -n 's/^opencv-python==/opencv-python-headless==/p') \
 && pip uninstall --yes opencv-python && pip install --no-deps "$opencv"
COPY . /src
RUN pip install --no-deps --force-reinstall /src

FROM ${BASE} AS cloud
RUN useradd --uid 10001 --create-home icm && install -d -o icm -g icm /data /assets
COPY --from=build /app /app
WORKDIR /app
# ONNX Runtime would send usage data to its maker; Matplotlib wants a folder to write to that nobody needs to keep.
ENV PATH=/app/.venv/bin:$PATH PYTHONDONTWRITEBYTECODE=1 ICM_CLOUD_STORE__FOLDER=/data \
    ORT_DISABLE_TELEMETRY=1 MPLCONFIGDIR=/tmp/matplotlib
USER 10001:10001
VOLUME /data
EXPOSE 7443 9465
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s \
  CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:9465/healthz', timeout=4)"]
ENTRYPOINT ["icm-cloud"]
CMD ["run", "--config", "/etc/icm/cloud.yaml"]
