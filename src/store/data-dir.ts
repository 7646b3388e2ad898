import {
  chmodSync,
  closeSync,
  existsSync,
  lchownSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  type Stats,
  statSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';

/** Where the owner of a data dir listens, for clients that look there and for the error of a second owner. */
export interface Owner {
  pid: number;
  startTime: string;
  grpc?: string;
  http?: string;
  socket?: string;
}

/** A data dir that cannot be used, with what to do about it. */
export class DataDirError extends Error {
  override readonly name: string = 'DataDirError';
}

/** Another process owns the data dir. */
export class DataDirInUseError extends DataDirError {
  override readonly name = 'DataDirInUseError';
  readonly owner: Owner | undefined;

  constructor(dataDir: string, owner: Owner | undefined) {
    const who = owner === undefined ? 'another process' : `process ${owner.pid}`;
    const where = [owner?.grpc, owner?.http, owner?.socket].filter((each) => each !== undefined).join(', ');
    super(`data dir ${dataDir} is in use by ${who}${where === '' ? '' : ` (${where})`}; stop it, or use its address`);
    this.owner = owner;
  }
}

/** Bytes of a path in a unix socket address, less its final NUL. */
export const LONGEST_SOCKET_PATH = process.platform === 'linux' ? 107 : 103;

export function databasePath(dataDir: string): string {
  return join(dataDir, 'keybalancer.db');
}

/** undefined: the path is too long for a socket. */
export function socketPath(dataDir: string): string | undefined {
  const path = join(dataDir, 'keybalancer.sock');
  return Buffer.byteLength(path) <= LONGEST_SOCKET_PATH ? path : undefined;
}

/** Makes the dir (0700) and its database file (0600), or says why that cannot be. */
export function prepareDataDir(dataDir: string): void {
  try {
    makeDir(dataDir);
  } catch (error) {
    throw new DataDirError(`data dir ${dataDir} cannot be made: ${reasonOf(error)}`);
  }
  if (!statSync(dataDir).isDirectory()) throw new DataDirError(`data dir ${dataDir} is not a directory`);
  try {
    chmodSync(dataDir, 0o700);
    const path = databasePath(dataDir);
    // SQLite gives its log the mode of the database, so the database is made first, for nobody else's eyes. One that is there
    // must not be opened here: to close it would take this process's lock away, where it is the owner.
    if (!existsSync(path)) {
      closeSync(openSync(path, 'a', 0o600));
      giveToUser(dataDir, path);
    }
    chmodSync(path, 0o600);
  } catch (error) {
    throw new DataDirError(`data dir ${dataDir} is not writable: ${reasonOf(error)}`);
  }
}

/**
 * The user of a data dir that root is about to make files in, which would be closed to him. undefined: it is this process's own, or
 * not there. Others than root cannot come so far: only its user can set the dir's mode.
 */
export function otherUser(dataDir: string): Stats | undefined {
  if (process.geteuid?.() !== 0) return undefined;
  const stats = statSync(dataDir, { throwIfNoEntry: false });
  return stats?.uid === 0 ? undefined : stats;
}

/** Before anything is made: after one file of root's the server of the dir's user would never start again. */
export function refuseOtherUser(dataDir: string): void {
  const user = otherUser(dataDir);
  if (user === undefined) return;
  throw new DataDirError(
    `data dir ${dataDir} belongs to user ${user.uid}, and files that root makes there are closed to that user: start its server first, through which root may do all, or run this as user ${user.uid}`,
  );
}

/** A file that was made in a data dir. Of a link, the link itself: it may lead anywhere. */
export function giveToUser(dataDir: string, path: string): void {
  const user = otherUser(dataDir);
  if (user !== undefined) lchownSync(path, user.uid, user.gid);
}

/** With its parents. Node's own way tries for ever where a directory takes no entry and says that it is not there, as /proc does. */
function makeDir(path: string): void {
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path, { throwIfNoEntry: false })?.isDirectory()) return;
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error;
    makeDir(dirname(path));
    makeDir(path);
  }
}

export function readOwner(dataDir: string): Owner | undefined {
  try {
    return JSON.parse(readFileSync(ownerPath(dataDir), 'utf8')) as Owner;
  } catch {
    return undefined;
  }
}

export function writeOwner(dataDir: string, owner: Owner): void {
  const path = ownerPath(dataDir);
  const fresh = `${path}.new`;
  writeFileSync(fresh, `${JSON.stringify(owner)}\n`, { mode: 0o600 });
  renameSync(fresh, path);
}

export function removeOwner(dataDir: string): void {
  if (readOwner(dataDir)?.pid === process.pid) rmSync(ownerPath(dataDir), { force: true });
}

/** Whether the dir holds a database that was used before. */
export function hasDatabase(dataDir: string): boolean {
  const path = databasePath(dataDir);
  return existsSync(path) && statSync(path).size > 0;
}

export function reasonOf(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code;
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return 'permission denied';
    case 'EEXIST':
    case 'ENOTDIR':
      return 'a file is in the way';
    case 'EROFS':
      return 'the file system is read-only';
    case 'ENOSPC':
      return 'the disk is full';
    default:
      return (error as Error).message;
  }
}

function ownerPath(dataDir: string): string {
  return join(dataDir, 'owner.json');
}
