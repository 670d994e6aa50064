# The server's image, without torch: `docker build -t bertwire .` for CPU, `--build-arg RUNTIME=gpu` for CUDA.
# CUDA's libraries come as wheels with onnxruntime-gpu; the host brings the driver, R580 or later (`docker run --gpus all`).
#   docker run --read-only -p 8500:8500 -v "$PWD/bundle:/bundle:ro" bertwire
#   docker run ... bertwire /bundle --variant fp32
ARG PYTHON=3.12

FROM python:${PYTHON}-slim-bookworm AS build
ARG RUNTIME=cpu
WORKDIR /build
COPY requirements/serve-${RUNTIME}.txt requirements.txt
RUN python -m venv /opt/bertwire \
    && /opt/bertwire/bin/pip install --no-cache-dir --requirement requirements.txt
COPY pyproject.toml README.md LICENSE ./
COPY protos protos
COPY core core
COPY client client
COPY data data
COPY runtime runtime
COPY trainer trainer
COPY export export
COPY server server
COPY batch batch
COPY load load
COPY cli cli
RUN /opt/bertwire/bin/pip install --no-cache-dir --no-deps .

FROM python:${PYTHON}-slim-bookworm
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin bertwire
COPY --from=build /opt/bertwire /opt/bertwire
ENV PATH=/opt/bertwire/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
# NVIDIA's container runtime refuses to start where a GPU is asked for and the driver is older; nothing else reads it.
ENV NVIDIA_REQUIRE_CUDA=cuda>=13.0
USER 10001
EXPOSE 8500
# Asks grpc.health.v1; healthy once the model is warm, unhealthy while the server drains.
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["python", "-m", "bertwire_server.probe", "127.0.0.1:8500"]
# What follows the image's name on the command line replaces CMD alone; a --host there comes later and wins.
ENTRYPOINT ["bertwire", "serve", "--host", "0.0.0.0"]
CMD ["/bundle"]
