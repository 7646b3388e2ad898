import { spawnSync } from 'node:child_process';
import { chownSync } from 'node:fs';
import { MAIN } from './build.ts';
import { tempDir } from './temp-dir.ts';

/** Another user than root, as whom tests of whose files are whose start a server. */
export const NOBODY = { uid: 65_534, gid: 65_534 };

/** Why a test cannot start it so, which is printed; "": it can. */
export function lackOfNobody(): string {
  const reason = lack();
  if (reason !== '') process.stderr.write(`files of another user are not tried: ${reason}\n`);
  return reason;
}

function lack(): string {
  if (process.getuid?.() !== 0) return 'only root can be another user';
  const { status } = spawnSync(process.execPath, [MAIN, '--version'], { ...NOBODY, cwd: '/' });
  return status === 0 ? '' : `user ${NOBODY.uid} cannot run ${MAIN} here`;
}

/** A fresh directory of that user's, which goes with the test. */
export function dirOfNobody(): string {
  const dir = tempDir();
  chownSync(dir, NOBODY.uid, NOBODY.gid);
  return dir;
}
