import { clearTimeout, setTimeout } from 'node:timers';
import type { Balancer } from '../balancer.ts';
import type { SharedDir } from './member.ts';
import { firstMember } from './membership.ts';

/** A visit that lasts longer lets others join it: most are over before. */
const SERVE_AFTER_MS = 500;

/**
 * A data dir for a command that ends: it joins the owner there is, and fails when that goes; with none, it is the owner itself until
 * it is closed.
 */
export async function openVisit(dir: SharedDir): Promise<Balancer> {
  const member = await firstMember(dir);
  if (member.role === 'guest') {
    member.watch?.close();
    return member.balancer;
  }
  const { balancer } = member;
  const serving = setTimeout(() => {
    balancer.serve().catch((error: unknown) => {
      dir.warn(`other processes cannot join ${dir.dataDir}: ${(error as Error).message}`);
    });
  }, SERVE_AFTER_MS).unref();
  return {
    ...balancer,
    close() {
      clearTimeout(serving);
      return balancer.close();
    },
  };
}
