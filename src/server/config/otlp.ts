import { readFileSync } from 'node:fs';
import { validateHeaderName, validateHeaderValue } from 'node:http';
import { ConfigError } from './config-error.ts';
import { isPlainUrl } from './plain-url.ts';

export const SIGNALS = ['traces', 'metrics', 'logs'] as const;
export type Signal = (typeof SIGNALS)[number];

/** Names of OTEL_TRACES_SAMPLER. */
const SAMPLERS = [
  'always_on',
  'always_off',
  'traceidratio',
  'parentbased_always_on',
  'parentbased_always_off',
  'parentbased_traceidratio',
] as const;
export type SamplerName = (typeof SAMPLERS)[number];

/**
 * What is sent by OTLP, and where. The exporters read their own headers, certificates, timeout and compression, so that no secret is
 * here, and leave out in silence what cannot be: it is only looked at here.
 */
export interface OtlpConfig {
  /** A signal that is absent is not sent. */
  urls: Partial<Record<Signal, string>>;
  sampler: SamplerName;
  /** Of the samplers that go by it: 0 to 1. */
  ratio: number;
  /** Between two sendings of metrics. */
  metricIntervalMs: number;
}

const DEFAULT_INTERVAL_MS = 60_000;
const LONGEST_MS = 3_600_000;

/**
 * By the standard variables of OpenTelemetry. `endpoint`: of all signals; one may have another. undefined: nothing is sent. Throws a
 * ConfigError that names all that cannot be used.
 */
export function otlpConfig(endpoint: string | undefined, env: NodeJS.ProcessEnv): OtlpConfig | undefined {
  if (endpoint === 'off' || env.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return undefined;
  const variables = new Variables(env);
  const urls: OtlpConfig['urls'] = {};
  for (const signal of SIGNALS) {
    const url = urlOf(signal, endpoint, variables);
    if (url !== undefined) urls[signal] = url;
  }
  if (Object.keys(urls).length === 0 && variables.problems.length === 0) return undefined;
  // Without a parent nothing is traced unless that is asked for: an acquire takes less time than a span of it.
  const sampler = variables.oneOf('OTEL_TRACES_SAMPLER', SAMPLERS) ?? 'parentbased_always_off';
  const ratio = variables.number('OTEL_TRACES_SAMPLER_ARG', 0, 1) ?? 1;
  const metricIntervalMs = variables.number('OTEL_METRIC_EXPORT_INTERVAL', 1, LONGEST_MS);
  if (variables.problems.length > 0) throw new ConfigError(variables.problems);
  return { urls, sampler, ratio, metricIntervalMs: metricIntervalMs ?? DEFAULT_INTERVAL_MS };
}

function urlOf(signal: Signal, endpoint: string | undefined, variables: Variables): string | undefined {
  const name = signal.toUpperCase();
  const own = variables.url(`OTEL_EXPORTER_OTLP_${name}_ENDPOINT`);
  const url = own ?? (endpoint === undefined ? undefined : `${endpoint}/v1/${signal}`);
  if (url === undefined || variables.oneOf(`OTEL_${name}_EXPORTER`, ['otlp', 'none']) === 'none') return undefined;
  for (const prefix of ['OTEL_EXPORTER_OTLP', `OTEL_EXPORTER_OTLP_${name}`]) {
    variables.oneOf(`${prefix}_PROTOCOL`, ['http/protobuf']);
    variables.oneOf(`${prefix}_COMPRESSION`, ['gzip', 'none']);
    variables.number(`${prefix}_TIMEOUT`, 1, LONGEST_MS);
    variables.headers(`${prefix}_HEADERS`);
    for (const file of ['CERTIFICATE', 'CLIENT_CERTIFICATE', 'CLIENT_KEY']) variables.file(`${prefix}_${file}`);
  }
  return url;
}

/** Variables of the environment, of which an empty one counts as not set. */
class Variables {
  readonly #env: NodeJS.ProcessEnv;
  readonly #problems = new Set<string>();

  constructor(env: NodeJS.ProcessEnv) {
    this.#env = env;
  }

  get problems(): string[] {
    return [...this.#problems];
  }

  oneOf<T extends string>(name: string, allowed: readonly T[]): T | undefined {
    const text = this.#text(name);
    const found = allowed.find((each) => each === text);
    if (found === undefined && text !== undefined) this.#refuse(name, JSON.stringify(text), allowed.join(', '));
    return found;
  }

  number(name: string, least: number, most: number): number | undefined {
    const text = this.#text(name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (value >= least && value <= most) return value;
    this.#refuse(name, JSON.stringify(text), `a number from ${least} to ${most}`);
    return undefined;
  }

  url(name: string): string | undefined {
    const text = this.#text(name);
    if (text === undefined || isPlainUrl(text)) return text;
    // It is not shown, since it may hold what was meant for a header.
    this.#refuse(name, 'not usable', 'an http or https URL without user, query and fragment');
    return undefined;
  }

  /** What they are is not shown: they are secret. */
  headers(name: string): void {
    const pairs = (this.#text(name) ?? '').split(',').filter((pair) => pair.trim() !== '');
    if (!pairs.every(isHeader)) this.#refuse(name, 'not usable', 'NAME=VALUE, with commas between, percent-encoded');
  }

  /** Its path is not shown either, lest it be the key itself. */
  file(name: string): void {
    const path = this.#text(name);
    if (path === undefined) return;
    try {
      readFileSync(path);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      this.#refuse(name, `not readable (${code})`, 'the path of a file');
    }
  }

  #text(name: string): string | undefined {
    return this.#env[name]?.trim() || undefined;
  }

  #refuse(name: string, shown: string, allowed: string): void {
    this.#problems.add(`${name} is ${shown}; allowed: ${allowed}`);
  }
}

/** As exporters take it, which leave out what is not so, and would cut a value at a semicolon. */
function isHeader(pair: string): boolean {
  const [, name = '', value = ''] = /^([^=;]+)=([^;]+)$/.exec(pair) ?? [];
  try {
    validateHeaderName(decodeURIComponent(name.trim()));
    validateHeaderValue(name, decodeURIComponent(value.trim()));
    return value.trim() !== '';
  } catch {
    return false;
  }
}
