import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, type Stats, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where the master key comes from: a value, else a file, else master.key in the data dir. */
export interface MasterKeySource {
  /** 64 hexadecimal digits, or base64 of 32 bytes. */
  value?: string | undefined;
  /** Path of a file that holds the same. */
  file?: string | undefined;
}

export interface MasterKey {
  key: Buffer;
  /** It was made just now, in this file: without the file a backup of the data dir is worth nothing. */
  createdFile: string | undefined;
  /** The file is open to others. */
  looseFile: string | undefined;
}

export class MasterKeyError extends Error {
  override readonly name = 'MasterKeyError';
}

/** `mayCreate`: whether there is nothing yet that an earlier master key sealed. */
export function loadMasterKey(dataDir: string, source: MasterKeySource, mayCreate: boolean): MasterKey {
  if (source.value !== undefined) {
    return { key: parse(source.value, 'KEYBALANCER_MASTER_KEY'), createdFile: undefined, looseFile: undefined };
  }
  const path = source.file ?? join(dataDir, 'master.key');
  if (source.file === undefined && !existsSync(path)) {
    if (!mayCreate) {
      throw new MasterKeyError(
        `${path} is missing, and the keys of ${dataDir} were sealed with it: put it back, or give KEYBALANCER_MASTER_KEY or --master-key-file`,
      );
    }
    const key = randomBytes(32);
    writeFileSync(path, `${key.toString('base64')}\n`, { mode: 0o600, flag: 'wx' });
    return { key, createdFile: path, looseFile: undefined };
  }
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new MasterKeyError(`master key file ${path} cannot be read: ${(error as Error).message}`);
  }
  return { key: parse(text, path), createdFile: undefined, looseFile: isLoose(statSync(path)) ? path : undefined };
}

/**
 * Whether a key file is open to others than whom it is meant for. One that belongs to another user is read by this process as one of
 * its group, such as that of a Kubernetes volume (fsGroup): the group is then how the file was given to it.
 */
export function isLoose({ mode, uid }: Stats): boolean {
  const user = process.geteuid?.();
  const others = user === uid || user === 0 || user === undefined ? 0o077 : 0o007;
  return (mode & others) !== 0;
}

/** Never says what it read. */
function parse(text: string, origin: string): Buffer {
  const trimmed = text.trim();
  if (/^[0-9a-fA-F]{64}$/.test(trimmed)) return Buffer.from(trimmed, 'hex');
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)) {
    const key = Buffer.from(trimmed, 'base64');
    if (key.length === 32) return key;
  }
  throw new MasterKeyError(`the master key of ${origin} is not 64 hexadecimal digits, nor base64 of 32 bytes`);
}
