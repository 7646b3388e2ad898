import { createHmac, createSecretKey, type KeyObject, timingSafeEqual } from 'node:crypto';

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
/** HEAD, two strings of at most 255 bytes with their length bytes, TAG. */
const LONGEST = HEAD + 2 * 256 + TAG;

/**
 * Lease ids: version, boot (4 bytes), seq (6), ordinal (6), expiry (6), caller and model (length byte, UTF-8), and 16 bytes of
 * HMAC-SHA256 over all that, in base64url. Nobody without the key can make one or change what it says.
 */
export class LeaseIds {
  readonly #key: KeyObject;

  constructor(key: Uint8Array) {
    this.#key = createSecretKey(key);
  }

  sign(claims: LeaseClaims): string {
    const buffer = Buffer.allocUnsafe(LONGEST);
    buffer[0] = VERSION;
    buffer.writeUInt32BE(claims.boot, 1);
    buffer.writeUIntBE(claims.seq, 5, 6);
    buffer.writeUIntBE(claims.ordinal, 11, 6);
    buffer.writeUIntBE(Math.max(0, Math.floor(claims.expireTime)), 17, 6);
    let end = writeText(buffer, HEAD, claims.caller);
    end = writeText(buffer, end, claims.model);
    this.#tag(buffer.subarray(0, end)).copy(buffer, end, 0, TAG);
    return buffer.toString('base64url', 0, end + TAG);
  }

  /** undefined: no lease id of this store. */
  verify(leaseId: string): LeaseClaims | undefined {
    if (leaseId.length > (LONGEST * 4) / 3 + 4) return undefined;
    const buffer = Buffer.from(leaseId, 'base64url');
    // Base64 is read leniently; only the form that sign() writes is one id.
    if (buffer.length < HEAD + 2 + TAG || buffer[0] !== VERSION || buffer.toString('base64url') !== leaseId)
      return undefined;
    const body = buffer.subarray(0, buffer.length - TAG);
    if (!timingSafeEqual(this.#tag(body).subarray(0, TAG), buffer.subarray(body.length))) return undefined;
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

  #tag(body: Uint8Array): Buffer {
    return createHmac('sha256', this.#key).update(body).digest();
  }
}

function writeText(buffer: Buffer, at: number, text: string): number {
  const length = buffer.write(text, at + 1, 255, 'utf8');
  buffer[at] = length;
  return at + 1 + length;
}
