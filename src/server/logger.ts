import { createRequire } from 'node:module';
import { type DestinationStream, type Logger, pino } from 'pino';

export type { Logger } from 'pino';

export interface LoggerOptions {
  /** Least severe level that is written. */
  level: string;
  /** For people at a terminal; else JSON lines. */
  pretty: boolean;
  /** Where to write; standard error if not given. */
  destination?: DestinationStream;
  /** Gets each line too, as JSON; nowhere if not given. */
  copyTo?: DestinationStream | undefined;
}

/** Fields that hold a secret, or that a careless log line could carry one in. */
const SECRET_FIELDS = [
  'apiKey',
  'api_key',
  'newApiKey',
  'new_api_key',
  'masterKey',
  'master_key',
  'secret',
  'password',
  'token',
  'authorization',
  'Authorization',
  'proxy-authorization',
  'cookie',
  'set-cookie',
  'x-goog-api-key',
  'X-Goog-Api-Key',
  'x-api-key',
];

/** How deep in an object they are looked for, such as request.headers.authorization. */
const DEPTHS = ['', '*.', '*.*.', '*.*.*.'];

/** Writes at once, so that the last lines of a process that ends are not lost. A broken pipe ends the log, not the server. */
export function createLogger({ level, pretty: readable, destination, copyTo }: LoggerOptions): Logger {
  const stream = destination ?? pino.destination({ dest: 2, sync: true });
  const written = readable ? readably(stream) : stream;
  return pino(
    {
      level,
      base: { name: 'keybalancer' },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: {
        paths: DEPTHS.flatMap((depth) => SECRET_FIELDS.map((field) => `${depth}["${field}"]`.replace('.["', '["'))),
        censor: '[secret]',
      },
    },
    copyTo === undefined ? written : both(written, copyTo),
  );
}

function both(one: DestinationStream, other: DestinationStream): DestinationStream {
  return {
    write: (line: string) => {
      one.write(line);
      other.write(line);
    },
  };
}

/** Line by line and at once, unlike pino-pretty's own stream, whose last lines an exit would lose. */
function readably(stream: DestinationStream): DestinationStream {
  // Loaded where there is a terminal: it has dozens of modules.
  const { prettyFactory } = createRequire(import.meta.url)('pino-pretty') as typeof import('pino-pretty');
  const colorize = process.stderr.isTTY === true && process.stderr.hasColors();
  const prettify = prettyFactory({ colorize, ignore: 'name', translateTime: 'SYS:HH:MM:ss.l' });
  return {
    write: (line: string) => {
      stream.write(prettify(line) ?? line);
    },
  };
}
