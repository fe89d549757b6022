# The image is the static binary and the certificates of public authorities: no shell, no package manager, nobody to be root.
FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/stasis ./cmd/stasis
RUN mkdir -p /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/stasis /usr/bin/stasis
# A new volume takes over the owner of the folder it covers.
COPY --from=build --chown=65532:65532 /out/data /var/lib/stasis
ENV STORE_PATH=/var/lib/stasis
# A .env file may be mounted here.
WORKDIR /etc/stasis
USER 65532:65532
VOLUME /var/lib/stasis
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/bin/stasis", "healthcheck"]
ENTRYPOINT ["/usr/bin/stasis"]
CMD ["serve"]
