# The gateway with llama.cpp for the processor. How to build and run it: docs/install.md.
# Everything in it is pinned: the base by its tag, Python packages by version and hash (requirements/).

# ── the packages, in a virtual environment that is moved as it stands ────────────────────────────────────────────────
FROM python:3.11.15-slim-bookworm AS packages
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
# Without pip: nothing is installed in a container that runs. The build's own pip fills it.
RUN python -m venv --without-pip /opt/pluggably
COPY requirements/core.txt requirements/build.txt requirements/
RUN python -m pip --python /opt/pluggably/bin/python install --no-deps --require-hashes --only-binary :all: \
        -r requirements/core.txt

# ── this checkout, built apart: a change of the code replaces a layer of 3 MB, not one of 250 ────────────────────────
FROM packages AS gateway
RUN python -m pip install --no-deps --require-hashes --only-binary :all: -r requirements/build.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN python -m pip wheel --no-deps --no-build-isolation --wheel-dir wheels . \
    && python -m pip --python /opt/pluggably/bin/python install --no-deps --no-index --root /gateway wheels/*.whl

# ── what runs ────────────────────────────────────────────────────────────────────────────────────────────────────────
FROM python:3.11.15-slim-bookworm
# tini is the init: the gateway starts the processes of models, and what those leave behind needs a parent that reaps
# it. libgomp1 is what llama.cpp's wheel takes from the system, and the slim base lacks.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends libgomp1 tini \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/* \
    && groupadd --gid 10001 pluggably \
    && useradd --uid 10001 --gid 10001 --home-dir /data --no-create-home --shell /usr/sbin/nologin pluggably \
    && install -d -o 10001 -g 10001 -m 0700 /data \
    && install -d /etc/pluggably /models
COPY --from=packages /opt/pluggably /opt/pluggably
COPY --from=gateway /gateway/opt/pluggably /opt/pluggably

# HOME: for a process of another user id (`--user`), which has no entry in /etc/passwd and so no home.
ENV PATH=/opt/pluggably/bin:$PATH \
    HOME=/data \
    PLUGGABLY_DATA_DIR=/data \
    PLUGGABLY_HOST=0.0.0.0 \
    PYTHONMALLOC=malloc \
    PYTHONDONTWRITEBYTECODE=1
# Its pluggably.yaml is read where one is mounted; none is needed.
WORKDIR /etc/pluggably
USER 10001:10001
VOLUME /data
EXPOSE 8080
# It exits with 0 when it is told to stop; SIGTERM is what it wants, and what `docker stop` sends.
ENTRYPOINT ["tini", "--", "pluggably"]
CMD ["serve"]
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["pluggably", "health"]

ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Pluggably" \
      org.opencontainers.image.description="A self-hosted, pluggable gateway to generative models" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
