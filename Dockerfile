# The gateway service, and what docker-compose.yml runs beside it. Targets: gateway, mlflow, jenkins.
#
#   docker build --target gateway --tag kernel-gateway .
#   docker build --target gateway --build-arg EXTRAS=service,mlflow,triggers,examples --tag kernel-gateway .   # with the examples' libraries
#   docker build --target gateway --build-arg EXTRAS=service,mlflow,triggers,ray --tag kernel-gateway .        # for --agent ray://HOST:10001

FROM python:3.11-slim AS gateway
ARG EXTRAS=service,mlflow,triggers
# bubblewrap is the sandbox of kernels. Docker forbids the namespaces that it needs unless told otherwise: docs/operating.md.
# git is for triggers that watch code, and for packages of --env that come from a repository.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends bubblewrap git \
    && rm -rf /var/lib/apt/lists/*
COPY . /tmp/source
RUN pip install --no-cache-dir --constraint /tmp/source/constraints/dev.txt uv "/tmp/source[${EXTRAS}]" \
    && rm -rf /tmp/source
RUN useradd --system --create-home --uid 10001 gateway \
    && install --directory --owner=gateway --group=gateway --mode=700 /data
USER gateway
WORKDIR /home/gateway
VOLUME /data
ENV KERNEL_GATEWAY_DATA=/data
EXPOSE 8888
ENTRYPOINT ["kernel-gateway"]
CMD ["serve"]

# As the extra mlflow-server in pyproject.toml.
FROM python:3.11-slim AS mlflow
RUN pip install --no-cache-dir "graphene>=3" mlflow==3.17.2
RUN useradd --system --create-home --uid 10001 mlflow \
    && install --directory --owner=mlflow --group=mlflow --mode=700 /data
USER mlflow
WORKDIR /home/mlflow
VOLUME /data
EXPOSE 5000
ENTRYPOINT ["mlflow"]
CMD ["server"]

# Jenkins with the command on its PATH, so that builds on its own executor can use the gateway; `jobs plan` and `apply` too.
FROM jenkins/jenkins:lts-jdk21 AS jenkins
USER root
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
COPY . /tmp/source
RUN python3 -m venv /opt/kernel-gateway \
    && /opt/kernel-gateway/bin/pip install --no-cache-dir --constraint /tmp/source/constraints/dev.txt "/tmp/source[jenkins]" \
    && ln -s /opt/kernel-gateway/bin/kernel-gateway /usr/local/bin/kernel-gateway \
    && rm -rf /tmp/source
USER jenkins
