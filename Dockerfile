# lpdif on the CPU:
#   docker build -t lpdif .
#   docker run --rm -v "$PWD:/data" --user "$(id -u):$(id -g)" lpdif reconstruct scan.ply -o mesh.ply
FROM python:3.12-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY lpdif_cli lpdif_cli
COPY models models
RUN python -m pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM python:3.12-slim
# torch of this index is built for the CPU alone, and a tenth of the size
RUN python -m pip install --no-cache-dir torch==2.13.0 --index-url https://download.pytorch.org/whl/cpu
COPY --from=build /wheels /wheels
RUN python -m pip install --no-cache-dir "$(ls /wheels/lpdif-*.whl)[las,e57,texture]" && rm -r /wheels
ENV HOME=/tmp
WORKDIR /data
ENTRYPOINT ["lpdif"]
CMD ["--help"]
