# docker build -t ps3d-rt -f containers/cpu.Dockerfile .
FROM python:3.12-slim-bookworm AS build
WORKDIR /src
COPY . .
RUN pip wheel --no-cache-dir --no-deps -w /wheels .

FROM python:3.12-slim-bookworm
COPY --from=build /wheels /wheels
COPY constraints.txt /wheels/
# ps3d_rt compiles kernels at the first run and keeps them in /cache.
ENV NUMBA_CACHE_DIR=/cache/numba PS3D_RT_CACHE=/cache/ps3d-rt PYTHONUNBUFFERED=1
RUN wheel="$(echo /wheels/*.whl)" \
    && pip install --no-cache-dir -c /wheels/constraints.txt "${wheel}[serve]" \
    && rm -r /wheels \
    && useradd --uid 10001 --no-create-home ps3d-rt \
    && mkdir /cache /data \
    && chown ps3d-rt /cache /data
USER 10001
WORKDIR /data
VOLUME ["/cache", "/data"]
ENTRYPOINT ["ps3d-rt"]
CMD ["--help"]
