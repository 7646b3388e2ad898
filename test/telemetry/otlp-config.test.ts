import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { effectiveConfig, readServerConfig } from '../../src/server/config/config.ts';
import type { Flags } from '../../src/server/config/settings.ts';

const otlp = (env: NodeJS.ProcessEnv, flags: Flags = {}) => readServerConfig({ config: 'off', ...flags }, env).otlp;

function problems(env: NodeJS.ProcessEnv, flags: Flags = {}): readonly string[] {
  try {
    otlp(env, flags);
  } catch (error) {
    expect(error).toMatchObject({ name: 'ConfigError' });
    return (error as { problems: string[] }).problems;
  }
  return [];
}

const ENDPOINT = { OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' };
const ALL = {
  traces: 'http://collector:4318/v1/traces',
  metrics: 'http://collector:4318/v1/metrics',
  logs: 'http://collector:4318/v1/logs',
};

describe('OTLP', () => {
  test('is off where nothing is said, or where it is said to be', () => {
    expect(otlp({})).toBeUndefined();
    expect(otlp({ OTEL_EXPORTER_OTLP_ENDPOINT: '' })).toBeUndefined();
    expect(otlp({ ...ENDPOINT, OTEL_SDK_DISABLED: 'true' })).toBeUndefined();
    expect(otlp(ENDPOINT, { otlpEndpoint: 'off' })).toBeUndefined();
    const none = { OTEL_TRACES_EXPORTER: 'none', OTEL_METRICS_EXPORTER: 'none', OTEL_LOGS_EXPORTER: 'none' };
    expect(otlp({ ...ENDPOINT, ...none })).toBeUndefined();
  });

  test('goes where the flag says, else our variable, else the standard one', () => {
    expect(otlp(ENDPOINT)).toEqual({
      urls: ALL,
      sampler: 'parentbased_always_off',
      ratio: 1,
      metricIntervalMs: 60_000,
    });
    const ours = { ...ENDPOINT, KEYBALANCER_OTLP_ENDPOINT: 'https://ours/' };
    expect(otlp(ours)?.urls.logs).toBe('https://ours/v1/logs');
    expect(otlp(ours, { otlpEndpoint: 'http://flag:1/base' })?.urls.logs).toBe('http://flag:1/base/v1/logs');
  });

  test('of one signal alone goes to its own endpoint, as it is', () => {
    const own = { OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://traces:4318/in' };
    expect(otlp(own)?.urls).toEqual({ traces: 'http://traces:4318/in' });
    expect(otlp({ ...ENDPOINT, ...own })?.urls).toEqual({ ...ALL, traces: 'http://traces:4318/in' });
  });

  test('takes what the standard says of sampling and of the interval', () => {
    const env = {
      ...ENDPOINT,
      OTEL_TRACES_SAMPLER: 'parentbased_traceidratio',
      OTEL_TRACES_SAMPLER_ARG: '0.25',
      OTEL_METRIC_EXPORT_INTERVAL: '15000',
    };
    expect(otlp(env)).toMatchObject({ sampler: 'parentbased_traceidratio', ratio: 0.25, metricIntervalMs: 15_000 });
  });

  test('is refused by name where it cannot be, all of it at once, and only where something would be sent', () => {
    const wrong = {
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
      OTEL_LOGS_EXPORTER: 'console',
      OTEL_TRACES_SAMPLER: 'jaeger_remote',
      OTEL_TRACES_SAMPLER_ARG: '2',
      OTEL_METRIC_EXPORT_INTERVAL: 'often',
    };
    expect(problems({ ...ENDPOINT, ...wrong })).toEqual([
      'OTEL_EXPORTER_OTLP_PROTOCOL is "grpc"; allowed: http/protobuf',
      'OTEL_LOGS_EXPORTER is "console"; allowed: otlp, none',
      'OTEL_TRACES_SAMPLER is "jaeger_remote"; allowed: always_on, always_off, traceidratio, parentbased_always_on, parentbased_always_off, parentbased_traceidratio',
      'OTEL_TRACES_SAMPLER_ARG is "2"; allowed: a number from 0 to 1',
      'OTEL_METRIC_EXPORT_INTERVAL is "often"; allowed: a number from 1 to 3600000',
    ]);
    expect(problems(wrong)).toEqual([]);
  });

  test('is refused where the exporters would leave out what is said of headers, files, time and compression', () => {
    const headers = 'allowed: NAME=VALUE, with commas between, percent-encoded';
    const wrong = {
      OTEL_EXPORTER_OTLP_TIMEOUT: '-5',
      OTEL_EXPORTER_OTLP_TRACES_TIMEOUT: 'abc',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'zip',
      OTEL_EXPORTER_OTLP_HEADERS: 'sesame',
      OTEL_EXPORTER_OTLP_CERTIFICATE: '/nowhere/sesame.pem',
      OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY: '-----BEGIN PRIVATE KEY----- sesame',
    };
    const found = problems({ ...ENDPOINT, ...wrong });
    expect(found.toSorted()).toEqual([
      'OTEL_EXPORTER_OTLP_CERTIFICATE is not readable (ENOENT); allowed: the path of a file',
      'OTEL_EXPORTER_OTLP_COMPRESSION is "zip"; allowed: gzip, none',
      `OTEL_EXPORTER_OTLP_HEADERS is not usable; ${headers}`,
      'OTEL_EXPORTER_OTLP_LOGS_CLIENT_KEY is not readable (ENOENT); allowed: the path of a file',
      'OTEL_EXPORTER_OTLP_TIMEOUT is "-5"; allowed: a number from 1 to 3600000',
      'OTEL_EXPORTER_OTLP_TRACES_TIMEOUT is "abc"; allowed: a number from 1 to 3600000',
    ]);
    const unusable = ['=sesame', 'name=', 'name=%zz', 'a name=sesame', 'name=a%0Ab', 'name=a;b', 'a=b,sesame'];
    for (const each of unusable) {
      const refused = [`OTEL_EXPORTER_OTLP_METRICS_HEADERS is not usable; ${headers}`];
      expect([each, problems({ ...ENDPOINT, OTEL_EXPORTER_OTLP_METRICS_HEADERS: each })]).toEqual([each, refused]);
    }
    const right = {
      OTEL_EXPORTER_OTLP_TIMEOUT: '5000',
      OTEL_EXPORTER_OTLP_COMPRESSION: 'gzip',
      OTEL_EXPORTER_OTLP_HEADERS: 'authorization=Basic c2VzYW1l==, x-tenant = a%3Bb,',
      OTEL_EXPORTER_OTLP_CERTIFICATE: fileURLToPath(import.meta.url),
    };
    expect(problems({ ...ENDPOINT, ...right })).toEqual([]);
  });

  test('shows no secret of a URL that is refused', () => {
    const allowed = 'an http or https URL without user, query and fragment';
    expect(problems({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://user:sesame@collector/?key=sesame' })).toEqual([
      `OTEL_EXPORTER_OTLP_ENDPOINT is "http://…@collector/?…"; allowed: ${allowed}, or off`,
    ]);
    expect(problems({ OTEL_EXPORTER_OTLP_LOGS_ENDPOINT: 'collector?key=sesame' })).toEqual([
      `OTEL_EXPORTER_OTLP_LOGS_ENDPOINT is not usable; allowed: ${allowed}`,
    ]);
  });

  test('has its endpoint shown with where it came from', () => {
    const { settings } = effectiveConfig({ config: 'off' }, ENDPOINT);
    expect(settings.find(({ name }) => name === 'otlpEndpoint')).toEqual({
      name: 'otlpEndpoint',
      value: 'http://collector:4318',
      origin: 'environment',
      by: 'OTEL_EXPORTER_OTLP_ENDPOINT',
    });
  });
});
