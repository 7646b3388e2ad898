import { create, fromBinary, toBinary } from '@bufbuild/protobuf';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type AcquireKeyRequest,
  AcquireKeyRequestSchema,
  AcquireKeyResponseSchema,
} from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';
import { decodeAcquireKeyRequest, encodeAcquireKeyResponse } from '../../src/server/grpc/hot-codecs.ts';

const text = fc.oneof(
  fc.constant(''),
  fc.string({ maxLength: 60 }),
  fc.string({ unit: 'binary', maxLength: 60 }),
  fc.string({ minLength: 100, maxLength: 400 }),
);
const seconds = fc.oneof(fc.bigInt(0n, 200n), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }));
const nanos = fc.oneof(fc.integer({ min: 0, max: 999_999_999 }), fc.integer());
const duration = fc.option(fc.record({ seconds, nanos }), { nil: undefined });

const request = fc.record({
  pool: text,
  model: text,
  affinityKey: text,
  leaseTtl: duration,
  maxWait: duration,
  requestId: text,
  excludeKeyIds: fc.array(text, { maxLength: 3 }),
  excludeProjects: fc.array(text, { maxLength: 3 }),
  estimatedTokens: fc.oneof(fc.bigInt(0n, 100_000n), fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n })),
  priority: fc.oneof(fc.constant(0), fc.integer()),
  bindToSession: fc.boolean(),
  requireProject: text,
  requireKeyId: text,
});

const response = fc.record({
  lease: fc.option(
    fc.record({
      leaseId: text,
      keyId: text,
      apiKey: text,
      pool: text,
      model: text,
      project: text,
      ttl: duration,
      expireTime: duration,
      affinityHit: fc.boolean(),
      labels: fc.oneof(fc.constant({}), fc.dictionary(text, text, { maxKeys: 2 })),
    }),
    { nil: undefined },
  ),
  waited: duration,
  replayed: fc.boolean(),
});

/** A decoder's answer, or that it refuses the bytes. */
function answer(decode: () => AcquireKeyRequest): unknown {
  try {
    return decode();
  } catch {
    return 'refused';
  }
}

describe('the codecs written by hand agree with the generated ones', () => {
  test('on every request', () => {
    fc.assert(
      fc.property(request, (init) => {
        const bytes = toBinary(AcquireKeyRequestSchema, create(AcquireKeyRequestSchema, init as never));
        expect(decodeAcquireKeyRequest(Buffer.from(bytes))).toEqual(fromBinary(AcquireKeyRequestSchema, bytes));
      }),
      { numRuns: 2_000 },
    );
  });

  test('on bytes that are no request, cut ones and ones with other fields', () => {
    const cut = fc
      .tuple(request, fc.nat(400), fc.uint8Array({ maxLength: 20 }))
      .map(([init, at, tail]) =>
        Buffer.concat([
          toBinary(AcquireKeyRequestSchema, create(AcquireKeyRequestSchema, init as never)).subarray(0, at),
          tail,
        ]),
      );
    fc.assert(
      fc.property(fc.oneof(cut, fc.uint8Array({ maxLength: 40 }).map(Buffer.from)), (bytes) => {
        expect(answer(() => decodeAcquireKeyRequest(Buffer.from(bytes)))).toEqual(
          answer(() => fromBinary(AcquireKeyRequestSchema, bytes)),
        );
      }),
      { numRuns: 3_000 },
    );
  });

  test('on every response', () => {
    fc.assert(
      fc.property(response, (init) => {
        const message = create(AcquireKeyResponseSchema, init as never);
        expect(fromBinary(AcquireKeyResponseSchema, encodeAcquireKeyResponse(message))).toEqual(
          fromBinary(AcquireKeyResponseSchema, toBinary(AcquireKeyResponseSchema, message)),
        );
      }),
      { numRuns: 2_000 },
    );
  });
});
