# One image without shell and package manager, for linux/amd64 and linux/arm64:
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example.com/podkey:0.2.0 .
#
# The build stage runs on the builder's own platform and compiles for the other: nothing is emulated. It is `make programs`,
# the same commands as outside a container. tests/image.sh runs this file, and says how far.
# The base image has the Rust of rust-toolchain.toml. Its digest says which image that is, whatever the tag names later.
ARG RUST_IMAGE=docker.io/library/rust:1.95.0-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1

FROM --platform=$BUILDPLATFORM $RUST_IMAGE AS build
WORKDIR /src
RUN { command -v make && command -v python3; } >/dev/null || { apt-get update && apt-get install -y --no-install-recommends make python3; }
# The tools change rarely: a layer of their own.
COPY .ci/tools .ci/zig-cc .ci/
RUN .ci/tools zig
COPY Cargo.toml Cargo.lock build.rs Makefile ./
COPY .ci/no-unwind-tables.ld .ci/hot-functions.ld .ci/
COPY src src
# Not built, but named in Cargo.toml.
COPY tests tests
COPY benches benches
ARG TARGETARCH
# The builder has no git folder: --build-arg PODKEY_COMMIT=$(git rev-parse HEAD) names the commit that podkey reports.
ARG PODKEY_COMMIT=
RUN make programs ARCHES=$TARGETARCH PODKEY_COMMIT=$PODKEY_COMMIT
# Everything the image holds, under one folder. The agent and the two wrappers are at its root, where a runner's container looks for
# them if it has the image mounted as a volume. The CA bundle is for connections without a caFile. There is no file
# /podkey: below a directory of that name are the volumes of the agent's container.
RUN mkdir -p /image/bin /image/etc/ssl/certs \
    && cp dist/$TARGETARCH/podkey /image/bin/ \
    && cp dist/$TARGETARCH/podkey-agent /image/ \
    && install -m 0755 src/agent/volume/job-started.sh src/agent/volume/job-completed.sh /image/ \
    && cp /etc/ssl/certs/ca-certificates.crt /image/etc/ssl/certs/

FROM scratch
ARG VERSION=0.2.0
LABEL org.opencontainers.image.title="podkey" \
      org.opencontainers.image.description="Hands annotated pods their Vault or OpenBao secrets as files" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/podkey/podkey" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /image/ /
# A number, so that the kubelet can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/bin/podkey"]
