import { hash, timingSafeEqual } from 'node:crypto';

/** What a lease id says by itself: enough to take a report of a lease that a crash made the store forget. */
export interface LeaseClaims {
  boot: number;
  seq: number;
  /** The key's. */
  ordinal: number;
  /** Wall-clock milliseconds when it was given; a renewal does not change it. */
  expireTime: number;
  caller: string;
  model: string;
}

const VERSION = 1;
const HEAD = 1 + 4 + 6 + 6 + 6;
const TAG = 16;
/** Of SHA-256. */
const BLOCK = 64;
/** HEAD, two strings of at most 255 bytes with their length bytes, TAG. */
const LONGEST = HEAD + 2 * 256 + TAG;

/**
 * Lease ids: version, boot (4 bytes), seq (6), ordinal (6), expiry (6), caller and model (length byte, UTF-8), and 16 bytes of
 * HMAC-SHA256 over all that, in base64url. Nobody without the key can make one or change what it says.
 */
export class LeaseIds {
  /** A block of the key for the inner hash, with room for the message; and one for the outer, with room for the inner's. */
  readonly #inner = Buffer.alloc(BLOCK + LONGEST, 0x36);
  readonly #outer = Buffer.alloc(BLOCK + 32, 0x5c);

  /** `key`: at most 64 bytes. */
  constructor(key: Uint8Array) {
    for (let i = 0; i < key.length; i++) {
      this.#inner[i] = 0x36 ^ key[i]!;
      this.#outer[i] = 0x5c ^ key[i]!;
    }
  }

  sign(claims: LeaseClaims): string {
    // Written behind the inner block at once: what is signed is what is hashed.
    const buffer = this.#inner;
    buffer[BLOCK] = VERSION;
    buffer.writeUInt32BE(claims.boot, BLOCK + 1);
    buffer.writeUIntBE(claims.seq, BLOCK + 5, 6);
    buffer.writeUIntBE(claims.ordinal, BLOCK + 11, 6);
    buffer.writeUIntBE(Math.max(0, Math.floor(claims.expireTime)), BLOCK + 17, 6);
    const end = writeText(buffer, writeText(buffer, BLOCK + HEAD, claims.caller), claims.model);
    buffer.write(this.#tag(end), end, TAG, 'hex');
    return buffer.toString('base64url', BLOCK, end + TAG);
  }

  /** undefined: no lease id of this store. */
  verify(leaseId: string): LeaseClaims | undefined {
    if (leaseId.length > (LONGEST * 4) / 3 + 4) return undefined;
    const buffer = Buffer.from(leaseId, 'base64url');
    // Base64 is read leniently; only the form that sign() writes is one id.
    if (buffer.length < HEAD + 2 + TAG || buffer[0] !== VERSION || buffer.toString('base64url') !== leaseId)
      return undefined;
    const body = buffer.subarray(0, buffer.length - TAG);
    this.#inner.set(body, BLOCK);
    const tag = Buffer.from(this.#tag(BLOCK + body.length), 'hex').subarray(0, TAG);
    if (!timingSafeEqual(tag, buffer.subarray(body.length))) return undefined;
    const callerEnd = HEAD + 1 + body[HEAD]!;
    return {
      boot: body.readUInt32BE(1),
      seq: body.readUIntBE(5, 6),
      ordinal: body.readUIntBE(11, 6),
      expireTime: body.readUIntBE(17, 6),
      caller: body.toString('utf8', HEAD + 1, callerEnd),
      model: body.toString('utf8', callerEnd + 1),
    };
  }

  /**
   * HMAC-SHA256 (RFC 2104) of what stands in the inner buffer up to `end`, in hexadecimal. Its two hashes are made one by one:
   * createHmac() takes three times as long, and each lease waits for it.
   */
  #tag(end: number): string {
    this.#outer.write(hash('sha256', this.#inner.subarray(0, end), 'hex'), BLOCK, 'hex');
    return hash('sha256', this.#outer, 'hex');
  }
}

function writeText(buffer: Buffer, at: number, text: string): number {
  const length = buffer.write(text, at + 1, 255, 'utf8');
  buffer[at] = length;
  return at + 1 + length;
}
