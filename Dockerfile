# The gateway in a container. Written without a Docker engine at hand: it has been linted, never built.
#
#   docker build -t leafgate .
#   docker run --rm -p 8883:8883 -p 443:443 -p 8443:8443 -v leafgate:/state leafgate
#
# The root certificate that leaves must trust is /state/root.pem, that of back ends /state/hub-root.pem; connection strings
# are printed at the start.
# Every option of `leafgate up` can be set through its variable: -e LEAFGATE_HOSTNAME=gw.factory.test.
FROM python:3.12-slim

COPY . /src
RUN pip install --no-cache-dir --constraint /src/constraints.txt /src \
    && useradd --create-home --uid 10001 leafgate \
    && install --directory --owner=leafgate --mode=0700 /state

USER 10001
WORKDIR /home/leafgate
VOLUME /state
EXPOSE 8883 443 8443
ENV LEAFGATE_BIND=0.0.0.0 LEAFGATE_STATE=/state LEAFGATE_MQTT_PORT=8883

# A TLS handshake, which is more than an open port. Whether the chain is good does not matter: it may be wrong on purpose.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["python", "-c", "\
import os, socket, ssl\n\
plug = socket.create_connection(('127.0.0.1', int(os.environ['LEAFGATE_MQTT_PORT'])), 4)\n\
try:\n\
    ssl.create_default_context().wrap_socket(plug, server_hostname='localhost')\n\
except ssl.SSLCertVerificationError:\n\
    pass\n\
"]

ENTRYPOINT ["leafgate"]
CMD ["up"]
