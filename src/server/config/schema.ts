import { resolve } from 'node:path';
import { z } from 'zod';
import { type HostPort, parseHostPort } from '../host-port.ts';
import { isPlainUrl } from './plain-url.ts';
import { type FieldName, SETTINGS } from './settings.ts';

const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

const TRUE = ['true', '1', 'yes', 'on'];
const FALSE = ['false', '0', 'no', 'off'];

/** The one schema: text of flags, environment and files to values. Each message says what is allowed. */
export const SCHEMA = z.object({
  dataDir: parsed('dataDir', path),
  grpc: parsed('grpc', door),
  http: parsed('http', door),
  durability: z.enum(['full', 'normal'], { error: SETTINGS.durability.allowed }),
  masterKey: z.string().min(1, { error: SETTINGS.masterKey.allowed }).optional(),
  masterKeyFile: parsed('masterKeyFile', path).optional(),
  geminiBaseUrl: parsed('geminiBaseUrl', baseUrl),
  verify: parsed('verify', truth),
  insecure: parsed('insecure', truth),
  logLevel: z.enum(LOG_LEVELS, { error: SETTINGS.logLevel.allowed }),
  otlpEndpoint: parsed('otlpEndpoint', (text) => (text === 'off' ? text : baseUrl(text))).optional(),
  metricsPerKey: parsed('metricsPerKey', truth),
  address: parsed('address', serverAddresses).optional(),
});

export type Values = z.output<typeof SCHEMA>;

/** Makes a value of text, or refuses it and says what is allowed. */
function parsed<T>(name: FieldName, parse: (text: string) => T | undefined) {
  const { allowed } = SETTINGS[name];
  return z.string({ error: allowed }).transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: allowed });
    return z.NEVER;
  });
}

function path(text: string): string | undefined {
  return text === '' || text.includes('\0') ? undefined : resolve(text);
}

function door(text: string): HostPort | 'off' | undefined {
  return text === 'off' ? text : parseHostPort(text);
}

function truth(text: string): boolean | undefined {
  if (TRUE.includes(text.toLowerCase())) return true;
  return FALSE.includes(text.toLowerCase()) ? false : undefined;
}

function baseUrl(text: string): string | undefined {
  return isPlainUrl(text) ? text.replace(/\/+$/, '') : undefined;
}

function serverAddresses(text: string): string | undefined {
  return text.split(',').every((each) => serverAddress(each.trim()) !== undefined) ? text : undefined;
}

function serverAddress(text: string): string | undefined {
  if (text.startsWith('unix:')) return text.length > 'unix:'.length ? text : undefined;
  const address = parseHostPort(text);
  return address === undefined || address.port === 0 ? undefined : text;
}
