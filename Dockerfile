# One image with both programs and nothing else, for linux/amd64 and linux/arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/podkey:0.1.0 .
#
# The build stage runs on the builder's own platform and compiles for the other: nothing is emulated. It is `make dist`,
# the same commands as outside a container. tests/image.sh runs this file, and says how far.
ARG RUST_VERSION=1.95

FROM --platform=$BUILDPLATFORM docker.io/library/rust:${RUST_VERSION}-bookworm AS build
WORKDIR /src
RUN command -v make python3 >/dev/null || { apt-get update && apt-get install -y --no-install-recommends make python3; }
# The tools change rarely: a layer of their own.
COPY .ci/tools .ci/zig-cc .ci/
RUN .ci/tools zig
COPY Cargo.toml Cargo.lock Makefile ./
COPY .ci/no-unwind-tables.ld .ci/
COPY src src
# Not built, but named in Cargo.toml.
COPY tests tests
COPY benches benches
ARG TARGETARCH
RUN make dist ARCHES=$TARGETARCH
# Everything the image holds, under one folder. The agent and the two wrappers are at its root, where a runner's container looks for
# them if it has the image mounted as a volume. The CA bundle is for connections without a caFile. There is no file
# /podkey: below a directory of that name are the volumes of the agent's container.
RUN mkdir -p /image/bin /image/etc/ssl/certs \
    && cp dist/$TARGETARCH/podkey /image/bin/ \
    && cp dist/$TARGETARCH/podkey-agent /image/ \
    && install -m 0755 src/agent/volume/job-started.sh src/agent/volume/job-completed.sh /image/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="podkey" \
      org.opencontainers.image.description="Hands annotated pods their Vault or OpenBao secrets as files" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /image/ /
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/bin/podkey"]
