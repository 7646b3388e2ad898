import { SeverityNumber, trace } from '@opentelemetry/api';
import { expect, test } from 'vitest';
import { createLogger, type Logger } from '../../src/server/logger.ts';
import { logRecordOf } from '../../src/server/telemetry/log-records.ts';

/** What a line of the log becomes. */
function recordOf(write: (logger: Logger) => void, pretty = false): ReturnType<typeof logRecordOf> {
  const copied: string[] = [];
  const copyTo = { write: (line: string) => void copied.push(line) };
  write(createLogger({ level: 'trace', pretty, destination: { write: () => {} }, copyTo }));
  return logRecordOf(copied[0]!);
}

test.each(['trace', 'debug', 'info', 'warn', 'error', 'fatal'] as const)('a line of level %s keeps it', (level) => {
  const { severityNumber, severityText } = recordOf((logger) => logger[level]('said'));
  expect([severityText, SeverityNumber[severityNumber!]]).toEqual([level, level.toUpperCase()]);
});

test.each([false, true])('a line keeps its time, words and fields, whatever people read (pretty: %s)', (pretty) => {
  const record = recordOf((logger) => logger.info({ pool: 'default', doors: { grpc: '127.0.0.1:1' } }, 'said'), pretty);
  expect(record).toMatchObject({ body: 'said', attributes: { pool: 'default', doors: { grpc: '127.0.0.1:1' } } });
  expect(Math.abs(Date.now() - Number(record.timestamp))).toBeLessThan(60_000);
});

test('an error is an exception by the conventions, and a trace is that of the record', () => {
  const ids = { trace_id: '4bf92f3577b34da6a3ce929d0e0e4736', span_id: '00f067aa0ba902b7' };
  const { attributes, context } = recordOf((logger) => logger.error({ err: new TypeError('broken'), ...ids }, 'x'));
  expect(attributes).toEqual({
    'exception.type': 'TypeError',
    'exception.message': 'broken',
    'exception.stacktrace': expect.stringContaining('log-records.test'),
  });
  expect(trace.getSpanContext(context!)).toMatchObject({ traceId: ids.trace_id, spanId: ids.span_id });
});

test('what the log hides is hidden', () => {
  const record = recordOf((logger) => logger.info({ request: { headers: { authorization: 'sesame' } } }, 'x'));
  expect(JSON.stringify(record)).not.toContain('sesame');
});
