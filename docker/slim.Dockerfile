# parnwb from PyPI's wheels alone, MPI (MPICH) among them; h5py is the serial one, which is all that parnwb needs.
#     docker build -t parnwb:slim -f docker/slim.Dockerfile .
#     docker run --rm --shm-size=1g -v "$PWD:/data" parnwb:slim mpirun -n 2 parnwb demo
ARG BASE=docker.io/library/debian:trixie-slim
FROM ${BASE} AS installed

RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3-venv
ARG VERSION=0+unknown
ARG EXTRAS=convert,mpich
COPY . /usr/src/parnwb
RUN python3 -m venv /opt/parnwb \
    && SETUPTOOLS_SCM_PRETEND_VERSION_FOR_PARNWB="$VERSION" /opt/parnwb/bin/pip install --no-cache-dir \
        --only-binary :all: "/usr/src/parnwb[$EXTRAS]" \
    && /opt/parnwb/bin/pip uninstall --yes --quiet pip

FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*
COPY --from=installed /opt/parnwb /opt/parnwb

# Ranks are the unit of parallelism. Caches: a home folder may not be there, not be writable, or be shared by all ranks.
# MPICH: where each rank has a container of its own, none may read the memory of another.
ENV PATH=/opt/parnwb/bin:$PATH \
    OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 \
    PYNWB_NO_CACHE_DIR=1 XDG_CACHE_HOME=/tmp/cache NUMBA_CACHE_DIR=/tmp/cache/numba \
    MPIR_CVAR_CH4_CMA_ENABLE=0 UCX_POSIX_USE_PROC_LINK=n
RUN useradd --create-home --uid 1000 parnwb && install -d -o parnwb -g parnwb /data
USER parnwb
WORKDIR /data

ARG VERSION=0+unknown
LABEL org.opencontainers.image.title="parnwb" \
      org.opencontainers.image.description="Write one ordinary NWB file from many MPI ranks; wheels only, MPICH" \
      org.opencontainers.image.licenses="BSD-3-Clause" \
      org.opencontainers.image.vendor="The parnwb developers" \
      org.opencontainers.image.version="${VERSION}"
HEALTHCHECK --interval=5m --timeout=60s --start-period=10s CMD ["parnwb", "doctor", "/tmp"]
CMD ["parnwb", "--help"]
