# The gateway with llama.cpp for NVIDIA's GPUs. How to build and run it: docs/install.md.
#
#   docker build -f deploy/cuda.Dockerfile -t pluggably:cuda .
#
# The base is llama.cpp's own image with a `llama-server` for CUDA 12 in /app, on NVIDIA's runtime image for Ubuntu 24.04
# (llama.cpp's docs/docker.md and .devops/cuda.Dockerfile). The xllamacpp wheel, which would be taken before it, is left
# out: the one on the package index has no CUDA.

FROM ghcr.io/ggml-org/llama.cpp:server-cuda12-b11151 AS base
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

# ── the packages ─────────────────────────────────────────────────────────────────────────────────────────────────────
FROM base AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && python3 -m venv /opt/build \
    && python3 -m venv --without-pip /opt/pluggably
COPY requirements/core.txt requirements/build.txt requirements/
RUN sed '/^xllamacpp==/,/[^\\]$/d' requirements/core.txt > requirements/cuda.txt \
    && /opt/build/bin/python -m pip --python /opt/pluggably/bin/python install --no-deps --require-hashes --only-binary :all: \
        -r requirements/cuda.txt

# ── this checkout ────────────────────────────────────────────────────────────────────────────────────────────────────
FROM packages AS gateway
RUN /opt/build/bin/python -m pip install --no-deps --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && /opt/build/bin/python -m pip --python /opt/pluggably/bin/python install --no-deps --no-index --root /gateway \
        wheels/*.whl

# ── what runs: from here on as in the Dockerfile for the processor ───────────────────────────────────────────────────
FROM base
RUN groupadd --gid 10001 pluggably \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin pluggably \
    && install -d -o 10001 -g 10001 -m 0700 /data \
    && install -d /etc/pluggably /models
COPY --from=packages /opt/pluggably /opt/pluggably
COPY --from=gateway /gateway/opt/pluggably /opt/pluggably

ENV PATH=/opt/pluggably/bin:/app:$PATH \
    HOME=/data \
    PLUGGABLY_DATA_DIR=/data \
    PLUGGABLY_HOST=0.0.0.0 \
    PYTHONMALLOC=malloc \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /etc/pluggably
USER 10001:10001
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["tini", "--", "pluggably"]
CMD ["serve"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["pluggably", "health"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Pluggably" \
      org.opencontainers.image.description="A self-hosted, pluggable gateway to generative models, with CUDA" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
