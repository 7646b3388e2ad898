import { type DataDirInUseError, LONGEST_SOCKET_PATH } from '../../store/data-dir.ts';
import { KeyBalancerError, type KeyBalancerErrorFields } from '../errors.ts';

/** Known by their names: to load the class of the last would load the database's code. */
const OPEN_ERRORS: Readonly<Record<string, Pick<KeyBalancerErrorFields, 'code' | 'reason'>>> = {
  DataDirError: { code: 'FAILED_PRECONDITION', reason: 'DATA_DIR_UNUSABLE' },
  MasterKeyError: { code: 'FAILED_PRECONDITION', reason: 'MASTER_KEY_UNUSABLE' },
};

/** Why a data dir cannot be opened, as the error of a client. */
export function openError(error: unknown): unknown {
  const fields = error instanceof Error ? OPEN_ERRORS[error.name] : undefined;
  return fields === undefined ? error : new KeyBalancerError((error as Error).message, { ...fields, cause: error });
}

/** Another process owns the data dir, and cannot be joined. `refusal`: the system's code for that. */
export function inUseError(error: DataDirInUseError, refusal: string, dataDir: string): KeyBalancerError {
  const fields = { code: 'UNAVAILABLE', reason: 'DATA_DIR_IN_USE', cause: error } as const;
  return new KeyBalancerError(`${error.message}; ${whyNotJoined(refusal, dataDir)}`, fields);
}

/** Whether waiting will not help whoever is refused so. */
export function isFinal(refusal: string): boolean {
  return refusal === 'ENAMETOOLONG' || isForbidden(refusal);
}

function whyNotJoined(refusal: string, dataDir: string): string {
  if (refusal === 'ENAMETOOLONG') {
    const bytes = Buffer.byteLength(`${dataDir}/keybalancer.sock`);
    return `others cannot join it: a unix socket in the dir would have a path of ${bytes} bytes, and ${LONGEST_SOCKET_PATH} are allowed`;
  }
  if (isForbidden(refusal)) return 'this user may not use the socket in the dir';
  return 'nobody answers at the socket in the dir: the owner may have just begun, be frozen, or be on another machine';
}

function isForbidden(refusal: string): boolean {
  return refusal === 'EACCES' || refusal === 'EPERM';
}
