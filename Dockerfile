# The harness in a container, as a user without rights; docs/containers.md says how, and which box works in there.
#
#     docker build --build-arg TORCH_INDEX=URL -t golf-harness .      # URL: a package index with torch for CPUs
#     docker run --rm golf-harness doctor
#
# Versions are those of constraints.txt; without TORCH_INDEX torch is what pip finds by itself, a build for GPUs.
FROM python:3.11-slim AS base
RUN apt-get update \
 && apt-get install -y --no-install-recommends git \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --create-home --uid 1000 golf

# Where one works on the harness: the checkout is mounted, and `make install` installs from it.
FROM base AS dev
RUN apt-get update \
 && apt-get install -y --no-install-recommends make \
 && rm -rf /var/lib/apt/lists/*
USER golf

# Where one uses it.
FROM base AS harness
ARG TORCH_INDEX=""
WORKDIR /opt/golf-harness
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY harness harness
COPY submissions submissions
RUN if [ -n "$TORCH_INDEX" ]; then \
      pip install --no-cache-dir -c constraints.txt --index-url "$TORCH_INDEX" torch; \
    fi \
 && pip install --no-cache-dir -c constraints.txt '.[run]'
USER golf
WORKDIR /home/golf
ENTRYPOINT ["harness"]
CMD ["--help"]
