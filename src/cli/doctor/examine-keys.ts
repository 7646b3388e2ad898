import type { Balancer } from '../../client/balancer.ts';
import { KeyBalancerError } from '../../client/errors.ts';
import type { PoolStats } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { allKeys } from '../all-keys.ts';
import { count } from '../words.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/** Keys that are looked at one by one: of a large pool the first tell enough. */
const LOOKED_AT = 10_000;

/** Whether the keys of each pool can serve. */
export async function examineKeys(
  balancer: Balancer,
  pools: readonly PoolStats[],
  signal: AbortSignal,
): Promise<Finding[]> {
  const used = pools.filter(({ totalKeys }) => totalKeys > 0n);
  if (used.length === 0) return [problem('keys', 'there are none', '`keybalancer import FILE` adds them')];
  return [...used.flatMap(poolFindings), ...(await projectFindings(balancer, signal))];
}

function poolFindings({ pool, totalKeys, availableKeys, ...rest }: PoolStats): Finding[] {
  const { coolingKeys, quarantinedKeys, disabledKeys } = rest;
  const parts = [`pool ${pool}: ${availableKeys} of ${count(totalKeys, 'key')} available`];
  if (coolingKeys > 0n) parts.push(`${coolingKeys} cooling`);
  if (quarantinedKeys > 0n) parts.push(`${quarantinedKeys} quarantined`);
  if (disabledKeys > 0n) parts.push(`${disabledKeys} disabled`);
  const found = parts.join(', ');
  const why = `\`keybalancer health --pool ${pool}\` tells why, and what ends it`;
  if (availableKeys === 0n) return [problem('keys', found, `${why}; add keys meanwhile`)];
  if (quarantinedKeys + disabledKeys > 0n) return [warning('keys', found, why)];
  return [ok('keys', found)];
}

async function projectFindings(balancer: Balancer, signal: AbortSignal): Promise<Finding[]> {
  let seen = 0;
  let without = 0;
  try {
    for await (const { keys } of allKeys(balancer, {}, signal)) {
      seen += keys.length;
      without += keys.filter(({ project, health }) => project === '' && !health?.projectLearned).length;
      if (seen >= LOOKED_AT) break;
    }
  } catch (error) {
    // Whether administration is allowed is told elsewhere.
    if (signal.aborted || !(error instanceof KeyBalancerError)) throw error;
    return [];
  }
  // One key alone shares its quota with nobody.
  if (without < 2) return [];
  return [
    warning(
      'projects',
      `${count(without, 'key')} of ${seen === LOOKED_AT ? `the first ${LOOKED_AT}` : seen} have no project`,
      'keys of one project share its quota: name it by `keybalancer update-key KEY_ID --project NAME`, or let errors teach it',
    ),
  ];
}
