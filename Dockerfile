# Debian, not Alpine: uWebSockets.js ships binaries for glibc only.
FROM node:20-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY src src
COPY workers workers
# `ringcast bench` is part of the command line, and the load generator of it.
COPY bench bench
RUN npx tsc -p tsconfig.build.json

FROM node:20-bookworm-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Of the binaries for each system and Node, keep those that this image can load (Node 20 is ABI 115).
RUN npm ci --omit=dev --no-audit --no-fund \
 && find node_modules/uWebSockets.js -name 'uws_*.node' \
      ! -name 'uws_linux_x64_115.node' ! -name 'uws_linux_arm64_115.node' -delete

FROM node:20-bookworm-slim
ENV NODE_ENV=production
WORKDIR /app
COPY package.json LICENSE ./
COPY --from=dependencies /app/node_modules node_modules
COPY --from=build /app/dist dist
USER node
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.RINGCAST_PORT || process.env.PORT || 8080}/health`).then(r => process.exit(r.ok ? 0 : 1), () => process.exit(1))"]
# Not through npm, which would stand between docker's SIGTERM and the broker's graceful stop.
CMD ["node", "dist/src/main.js"]
