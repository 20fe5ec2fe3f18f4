# An image with only the two programs, which run as an unprivileged user.
#
#   docker build --build-arg VERSION=1.0.0 -t dhtprom .
#   docker buildx build --platform=linux/amd64,linux/arm64,linux/arm/v7 -t dhtprom .
#
# The scraper is the default. A client is docker run --entrypoint=/dhtprom-client dhtprom ...
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION=unknown TARGETOS TARGETARCH TARGETVARIANT
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH GOARM=${TARGETVARIANT#v} go build -trimpath -ldflags="-s -w -X github.com/prometheus/common/version.Version=$VERSION" \
      -o /out/ ./cmd/dhtprom-scraper ./cmd/dhtprom-client
RUN mkdir /out/data

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/dhtprom-scraper /out/dhtprom-client /
COPY --from=build --chown=65534:65534 /out/data /var/lib/dhtprom
COPY --from=build --chown=65534:65534 /out/data /etc/dhtprom
USER 65534:65534
VOLUME /var/lib/dhtprom
# In a container the loopback interface is the container's own, so this exposes no more than the published ports. Only the
# scraper reads it: a client on the host's network would listen on all of the host's interfaces.
ENV DHTPROM_STORAGE_PATH=/var/lib/dhtprom DHTPROM_SCRAPER_WEB_LISTEN_ADDRESS=:30000
EXPOSE 30000/tcp
ENTRYPOINT ["/dhtprom-scraper"]
