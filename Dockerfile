# The image holds the binary, the C library it links and time zones: no shell, no package manager.
FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends tzdata gcc libc6-dev make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN cargo build --release --locked && scripts/image-root target/release/watchpost /image

FROM scratch
COPY --from=build --chown=65532:65532 /image/data /data
COPY --from=build /image /
USER 65532:65532
ENV WATCHPOST_LISTEN=0.0.0.0:4300 \
    WATCHPOST_OTLP_GRPC_LISTEN=0.0.0.0:4317 \
    WATCHPOST_OTLP_HTTP_LISTEN=0.0.0.0:4318 \
    WATCHPOST_DATA_DIR=/data
VOLUME /data
EXPOSE 4300 4317 4318
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s CMD ["/watchpost", "healthcheck"]
ENTRYPOINT ["/watchpost"]
CMD ["serve"]
