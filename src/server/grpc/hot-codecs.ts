import { fromBinary, toBinary } from '@bufbuild/protobuf';
import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';
import {
  type AcquireKeyRequest,
  AcquireKeyRequestSchema,
  type AcquireKeyResponse,
  AcquireKeyResponseSchema,
  type Lease,
  LeaseSchema,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';

/**
 * Codecs written by hand for the messages that carry the load. They know the usual form of a message (fields of this version,
 * ASCII where names are ASCII, no labels); whatever else comes goes by the generated codec, so that both always agree.
 */
export const hotCodecs: Readonly<
  Record<string, { decode: (bytes: Buffer) => unknown; encode: (message: unknown) => Buffer } | undefined>
> = {
  'keybalancer.v1.KeyBalancerService/AcquireKey': {
    decode: decodeAcquireKeyRequest,
    encode: (message) => encodeAcquireKeyResponse(message as AcquireKeyResponse),
  },
};

const VARINT = 0;
const BYTES = 2;

export function decodeAcquireKeyRequest(bytes: Buffer): AcquireKeyRequest {
  return new Reader(bytes).request() ?? fromBinary(AcquireKeyRequestSchema, bytes);
}

/** Reads what it knows. Anything unusual sets `failed`, and what was read then counts for nothing. */
class Reader {
  failed = false;
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  request(): AcquireKeyRequest | undefined {
    const request: AcquireKeyRequest = {
      $typeName: 'keybalancer.v1.AcquireKeyRequest',
      pool: '',
      model: '',
      affinityKey: '',
      requestId: '',
      excludeKeyIds: [],
      excludeProjects: [],
      estimatedTokens: 0n,
      priority: 0,
      bindToSession: false,
      requireProject: '',
      requireKeyId: '',
    };
    const end = this.#bytes.length;
    while (this.#at < end && !this.failed) {
      const tag = this.#varint(end);
      switch (tag) {
        case (1 << 3) | BYTES:
          request.pool = this.#text();
          break;
        case (2 << 3) | BYTES:
          request.model = this.#text();
          break;
        case (3 << 3) | BYTES:
          request.affinityKey = this.#text();
          break;
        case (4 << 3) | BYTES:
          // A message that comes twice is merged, which is not usual.
          if (request.leaseTtl !== undefined) return undefined;
          request.leaseTtl = this.#duration();
          break;
        case (5 << 3) | BYTES:
          if (request.maxWait !== undefined) return undefined;
          request.maxWait = this.#duration();
          break;
        case (6 << 3) | BYTES:
          request.requestId = this.#text();
          break;
        case (7 << 3) | BYTES:
          request.excludeKeyIds.push(this.#text());
          break;
        case (8 << 3) | BYTES:
          request.excludeProjects.push(this.#text());
          break;
        case (9 << 3) | VARINT:
          request.estimatedTokens = BigInt(this.#varint(end));
          break;
        case (11 << 3) | VARINT:
          request.bindToSession = this.#varint(end) !== 0;
          break;
        case (12 << 3) | BYTES:
          request.requireProject = this.#text();
          break;
        case (13 << 3) | BYTES:
          request.requireKeyId = this.#text();
          break;
        default:
          return undefined;
      }
    }
    return this.failed ? undefined : request;
  }

  /** Up to 2^31 - 1; more is left to the generated codec. */
  #varint(end: number): number {
    let value = 0;
    for (let shift = 0; shift < 28; shift += 7) {
      if (this.#at >= end) break;
      const byte = this.#bytes[this.#at++]!;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    this.failed = true;
    return 0;
  }

  #text(): string {
    const bytes = this.#bytes;
    const length = this.#varint(bytes.length);
    const start = this.#at;
    const end = start + length;
    if (this.failed || end > bytes.length) {
      this.failed = true;
      return '';
    }
    for (let i = start; i < end; i++) {
      if (bytes[i]! < 0x80) continue;
      this.failed = true;
      return '';
    }
    this.#at = end;
    return bytes.toString('latin1', start, end);
  }

  #duration(): Duration | undefined {
    const length = this.#varint(this.#bytes.length);
    const end = this.#at + length;
    if (end > this.#bytes.length) this.failed = true;
    let seconds = 0;
    let nanos = 0;
    while (this.#at < end && !this.failed) {
      const tag = this.#varint(end);
      if (tag === 8) seconds = this.#varint(end);
      else if (tag === 16) nanos = this.#varint(end);
      else this.failed = true;
    }
    return { $typeName: 'google.protobuf.Duration', seconds: BigInt(seconds), nanos };
  }
}

/** Largest lease that is encoded here. */
const ROOM = 16 * 1024;
/** Before a lease is written, room is left for its tag and length. */
const HEAD = 4;
const scratch = Buffer.allocUnsafeSlow(ROOM);

/** Whether the messages have just the fields that are written here; one added later is left to the generated codec. */
const COMPLETE = LeaseSchema.fields.length === 10 && AcquireKeyResponseSchema.fields.length === 3;

export function encodeAcquireKeyResponse(message: AcquireKeyResponse): Buffer {
  const { lease, waited } = message;
  if (!COMPLETE || lease === undefined || message.$unknown !== undefined || !usual(lease) || !usualTime(waited)) {
    return generated(message);
  }
  let at = leaseBody(lease, HEAD);
  const length = at - HEAD;
  const start = length < 128 ? HEAD - 2 : HEAD - 3;
  scratch[start] = (1 << 3) | BYTES;
  putVarint(length, start + 1);
  if (waited !== undefined) at = putTime(2, waited, at);
  if (message.replayed) {
    scratch[at] = 3 << 3;
    scratch[at + 1] = 1;
    at += 2;
  }
  return Buffer.from(scratch.subarray(start, at));
}

function generated(message: AcquireKeyResponse): Buffer {
  const bytes = toBinary(AcquireKeyResponseSchema, message);
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function usual(lease: Lease): boolean {
  if (lease.$unknown !== undefined || !usualTime(lease.ttl) || !usualTime(lease.expireTime)) return false;
  for (const _ in lease.labels) return false;
  const { leaseId, keyId, apiKey, pool, model, project } = lease;
  const characters = leaseId.length + keyId.length + apiKey.length + pool.length + model.length + project.length;
  // At most 3 bytes a character, and 16,383 bytes, which a length of two bytes can say.
  return characters < 5_000;
}

function usualTime(time: Duration | Timestamp | undefined): boolean {
  return (
    time === undefined ||
    (time.seconds >= 0n && time.seconds < 2n ** 53n && time.nanos >= 0 && time.$unknown === undefined)
  );
}

function leaseBody(lease: Lease, start: number): number {
  let at = putText(1, lease.leaseId, start);
  at = putText(2, lease.keyId, at);
  at = putText(3, lease.apiKey, at);
  at = putText(4, lease.pool, at);
  at = putText(5, lease.model, at);
  at = putText(6, lease.project, at);
  if (lease.ttl !== undefined) at = putTime(7, lease.ttl, at);
  if (lease.expireTime !== undefined) at = putTime(8, lease.expireTime, at);
  if (lease.affinityHit) {
    scratch[at] = 9 << 3;
    scratch[at + 1] = 1;
    at += 2;
  }
  return at;
}

function putText(field: number, text: string, at: number): number {
  if (text === '') return at;
  scratch[at] = (field << 3) | BYTES;
  const length = text.length < 43 ? -1 : Buffer.byteLength(text);
  if (length < 0) {
    // At most 127 bytes, so that their number takes one.
    const written = scratch.write(text, at + 2);
    scratch[at + 1] = written;
    return at + 2 + written;
  }
  const body = putVarint(length, at + 1);
  return body + scratch.write(text, body);
}

/** A Duration or Timestamp: seconds = 1, nanos = 2. */
function putTime(field: number, time: Duration | Timestamp, at: number): number {
  scratch[at] = (field << 3) | BYTES;
  let end = at + 2;
  const seconds = Number(time.seconds);
  if (seconds > 0) {
    scratch[end] = 1 << 3;
    end = putVarint(seconds, end + 1);
  }
  if (time.nanos > 0) {
    scratch[end] = 2 << 3;
    end = putVarint(time.nanos, end + 1);
  }
  scratch[at + 1] = end - at - 2;
  return end;
}

/** Of a whole number below 2^53. */
function putVarint(value: number, at: number): number {
  let rest = value;
  let end = at;
  while (rest >= 128) {
    scratch[end++] = (rest % 128) | 0x80;
    rest = Math.floor(rest / 128);
  }
  scratch[end++] = rest;
  return end;
}
