import { type LogRecord, ROOT_CONTEXT, SeverityNumber, TraceFlags, trace } from '@opentelemetry/api';

const SEVERITIES: Readonly<Record<string, SeverityNumber>> = {
  trace: SeverityNumber.TRACE,
  debug: SeverityNumber.DEBUG,
  info: SeverityNumber.INFO,
  warn: SeverityNumber.WARN,
  error: SeverityNumber.ERROR,
  fatal: SeverityNumber.FATAL,
};

/** A line of the log as OpenTelemetry has it. What the line hides is hidden here too, since this is made of the line. */
export function logRecordOf(line: string): LogRecord {
  const { level, time, msg, name: _, trace_id, span_id, err, ...rest } = JSON.parse(line) as Record<string, unknown>;
  const error = err as { type?: string; message?: string; stack?: string } | undefined;
  return {
    timestamp: new Date(String(time)),
    severityNumber: SEVERITIES[String(level)] ?? SeverityNumber.UNSPECIFIED,
    severityText: String(level),
    body: String(msg),
    attributes: {
      ...(rest as LogRecord['attributes']),
      ...(error?.type !== undefined && { 'exception.type': error.type }),
      ...(error?.message !== undefined && { 'exception.message': error.message }),
      ...(error?.stack !== undefined && { 'exception.stacktrace': error.stack }),
    },
    ...(typeof trace_id === 'string' &&
      typeof span_id === 'string' && {
        context: trace.setSpanContext(ROOT_CONTEXT, {
          traceId: trace_id,
          spanId: span_id,
          traceFlags: TraceFlags.SAMPLED,
        }),
      }),
  };
}
