# docker build -t amanah .
# docker run --rm -p 8000:8000 -v amanah:/data amanah
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
# Dependencies first: this layer is rebuilt only when a lock file changes.
COPY requirements.txt requirements-build.txt ./
RUN pip wheel --only-binary=:all: --require-hashes --wheel-dir /wheels -r requirements.txt \
 && pip install --only-binary=:all: --require-hashes -r requirements-build.txt
COPY LICENSE README.md pyproject.toml ./
COPY ledger ledger
COPY schemas schemas
# Without index: what is not in /wheels, hashed, does not get in.
RUN pip wheel --no-index --no-deps --no-build-isolation --wheel-dir /wheels . \
 && python -m venv /opt/amanah \
 && /opt/amanah/bin/pip install --no-index --no-deps --compile /wheels/*.whl

FROM ${PYTHON_IMAGE}
COPY --from=build /opt/amanah /opt/amanah
# A number, so that Kubernetes can see that it is not root. The volume takes over this owner.
RUN install -d -o 10001 -g 10001 -m 0750 /data
USER 10001:10001
WORKDIR /data
VOLUME /data
ENV PATH=/opt/amanah/bin:$PATH \
    HOME=/data \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AMANAH_DATABASE=/data/amanah.db
EXPOSE 8000
# An empty ProxyHandler: a proxy in the environment must not be asked about our own port.
HEALTHCHECK --interval=15s --timeout=5s --start-period=20s --retries=3 \
  CMD ["python", "-c", "from urllib.request import ProxyHandler, build_opener; build_opener(ProxyHandler({})).open('http://127.0.0.1:8000/readyz', timeout=4).read()"]
ENTRYPOINT ["amanah"]
CMD ["serve", "--host", "0.0.0.0", "--port", "8000"]
