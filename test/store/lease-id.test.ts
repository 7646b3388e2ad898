import { createHmac } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { LeaseIds } from '../../src/store/lease-id.ts';

const KEY = Buffer.alloc(32, 9);
const claims = fc.record({
  boot: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  seq: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  ordinal: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  expireTime: fc.integer({ min: 0, max: 2 ** 48 - 1 }),
  caller: fc.string({ maxLength: 60 }),
  model: fc.string({ maxLength: 128 }),
});

describe('lease ids', () => {
  test('say what they were made of, and only under their key', () => {
    const ids = new LeaseIds(KEY);
    const others = new LeaseIds(Buffer.alloc(32, 8));
    fc.assert(
      fc.property(claims, (made) => {
        const id = ids.sign(made);
        expect(ids.verify(id)).toEqual(made);
        expect(others.verify(id)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test('carry an HMAC-SHA256 of all that stands before it', () => {
    const ids = new LeaseIds(KEY);
    fc.assert(
      fc.property(claims, (made) => {
        const bytes = Buffer.from(ids.sign(made), 'base64url');
        const body = bytes.subarray(0, -16);
        expect(bytes.subarray(-16)).toEqual(createHmac('sha256', KEY).update(body).digest().subarray(0, 16));
      }),
    );
  });

  test('are none once a single bit is changed, or anything is cut off or added', () => {
    const ids = new LeaseIds(KEY);
    fc.assert(
      fc.property(claims, fc.nat(), fc.integer({ min: 0, max: 7 }), (made, at, bit) => {
        const id = ids.sign(made);
        const bytes = Buffer.from(id, 'base64url');
        bytes[at % bytes.length]! ^= 1 << bit;
        expect(ids.verify(bytes.toString('base64url'))).toBeUndefined();
        expect(ids.verify(id.slice(0, at % id.length))).toBeUndefined();
        expect(ids.verify(`${id}A`)).toBeUndefined();
        expect(ids.verify(`${id}=`)).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });
});
