import { execFileSync } from 'node:child_process';

/** Whether a program of Debian is there, which not every machine has; CI has them all. */
export function isInstalled(program: string): boolean {
  try {
    execFileSync('sh', ['-c', 'command -v "$0"', program], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
