# The gateway's image (target `gateway`, the default), and the demo's legacy backend (target `demo`).
# docker compose up builds both; by hand: docker build -t auth-gateway .

FROM python:3.11-slim-bookworm AS base
ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Fixed numbers: docker-compose.yml hands the secrets to this user before it runs.
RUN groupadd --gid 10001 gateway && \
    useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin gateway


# What the gateway needs from PyPI, exactly as locked. The tools stay in this stage: /opt/venv has no pip of its own.
FROM base AS dependencies
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
COPY requirements/build.txt requirements/runtime.txt requirements/
COPY .ci/retry ./
RUN python -m venv /opt/build && \
    sh retry /opt/build/bin/pip install --quiet --require-hashes -r requirements/build.txt
RUN python -m venv --without-pip /opt/venv && \
    sh retry /opt/build/bin/pip --python /opt/venv/bin/python install --quiet \
        --require-hashes --only-binary :all: -r requirements/runtime.txt


FROM dependencies AS package
COPY pyproject.toml README.md ./
COPY gateway gateway
RUN /opt/build/bin/pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist . && \
    /opt/build/bin/pip --python /opt/venv/bin/python install --quiet --no-deps --no-index dist/*.whl


FROM base AS demo
LABEL org.opencontainers.image.title="auth-gateway demo backend" \
      org.opencontainers.image.description="A legacy backend without any login code, to stand behind the gateway"
COPY --from=dependencies /opt/venv /opt/venv
COPY demo /opt/demo/demo
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /opt/demo
USER 10001:10001
EXPOSE 9000
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 9000, timeout=4); c.request('GET', '/'); sys.exit(c.getresponse().status >= 500)"]
ENTRYPOINT ["python", "-m", "demo"]
CMD ["--host", "0.0.0.0", "--port", "9000"]


FROM base AS gateway
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="auth-gateway" \
      org.opencontainers.image.description="An asynchronous, Redis-backed authentication gateway for legacy HTTP backends" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=package /opt/venv /opt/venv
ENV PATH=/opt/venv/bin:$PATH
WORKDIR /etc/gateway
USER 10001:10001
# 8080 is for everybody; the management listener (8081) is for the check below and for operators, never for a published port.
EXPOSE 8080
# 200 while it serves, also when Redis or a backend is away: a restart of the gateway would not bring those back.
# No curl in a slim image; http.client, as urllib would ask a proxy named by the environment.
HEALTHCHECK --interval=10s --timeout=5s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8081, timeout=4); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["gateway"]
CMD ["serve", "--config", "/etc/gateway/gateway.yaml"]
