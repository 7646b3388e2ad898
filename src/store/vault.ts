import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes } from 'node:crypto';
import { keyId } from '../engine/key.ts';

const VERSION = 1;
const NONCE = 12;
const TAG = 16;

/**
 * Seals API keys at rest: AES-256-GCM with a random nonce, the key id as associated data, so that a sealed key moved to another
 * row does not open. All secrets the store needs are derived from one master key of 32 bytes.
 */
export class Vault {
  readonly #masterKey: Buffer;
  readonly #sealing: Buffer;
  readonly #fingerprints: Buffer;

  constructor(masterKey: Buffer) {
    this.#masterKey = masterKey;
    this.#sealing = this.subkey('seal api keys');
    this.#fingerprints = this.subkey('fingerprint api keys');
  }

  /** 32 bytes for one purpose, from which no other's can be found. */
  subkey(purpose: string): Buffer {
    return Buffer.from(hkdfSync('sha256', this.#masterKey, '', `keybalancer ${purpose}`, 32));
  }

  /** Version, nonce, ciphertext, tag. */
  seal(ordinal: number, apiKey: string): Uint8Array {
    const nonce = randomBytes(NONCE);
    const cipher = createCipheriv('aes-256-gcm', this.#sealing, nonce);
    cipher.setAAD(Buffer.from(keyId(ordinal)));
    const sealed = Buffer.concat([cipher.update(apiKey, 'utf8'), cipher.final()]);
    return Buffer.concat([Buffer.of(VERSION), nonce, sealed, cipher.getAuthTag()]);
  }

  open(ordinal: number, sealed: Uint8Array): string {
    const bytes = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.byteLength);
    if (bytes.length < 1 + NONCE + TAG || bytes[0] !== VERSION) {
      throw new Error(`the sealed secret of ${keyId(ordinal)} is damaged`);
    }
    const decipher = createDecipheriv('aes-256-gcm', this.#sealing, bytes.subarray(1, 1 + NONCE));
    decipher.setAAD(Buffer.from(keyId(ordinal)));
    decipher.setAuthTag(bytes.subarray(bytes.length - TAG));
    try {
      return decipher.update(bytes.subarray(1 + NONCE, -TAG), undefined, 'utf8') + decipher.final('utf8');
    } catch {
      throw new Error(`the sealed secret of ${keyId(ordinal)} does not open: it is damaged, or of another key`);
    }
  }

  /** Tells whether two API keys are the same without showing either. */
  fingerprint(apiKey: string): string {
    // 24 bytes are 32 characters; to cut them from a longer text would keep that text in memory.
    return createHmac('sha256', this.#fingerprints).update(apiKey).digest().toString('base64url', 0, 24);
  }

  /** Stored with the keys, so that another master key is noticed at the start and not at the first lease. */
  check(): string {
    return this.subkey('check').toString('base64url');
  }
}

/** Such as "AIza…x9Q2": at most the first and last 4 characters, and never more than a quarter of the key. */
export function redactKey(apiKey: string): string {
  const shown = Math.min(4, Math.floor(apiKey.length / 8));
  return shown === 0 ? '…' : `${apiKey.slice(0, shown)}…${apiKey.slice(-shown)}`;
}
