# Two images from one file:
#   docker build --target api .       the API, without torch
#   docker build --target worker .    a worker
# torch from the ordinary pip index is a CUDA build, which trains on a CPU too. For the much smaller
# CPU build, or for another CUDA version, give the index that has it:
#   docker build --target worker --build-arg TORCH_INDEX_URL=... .

FROM python:3.11-slim AS base
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The folder exists in the image so that a new volume mounted over it belongs to this user.
RUN useradd --create-home --uid 10001 foldhouse \
    && install --directory --mode=0700 --owner=foldhouse --group=foldhouse /data
ENV FOLDHOUSE_DATA_DIR=/data
WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY client client
COPY models models
COPY lessons lessons
COPY app app
COPY workers workers
COPY migrations migrations

FROM base AS api
RUN pip install --constraint constraints.txt ./client '.[s3]'
WORKDIR /data
USER foldhouse
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8000/healthz', timeout=4)"]
CMD ["foldhouse", "api", "--host", "0.0.0.0", "--port", "8000"]

FROM base AS worker
# LightGBM's wheel has no OpenMP of its own.
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
    && rm --recursive --force /var/lib/apt/lists/*
ARG TORCH_INDEX_URL=""
RUN pip install --constraint constraints.txt \
    ${TORCH_INDEX_URL:+--extra-index-url "$TORCH_INDEX_URL"} ./client '.[worker,s3]'
WORKDIR /data
USER foldhouse
# A worker touches the file every five seconds.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["sh", "-c", "find /tmp/foldhouse-worker -mmin -1 | grep -q ."]
CMD ["foldhouse", "worker"]
