import { BinaryReader, type WireType } from '@bufbuild/protobuf/wire';

/** A log record as a collector reads it. */
export interface OtlpLogRecord {
  /** Unix milliseconds. */
  time: number;
  observedTime: number;
  severity: number;
  severityText: string;
  eventName: string;
  body: string;
  attributes: Record<string, unknown>;
  resource: Record<string, unknown>;
  scope: string;
}

type Fields = Map<number, (Uint8Array | bigint | number)[]>;

/** The records of an ExportLogsServiceRequest, read by the numbers of opentelemetry-proto. */
export function readLogs(request: Uint8Array): OtlpLogRecord[] {
  return messages(fieldsOf(request), 1).flatMap((resourceLogs) => {
    const [resource] = messages(resourceLogs, 1);
    return messages(resourceLogs, 2).flatMap((scopeLogs) => {
      const [scope] = messages(scopeLogs, 1);
      return messages(scopeLogs, 2).map((record) => ({
        time: milliseconds(record, 1),
        severity: Number(record.get(2)?.[0] ?? 0),
        severityText: text(record, 3),
        body: String(anyValue(messages(record, 5)[0]!)),
        attributes: attributes(record, 6),
        observedTime: milliseconds(record, 11),
        eventName: text(record, 12),
        resource: attributes(resource!, 1),
        scope: text(scope!, 1),
      }));
    });
  });
}

function fieldsOf(bytes: Uint8Array): Fields {
  const reader = new BinaryReader(bytes);
  const fields: Fields = new Map();
  while (reader.pos < reader.len) {
    const [number, wireType] = reader.tag();
    fields.set(number, [...(fields.get(number) ?? []), fieldValue(reader, wireType)]);
  }
  return fields;
}

function fieldValue(reader: BinaryReader, wireType: WireType): Uint8Array | bigint | number {
  if (wireType === 0) return BigInt(reader.int64());
  if (wireType === 1) return BigInt(reader.fixed64());
  if (wireType === 2) return reader.bytes();
  return reader.fixed32();
}

const messages = (fields: Fields, number: number): Fields[] =>
  (fields.get(number) ?? []).map((value) => fieldsOf(value as Uint8Array));

const text = (fields: Fields, number: number): string =>
  Buffer.from((fields.get(number)?.[0] as Uint8Array | undefined) ?? []).toString();

const milliseconds = (fields: Fields, number: number): number =>
  Number((fields.get(number)![0] as bigint) / 1_000_000n);

function attributes(fields: Fields, number: number): Record<string, unknown> {
  return Object.fromEntries(messages(fields, number).map((pair) => [text(pair, 1), anyValue(messages(pair, 2)[0]!)]));
}

function anyValue(value: Fields): unknown {
  if (value.has(1)) return text(value, 1);
  if (value.has(2)) return value.get(2)![0] === 1n;
  if (value.has(3)) return Number(value.get(3)![0]);
  if (value.has(4)) return double(value.get(4)![0] as bigint);
  if (value.has(5)) return messages(messages(value, 5)[0]!, 1).map(anyValue);
  return undefined;
}

function double(bits: bigint): number {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(bits);
  return bytes.readDoubleLE();
}
