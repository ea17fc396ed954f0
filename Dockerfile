# syntax=docker/dockerfile:1
# The images of Mini Video Factory: `web` (pages and routes, no speech engine) and `worker` (makes the videos).
# docker-compose.yml builds both; by hand: docker build --target worker --tag mini-video-factory-worker .

ARG PYTHON=3.11-slim-bookworm

FROM python:${PYTHON} AS base
ENV PATH=/app/.venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    HOST=0.0.0.0 \
    PORT=8501 \
    DATA_DIR=/data \
    WHISPER_MODEL_DIR=/models \
    LOG_FORMAT=json
WORKDIR /app
# The number is fixed, so that both images own what lies in a volume of both.
RUN useradd --uid 10001 --create-home --shell /usr/sbin/nologin factory \
    && install --directory --owner=factory --group=factory --mode=0700 /data /models

# --- packages: only .venv and the weights leave these stages ---

FROM base AS web-packages
COPY requirements-web.txt ./
RUN python -m venv .venv \
    && .venv/bin/pip install --disable-pip-version-check --no-cache-dir --quiet --requirement requirements-web.txt

FROM base AS worker-packages
RUN apt-get update \
    && apt-get install --yes --no-install-recommends make \
    && rm -rf /var/lib/apt/lists/*
COPY Makefile requirements.txt ./
# As in the Makefile: "cpu" takes PyTorch's CPU build from TORCH_INDEX, "cuda" the registry's, gigabytes larger.
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN make PYTHON=python TORCH="$TORCH" TORCH_INDEX="$TORCH_INDEX" packages
# The real auto-editor as second cut engine: the address of its program and that file's SHA-256; empty takes none.
ARG AUTO_EDITOR_URL=
ARG AUTO_EDITOR_SHA256=
RUN if [ -n "$AUTO_EDITOR_URL" ]; then \
      python -c 'import sys, urllib.request; urllib.request.urlretrieve(*sys.argv[1:])' "$AUTO_EDITOR_URL" auto-editor \
      && { echo "$AUTO_EDITOR_SHA256  auto-editor" | sha256sum --check --strict || { sha256sum auto-editor; exit 1; }; } \
      && install --mode=0755 auto-editor .venv/bin/auto-editor && .venv/bin/auto-editor --version; \
    fi

FROM worker-packages AS weights
COPY config.py ./
COPY pipeline pipeline
# A Whisper model that is put into the image; empty leaves it to the first start, which then needs a network.
ARG WHISPER_MODEL=base
RUN if [ -n "$WHISPER_MODEL" ]; then python -m pipeline.weights "$WHISPER_MODEL"; fi

# --- the images ---

FROM base AS web
COPY --from=web-packages /app/.venv .venv
COPY . .
RUN python -m compileall -q -x '/\.venv/' .
USER 10001
EXPOSE 8501
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s CMD ["python", "-m", "jobs.pulse", "web"]
CMD ["sh", "-c", "exec python -m streamlit run app.py --server.address=\"$HOST\" --server.port=\"$PORT\""]

FROM base AS worker
# Burned captions in the scripts that our own font lacks: Arabic, Devanagari and many more; Chinese, Japanese, Korean.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fontconfig-config fonts-noto-cjk fonts-noto-core \
    && rm -rf /var/lib/apt/lists/*
COPY --from=worker-packages /app/.venv .venv
COPY --from=weights --chown=factory:factory /models /models
COPY . .
RUN python -m compileall -q -x '/\.venv/' .
ARG WHISPER_MODEL=base
ENV WHISPER_MODEL=$WHISPER_MODEL
USER 10001
HEALTHCHECK --interval=60s --timeout=30s --start-period=180s CMD ["python", "-m", "jobs.pulse", "worker"]
CMD ["sh", "-c", "python -m pipeline.weights && exec python -m jobs.worker"]
