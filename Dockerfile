# syntax=docker/dockerfile:1
#
#   docker build -t tokenferry .
#   docker run --read-only --user 65532 -p 8080:8080 -v "$PWD/config:/etc/tokenferry:ro" tokenferry
#
# The configuration is a directory, /etc/tokenferry, not a file: only of a directory's files does a
# change reach the container. In a container `listeners` and `admin` say 0.0.0.0, and `admin` a token.
# To pin the bases to what was looked at, name them with their digest: --build-arg RUST_IMAGE=rust@sha256:...

ARG RUST_IMAGE=rust:1.95.0-bookworm
ARG BASE_IMAGE=gcr.io/distroless/static-debian12:nonroot

FROM ${RUST_IMAGE} AS build
WORKDIR /src
COPY . .
# PROFILE=dev builds sooner, and what runs slower. Only a release is built from a recorded profile.
ARG PROFILE=release
# The caches outlive the build: only what has changed is compiled again. Statically linked, the C
# library's name service included ("files" and "dns"), so the last stage needs no library at all.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    host="$(rustc -vV | sed -n 's/^host: //p')" \
    && with="$([ "$PROFILE" != release ] || echo benches/pgo/use.sh)" \
    && RUSTFLAGS="-C target-feature=+crt-static" $with cargo install --locked --no-track \
        --path . --bin tokenferry --profile "$PROFILE" --target "$host" --root out \
    && mkdir -p out/doc \
    && python3 deploy/release/licences.py > out/doc/THIRD-PARTY-LICENSES \
    && cp LICENSE-APACHE LICENSE-MIT out/doc/

FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="tokenferry" \
      org.opencontainers.image.description="An authenticating reverse proxy: legacy applications point their base URL at it, and it logs in to the modern API for them" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.base.name="gcr.io/distroless/static-debian12:nonroot"
# The certificates of the system, for `roots`; the base has them, another one may not.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/out/doc/ /usr/share/doc/tokenferry/
COPY --from=build /src/out/bin/tokenferry /usr/local/bin/tokenferry
ENV TOKENFERRY_CONFIG=/etc/tokenferry/proxy.yaml
USER 65532:65532
WORKDIR /etc/tokenferry
# Requests; health, metrics and the status page.
EXPOSE 8080 9901
STOPSIGNAL SIGTERM
# Asks the admin port that the configuration names.
HEALTHCHECK --interval=10s --timeout=5s --start-period=10s --retries=3 \
    CMD ["/usr/local/bin/tokenferry", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/tokenferry"]
CMD ["run"]
