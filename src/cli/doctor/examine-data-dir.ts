import { accessSync, constants, existsSync, type Stats, statfsSync, statSync } from 'node:fs';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { databasePath, hasDatabase, readOwner, reasonOf, socketPath } from '../../store/data-dir.ts';
import { isLoose, loadMasterKey, type MasterKeySource } from '../../store/master-key.ts';
import { bytes } from '../words.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/** Below it no commit may be possible soon. */
const LITTLE_SPACE = 64 * 1024 * 1024;

/** What a data dir looks like from outside, whoever uses it. `inUse`: somebody answers at its socket. */
export function examineDataDir(dataDir: string, masterKey: MasterKeySource, inUse: boolean): Finding[] {
  const missing = absence(dataDir);
  if (missing !== undefined) return [missing];
  return [
    ok('data dir', dataDir),
    ...permissions(dataDir, masterKey),
    ...leftovers(dataDir, inUse),
    masterKeyFinding(dataDir, masterKey),
    disk(dataDir),
  ];
}

/** Whether there is something to examine. */
export function hasData(dataDir: string): boolean {
  return absence(dataDir) === undefined;
}

function absence(dataDir: string): Finding | undefined {
  const start = 'start a server with `keybalancer serve`, or add keys with `keybalancer import FILE`';
  const stats = statSync(dataDir, { throwIfNoEntry: false });
  if (stats === undefined)
    return problem('data dir', `there is none at ${dataDir}`, `${start}; or name it by --data-dir`);
  if (!stats.isDirectory()) return problem('data dir', `${dataDir} is not a directory`, 'name another by --data-dir');
  try {
    accessSync(dataDir, constants.R_OK | constants.W_OK | constants.X_OK);
  } catch (error) {
    return problem(
      'data dir',
      `${dataDir} cannot be used by user ${userInfo().username}: ${reasonOf(error)}`,
      `run this as user ${stats.uid}, or give the directory to your user`,
    );
  }
  if (!hasDatabase(dataDir)) return problem('data dir', `there is no KeyBalancer data in ${dataDir}`, start);
  return undefined;
}

function permissions(dataDir: string, { file }: MasterKeySource): Finding[] {
  const database = databasePath(dataDir);
  const key = file ?? join(dataDir, 'master.key');
  const places = [dataDir, database, `${database}-wal`, `${database}-shm`, key];
  const findings = places.flatMap((path): Finding[] => {
    const stats = statSync(path, { throwIfNoEntry: false });
    if (stats === undefined) return [];
    // A key file that was named may well belong to another user, who gave it to this one.
    if (path === file) return isLoose(stats) ? [openToOthers(path, stats)] : [];
    return [...((stats.mode & 0o077) === 0 ? [] : [openToOthers(path, stats)]), ...ownedByOthers(path, stats)];
  });
  return findings.length > 0 ? findings : [ok('permissions', 'nobody but its user can read it')];
}

function openToOthers(path: string, stats: Stats): Finding {
  const mode = (stats.mode & 0o777).toString(8);
  return problem(
    'permissions',
    `${path} is open to other users of this machine: mode ${mode}`,
    `chmod ${stats.isDirectory() ? '700' : '600'} ${path}`,
  );
}

function ownedByOthers(path: string, { uid }: Stats): Finding[] {
  const self = process.getuid?.() ?? uid;
  if (uid === self) return [];
  return [
    warning(
      'permissions',
      `${path} belongs to user ${uid}, and you are user ${self}`,
      'run commands as the user that runs the server: files that another makes are closed to it',
    ),
  ];
}

/** What a process that was killed left behind. */
function leftovers(dataDir: string, inUse: boolean): Finding[] {
  if (inUse) return [];
  const owner = readOwner(dataDir);
  const socket = socketPath(dataDir);
  if (owner === undefined && !(socket !== undefined && existsSync(socket))) return [];
  const who = owner === undefined ? 'a process' : `process ${owner.pid}`;
  if (owner !== undefined && isAlive(owner.pid)) {
    return [
      warning(
        'lock',
        `${who} is said to use the data dir, and nobody answers at its socket`,
        `look whether it hangs (\`ps -p ${owner.pid}\`); after a restart of the machine another program may have its number`,
      ),
    ];
  }
  return [ok('lock', `${who} was killed and left its marks, which hold nobody up: the next one takes them away`)];
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function masterKeyFinding(dataDir: string, source: MasterKeySource): Finding {
  try {
    loadMasterKey(dataDir, source, false);
  } catch (error) {
    return problem(
      'master key',
      (error as Error).message,
      'without it no key can be used: bring it back from where it is kept',
    );
  }
  const from = source.value !== undefined ? 'the environment' : (source.file ?? join(dataDir, 'master.key'));
  return ok('master key', `from ${from}; keep a copy of it apart from backups`);
}

function disk(dataDir: string): Finding {
  const path = databasePath(dataDir);
  const sizeOf = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  const [database, log] = [sizeOf(path), sizeOf(`${path}-wal`)];
  const { bavail, bsize } = statfsSync(dataDir);
  const free = bavail * bsize;
  const found = `${bytes(BigInt(free))} free; the database has ${bytes(BigInt(database))}, its log ${bytes(BigInt(log))}`;
  if (free < LITTLE_SPACE) {
    return problem('disk', found, 'make room: reports cannot be stored on a full disk, and are refused');
  }
  if (free < database + log)
    return warning('disk', found, 'make room: `check` and `backup` need as much as the database');
  return ok('disk', found);
}
