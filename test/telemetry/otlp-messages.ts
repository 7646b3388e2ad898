/** What of OTLP's messages tests look at, by field number: what a field is called, and what is in it. */
type Fields = Readonly<Record<number, readonly [name: string, kind: string, many?: 'many']>>;

const MESSAGES: Readonly<Record<string, Fields>> = {
  Traces: { 1: ['resources', 'ResourceSpans', 'many'] },
  ResourceSpans: { 1: ['resource', 'Resource'], 2: ['scopes', 'ScopeSpans', 'many'] },
  ScopeSpans: { 2: ['spans', 'Span', 'many'] },
  Span: {
    1: ['traceId', 'hex'],
    2: ['spanId', 'hex'],
    4: ['parentSpanId', 'hex'],
    5: ['name', 'text'],
    6: ['kind', 'number'],
    9: ['attributes', 'KeyValue', 'many'],
    15: ['status', 'Status'],
  },
  Status: { 3: ['code', 'number'] },
  Metrics: { 1: ['resources', 'ResourceMetrics', 'many'] },
  ResourceMetrics: { 1: ['resource', 'Resource'], 2: ['scopes', 'ScopeMetrics', 'many'] },
  ScopeMetrics: { 2: ['metrics', 'Metric', 'many'] },
  Metric: {
    1: ['name', 'text'],
    2: ['help', 'text'],
    3: ['unit', 'text'],
    5: ['gauge', 'Points'],
    7: ['sum', 'Points'],
  },
  Points: { 1: ['points', 'Point', 'many'], 2: ['temporality', 'number'], 3: ['isMonotonic', 'number'] },
  Point: { 4: ['value', 'double'], 6: ['value', 'fixed64'], 7: ['attributes', 'KeyValue', 'many'] },
  Logs: { 1: ['resources', 'ResourceLogs', 'many'] },
  ResourceLogs: { 1: ['resource', 'Resource'], 2: ['scopes', 'ScopeLogs', 'many'] },
  ScopeLogs: { 2: ['records', 'LogRecord', 'many'] },
  LogRecord: {
    2: ['severity', 'number'],
    3: ['level', 'text'],
    5: ['body', 'AnyValue'],
    6: ['attributes', 'KeyValue', 'many'],
    9: ['traceId', 'hex'],
    10: ['spanId', 'hex'],
  },
  Resource: { 1: ['attributes', 'KeyValue', 'many'] },
  KeyValue: { 1: ['key', 'text'], 2: ['value', 'AnyValue'] },
  AnyValue: { 1: ['is', 'text'], 2: ['is', 'number'], 3: ['is', 'number'], 4: ['is', 'double'] },
};

export interface KeyValue {
  key: string;
  value: { is: string | number };
}

/** Reads one message by protobuf's wire format. Fields that no test looks at are skipped; anything else throws. */
export function decode(bytes: Buffer, message: string): Record<string, unknown> {
  const fields = MESSAGES[message];
  if (fields === undefined) throw new Error(`no message is called ${message}`);
  const found: Record<string, unknown> = {};
  for (const [name, , many] of Object.values(fields)) if (many !== undefined) found[name] = [];
  let at = 0;
  const varint = (): number => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = bytes.readUInt8(at++);
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  };
  const take = (length: number): Buffer => {
    if (at + length > bytes.length) throw new Error('a field ends beyond its message');
    at += length;
    return bytes.subarray(at - length, at);
  };
  const wire: Record<number, () => Buffer | number> = {
    0: varint,
    1: () => take(8),
    2: () => take(varint()),
    5: () => take(4),
  };
  while (at < bytes.length) {
    const tag = varint();
    const read = wire[tag & 7];
    if (read === undefined) throw new Error(`wire type ${tag & 7}`);
    const raw = read();
    const field = fields[tag >>> 3];
    if (field === undefined) continue;
    const [name, kind, many] = field;
    const value = contentOf(raw, kind);
    if (many !== undefined) (found[name] as unknown[]).push(value);
    else found[name] = value;
  }
  return found;
}

function contentOf(raw: Buffer | number, kind: string): unknown {
  if (typeof raw === 'number') return raw;
  switch (kind) {
    case 'text':
      return raw.toString('utf8');
    case 'hex':
      return raw.toString('hex');
    case 'fixed64':
      return Number(raw.readBigInt64LE());
    case 'double':
      return raw.readDoubleLE();
    case 'number':
      throw new Error('a number of no known form');
    default:
      return decode(raw, kind);
  }
}
