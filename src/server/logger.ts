import { type DestinationStream, type Logger, pino } from 'pino';
import { build as pretty } from 'pino-pretty';

export type { Logger } from 'pino';

export interface LoggerOptions {
  /** Least severe level that is written. */
  level: string;
  /** For people at a terminal; else JSON lines. */
  pretty: boolean;
  /** Where to write; standard error if not given. */
  destination?: DestinationStream;
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
export function createLogger({ level, pretty: readable, destination }: LoggerOptions): Logger {
  const stream = destination ?? pino.destination({ dest: 2, sync: true });
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
    readable
      ? pretty({ destination: stream, sync: true, colorize: true, ignore: 'name,hostname', translateTime: 'SYS:HH:MM:ss.l' })
      : stream,
  );
}
