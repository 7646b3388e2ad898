import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { redactKey, Vault } from '../../src/store/vault.ts';

const API_KEY = 'AQ.Ab8RN6IxbkLzEXAMPLEexampleEXAMPLEexample_-123';
const masterKey = Buffer.alloc(32, 7);

describe('vault', () => {
  test('opens what it sealed, and so does another vault of the same master key', () => {
    fc.assert(
      fc.property(fc.nat(), fc.string({ minLength: 1 }), (ordinal, apiKey) => {
        const sealed = new Vault(masterKey).seal(ordinal, apiKey);
        expect(new Vault(Buffer.from(masterKey)).open(ordinal, sealed)).toBe(Buffer.from(apiKey).toString());
      }),
    );
  });

  test('seals the same key differently each time, and shows nothing of it', () => {
    const vault = new Vault(masterKey);
    const [a, b] = [vault.seal(1, API_KEY), vault.seal(1, API_KEY)];
    expect(Buffer.compare(a, b)).not.toBe(0);
    expect(Buffer.from(a).includes(API_KEY.slice(0, 6))).toBe(false);
    // Version, nonce and tag, and no more.
    expect(a.length).toBe(1 + 12 + API_KEY.length + 16);
  });

  test('refuses a secret of another key, and says neither', () => {
    const vault = new Vault(masterKey);
    const sealed = vault.seal(1, API_KEY);
    expect(() => vault.open(2, sealed)).toThrow(/^the sealed secret of key-00000002 does not open/);
  });

  test('refuses a secret with any one bit turned over, or cut short anywhere', () => {
    const vault = new Vault(masterKey);
    const sealed = vault.seal(1, API_KEY);
    for (let bit = 0; bit < sealed.length * 8; bit++) {
      const damaged = Uint8Array.from(sealed);
      damaged[bit >> 3]! ^= 1 << (bit & 7);
      expect(() => vault.open(1, damaged), `bit ${bit}`).toThrow('the sealed secret of key-00000001');
    }
    for (let length = 0; length < sealed.length; length++) {
      expect(() => vault.open(1, sealed.subarray(0, length)), `${length} bytes`).toThrow(
        'the sealed secret of key-00000001',
      );
    }
  });

  test('of another master key opens nothing, and differs in its check and fingerprints', () => {
    const vault = new Vault(masterKey);
    const other = new Vault(randomBytes(32));
    expect(() => other.open(1, vault.seal(1, API_KEY))).toThrow('does not open');
    expect(other.check()).not.toBe(vault.check());
    expect(other.fingerprint(API_KEY)).not.toBe(vault.fingerprint(API_KEY));
  });

  test('gives the same fingerprint for the same key only', () => {
    const vault = new Vault(masterKey);
    expect(vault.fingerprint(API_KEY)).toBe(new Vault(masterKey).fingerprint(API_KEY));
    expect(vault.fingerprint(API_KEY)).toMatch(/^[\w-]{32}$/);
    expect(vault.fingerprint(`${API_KEY}4`)).not.toBe(vault.fingerprint(API_KEY));
  });

  test('derives another key for each purpose, none of them the master key', () => {
    const vault = new Vault(masterKey);
    const keys = [masterKey, vault.subkey('sign leases'), vault.subkey('sign pages'), vault.subkey('check')];
    for (const key of keys) expect(key).toHaveLength(32);
    expect(new Set(keys.map((key) => key.toString('hex'))).size).toBe(keys.length);
    expect(vault.subkey('sign leases')).toEqual(new Vault(masterKey).subkey('sign leases'));
  });
});

describe('a redacted key', () => {
  test('shows the first and last four characters of a long one', () => {
    expect(redactKey(API_KEY)).toBe('AQ.A…-123');
  });

  test('never shows more than a quarter', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom('a', 'b', '3'), maxLength: 60 }), (apiKey) => {
        const shown = redactKey(apiKey).length - 1;
        expect(shown).toBeLessThanOrEqual(Math.min(8, apiKey.length / 4));
      }),
    );
    expect(redactKey('short')).toBe('…');
  });
});
