# docker build -t ps3d-rt-gpu -f containers/gpu.Dockerfile . (needs the driver and the NVIDIA container toolkit on the host)
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps -w /wheels .

FROM nvidia/cuda:13.0.1-runtime-ubuntu24.04
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
# ps3d_rt compiles kernels at the first run and keeps them in /cache.
ENV NUMBA_CACHE_DIR=/cache/numba PS3D_RT_CACHE=/cache/ps3d-rt PYTHONUNBUFFERED=1
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/ps3d-rt \
    && wheel="$(echo /wheels/*.whl)" \
    && /opt/ps3d-rt/bin/pip install --no-cache-dir -c /wheels/constraints.txt "${wheel}[serve,gpu,tensorrt]" \
    && rm -r /wheels \
    && useradd --uid 10001 --no-create-home ps3d-rt \
    && mkdir /cache /data \
    && chown ps3d-rt /cache /data
ENV PATH=/opt/ps3d-rt/bin:$PATH
USER 10001
WORKDIR /data
VOLUME ["/cache", "/data"]
ENTRYPOINT ["ps3d-rt"]
CMD ["--help"]
