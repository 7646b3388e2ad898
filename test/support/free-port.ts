import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * A free port of loopback below those that the system gives out by itself (from 32768 on): until a server starts there, and while it is
 * restarted, nobody gets it by chance, for a connection of his own or for port 0.
 */
export async function freePort(): Promise<number> {
  for (;;) {
    const port = randomInt(20_000, 32_000);
    if (await isFree(port)) return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(port, '127.0.0.1', () => server.close(() => resolve(true)));
  });
}
