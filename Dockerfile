FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=
RUN CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /out/stasis ./cmd/stasis
RUN mkdir -p /out/data

# --target slim: the static binary and the certificates of public authorities, for those without git sources. No shell, no
# package manager, nobody to be root.
FROM scratch AS slim
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

# The image: with git and an SSH client, which sources of private packages need, and an init that reaps what they leave.
# Debian, because its git is kept patched for years. ssh wants its user to have a name.
FROM debian:12-slim
RUN apt-get update \
	&& apt-get install -y --no-install-recommends ca-certificates git openssh-client tini \
	&& rm -rf /var/lib/apt/lists/* \
	&& groupadd --gid 65532 stasis \
	&& useradd --uid 65532 --gid 65532 --home-dir /var/lib/stasis --shell /usr/sbin/nologin stasis
COPY --from=build /out/stasis /usr/bin/stasis
COPY --from=build --chown=65532:65532 /out/data /var/lib/stasis
ENV STORE_PATH=/var/lib/stasis
WORKDIR /etc/stasis
USER 65532:65532
VOLUME /var/lib/stasis
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --retries=3 CMD ["/usr/bin/stasis", "healthcheck"]
ENTRYPOINT ["/usr/bin/tini", "--", "/usr/bin/stasis"]
CMD ["serve"]
