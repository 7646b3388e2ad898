/**
 * KeyBalancer's server in a process of one's own, such as that of a test.
 *
 *     const server = await startServer({ dataDir });
 *     const balancer = createKeyBalancer({ address: server.grpc! });
 *     ...
 *     await balancer.close();
 *     await server.drain();
 */
import { type Logger, pino } from 'pino';
import { ConfigError } from './config/config-error.ts';
import { SETTINGS } from './config/settings.ts';
import { type HostPort, parseHostPort } from './host-port.ts';
import { type RunningServer, startServer as start } from './server.ts';

export { ConfigError } from './config/config-error.ts';
export { ExposureError } from './config/exposure.ts';
export type { RunningServer } from './server.ts';

/** As the flags of `keybalancer serve`, less those of the environment: what is not given here has the default that is said here. */
export interface StartServerOptions {
  /** Made if it is not there. Rejects when another process owns it. */
  dataDir: string;
  /** HOST:PORT, or off. Default: a free port of 127.0.0.1. */
  grpc?: string | undefined;
  /** HOST:PORT, or off. Default: off. */
  http?: string | undefined;
  /** full (default): what was acknowledged survives the loss of power; normal: the end of the process. */
  durability?: 'full' | 'normal' | undefined;
  /**
   * The key that keys are sealed with: a value or a file. Default: master.key in the data dir, made on first use. The environment counts
   * only where it is given, as `{ value: process.env.KEYBALANCER_MASTER_KEY }`; undefined is not given.
   */
  masterKey?: { value?: string | undefined; file?: string | undefined } | undefined;
  /** Serve addresses that other machines can reach, without TLS. Default: false. */
  insecure?: boolean | undefined;
  /** Where Gemini is, such as a fake one's URL, for what the server asks it itself. Default: Google's. */
  geminiBaseUrl?: string | undefined;
  /** Whether Gemini is asked before a suspected key is disabled. Default: true. */
  verify?: boolean | undefined;
  /** Default: none is written. */
  logger?: Logger | undefined;
}

/** Opens the data dir and serves. Rejects with an error that says what to do; then nothing is left open. */
export async function startServer(options: StartServerOptions): Promise<RunningServer> {
  return start({
    dataDir: options.dataDir,
    grpc: door('grpc', options.grpc ?? '127.0.0.1:0'),
    http: door('http', options.http ?? 'off'),
    durability: options.durability ?? 'full',
    masterKey: options.masterKey ?? {},
    insecure: options.insecure ?? false,
    geminiBaseUrl: options.geminiBaseUrl ?? SETTINGS.geminiBaseUrl.fallback,
    verify: options.verify ?? true,
    logger: options.logger ?? pino({ level: 'silent' }),
  });
}

function door(name: string, text: string): HostPort | undefined {
  if (text === 'off') return undefined;
  const parsed = parseHostPort(text);
  if (parsed !== undefined) return parsed;
  throw new ConfigError([
    `${name} is ${JSON.stringify(text)}; allowed: HOST:PORT, such as 127.0.0.1:50051 or [::1]:0, or off`,
  ]);
}
