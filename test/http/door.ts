import { execFile } from 'node:child_process';
import { onTestFinished } from 'vitest';
import { type HttpServer, type HttpServerOptions, startHttpServer } from '../../src/server/http/http-server.ts';
import type { ServiceContext } from '../../src/server/service/service-context.ts';
import type { Services } from '../../src/server/service/services.ts';
import { type OpenStoreOptions, openStore } from '../../src/store/open-store.ts';
import { tempDir } from '../support/temp-dir.ts';

export const ACQUIRE = '/keybalancer.v1.KeyBalancerService/AcquireKey';
export const IMPORT = '/keybalancer.v1.KeyBalancerService/ImportKeys';
export const WATCH = '/keybalancer.v1.KeyBalancerService/WatchHealth';
export const SESSION = '/keybalancer.v1.KeyBalancerService/Session';

/** What the services stand on, over a store of its own that goes with the test. */
export async function serviceContext(options: Partial<OpenStoreOptions> = {}): Promise<ServiceContext> {
  const store = await openStore({ dataDir: tempDir(), durability: 'normal', masterKey: {}, ...options });
  onTestFinished(() => store.close());
  return {
    store,
    version: '1.2.3-test',
    startTime: Date.now(),
    draining: new AbortController().signal,
    open: { watchers: 0, sessions: 0 },
  };
}

export interface OpenDoor extends HttpServer {
  readonly url: string;
  /** What was told to onError. */
  readonly faults: unknown[];
}

/** A door on a free port that goes with the test. */
export async function openDoor(
  services: Partial<Services>,
  options: Partial<HttpServerOptions> = {},
): Promise<OpenDoor> {
  const faults: unknown[] = [];
  const door = await startHttpServer({
    host: '127.0.0.1',
    port: 0,
    services: { keyBalancer: {}, keyAdmin: {}, ...services },
    context: options.context ?? (await serviceContext()),
    ready: () => true,
    onError: (error) => faults.push(error),
    ...options,
  });
  onTestFinished(() => door.close());
  return Object.assign(door, { url: `http://${door.address}`, faults });
}

export function post(url: string, body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return fetch(url, { method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: text });
}

export interface CurlAnswer {
  status: number;
  headers: Record<string, string>;
  body: string;
}

/** The answer as curl got it. Unlike fetch, curl sends any Host and Origin. */
export function curl(...args: string[]): Promise<CurlAnswer> {
  return new Promise((resolve, reject) => {
    const child = execFile('curl', ['-sS', '-i', '--max-time', '20', ...args], (error, stdout) => {
      if (error) reject(error);
      else resolve(parsed(stdout));
    });
    child.stdin?.end();
  });
}

function parsed(text: string): CurlAnswer {
  let rest = text;
  let head = '';
  do {
    const end = rest.indexOf('\r\n\r\n');
    head = rest.slice(0, end);
    rest = rest.slice(end + 4);
  } while (/^HTTP\/\S+ 100\b/.test(head));
  const [statusLine = '', ...lines] = head.split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
    }),
  );
  return { status: Number(statusLine.split(' ')[1]), headers, body: rest };
}
