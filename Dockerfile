# KeyBalancer's server. Build: docker build -t keybalancer .
#
# Run, with the doors published on loopback only:
#   docker run --read-only -v keybalancer:/var/lib/keybalancer \
#     -p 127.0.0.1:50051:50051 -p 127.0.0.1:8051:8051 -e KEYBALANCER_INSECURE=true keybalancer
#
# A container is reached through addresses that are not loopback, and there is no TLS yet: without KEYBALANCER_INSECURE=true the
# server refuses to start and says why. Whoever sets it vouches for the network, since API keys cross it in plain text.

FROM node:24-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# Native parts come prebuilt inside their packages, so no install script has to run.
RUN npm ci --ignore-scripts
COPY tsconfig.json tsconfig.build.json ./
COPY src ./src
COPY test/fake-gemini ./test/fake-gemini
RUN npm run build
RUN npm prune --omit=dev --ignore-scripts
# What nothing reads when it runs is more than half of the bytes: types, maps, SQLite's source, other systems' binaries.
RUN find node_modules dist -type f '(' -name '*.map' -o -name '*.ts' -o -name '*.mts' -o -name '*.cts' ')' -delete \
    && rm -r node_modules/better-sqlite3/deps node_modules/better-sqlite3/src \
    && find node_modules/better-sqlite3/prebuilds -type f ! -name 'linux-*' -delete

FROM node:24-bookworm-slim
ENV NODE_ENV=production \
    KEYBALANCER_DATA_DIR=/var/lib/keybalancer \
    KEYBALANCER_GRPC=0.0.0.0:50051 \
    KEYBALANCER_HTTP=0.0.0.0:8051
WORKDIR /app
COPY --from=build /app/package.json ./package.json
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
COPY LICENSE ./
# A new volume takes over this owner and mode.
RUN install -d -m 0700 -o node -g node /var/lib/keybalancer
USER node
VOLUME /var/lib/keybalancer
EXPOSE 50051 8051
# Asks the HTTP door on its own port. With KEYBALANCER_HTTP=off, run with --no-healthcheck.
HEALTHCHECK --interval=15s --timeout=3s --start-period=20s \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.KEYBALANCER_HTTP.split(':').pop()}/healthz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# The server itself is the process that signals reach; SIGTERM drains it within 10 s.
STOPSIGNAL SIGTERM
ENTRYPOINT ["node", "/app/dist/src/cli/main.js"]
CMD ["serve"]
