import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Counts } from './counts.ts';
import { Fake } from './fake.ts';
import type { FakeGeminiOptions } from './options.ts';
import type { KeyOptions, ModelOptions } from './scripts.ts';

/** A running fake. `await using` closes it. */
export interface FakeGemini extends AsyncDisposable {
  /** `http://127.0.0.1:PORT`, to give as baseUrl. */
  readonly url: string;
  readonly port: number;
  readonly counts: Counts;
  /** Adds a key, or changes what is given of it. */
  setKey(apiKey: string, options: KeyOptions): void;
  /** Replaces the behaviour of exactly this (project, model), see ModelOptions. */
  setModel(options: ModelOptions): void;
  /** The project of a key, given or made up; undefined for a key that is not known. */
  projectOf(apiKey: string): string | undefined;
  /** Sets the counts to 0 and empties the log. Keys, quota used and files stay. */
  reset(): void;
  /** Gives every project its quota back. */
  resetQuotas(): void;
  /** Cuts what is open and stops. */
  close(): Promise<void>;
}

/** Starts a fake Gemini API on a free port of 127.0.0.1. */
export async function startFakeGemini(options: FakeGeminiOptions = {}): Promise<FakeGemini> {
  const fake = new Fake(options);
  const server = createServer((request, response) => void fake.handle(request, response));
  const upgraded = new Set<Duplex>();
  server.on('upgrade', (request, socket) => {
    upgraded.add(socket);
    socket.once('close', () => upgraded.delete(socket));
    fake.upgrade(request, socket);
  });
  // A client must not find that a kept connection was closed just as it sends: that looks like a fault of the network.
  server.keepAliveTimeout = 3_600_000;
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  fake.baseUrl = `http://127.0.0.1:${port}`;
  let closed: Promise<void> | undefined;
  const close = (): Promise<void> => {
    closed ??= new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
      for (const socket of upgraded) socket.destroy();
    });
    return closed;
  };
  return {
    url: fake.baseUrl,
    port,
    counts: fake.counts,
    setKey: (apiKey, key) => fake.keys.set(apiKey, key),
    setModel: (model) => fake.setModel(model),
    projectOf: (apiKey) => fake.keys.projectOf(apiKey),
    reset: () => fake.counts.reset(),
    resetQuotas: () => fake.quotas.reset(),
    close,
    [Symbol.asyncDispose]: close,
  };
}
