# docker build -t amanah .
# docker run -d --name amanah -p 127.0.0.1:8000:8000 -v amanah:/data amanah
#
# Any image that has Python 3.11 or newer as `python3`, with venv. Both stages use the same one.
ARG BASE=python:3.13-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: these layers are built again only when a lock file changes.
COPY requirements.txt requirements-build.txt ./
RUN python3 -m venv /opt/build \
 && /opt/build/bin/pip install --only-binary=:all: --require-hashes -r requirements-build.txt \
 && python3 -m venv --without-pip /opt/amanah \
 && /opt/build/bin/pip --python /opt/amanah/bin/python3 install --compile \
      --only-binary=:all: --require-hashes -r requirements.txt
COPY LICENSE README.md pyproject.toml ./
COPY amanah amanah
COPY ledger ledger
COPY schemas schemas
# Without an index: nothing gets in that is not hashed above.
RUN /opt/build/bin/pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheel . \
 && /opt/build/bin/pip --python /opt/amanah/bin/python3 install --compile \
      --no-index --no-deps /wheel/*.whl

FROM ${BASE}
LABEL org.opencontainers.image.title="Amanah" \
      org.opencontainers.image.description="A transparency ledger for donations" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/amanah /opt/amanah
# A number, so that Kubernetes can see that it is not root. A new volume takes over this owner.
RUN install -d -o 10001 -g 10001 -m 0750 /data
USER 10001:10001
WORKDIR /data
VOLUME /data
# HOME: the memory of `amanah verify` is in the volume too.
ENV PATH=/opt/amanah/bin:$PATH \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AMANAH_DATABASE=/data/amanah.db
EXPOSE 8000
# Not /readyz: some orchestrators restart what is unhealthy, and most of what makes a ledger not
# ready is not mended by that. http.client asks no proxy, whatever the environment names.
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s --retries=3 CMD ["python3", "-c", "\
from http.client import HTTPConnection; \
ask = HTTPConnection('127.0.0.1', 8000, timeout=4); \
ask.request('GET', '/healthz'); \
raise SystemExit(ask.getresponse().status != 200)"]
# exec, twice: gunicorn becomes process 1, so that it is the one that is told to stop.
CMD ["sh", "-c", "amanah init --if-missing && exec amanah serve --host 0.0.0.0 --port 8000"]
