import { durationFromMs, timestampMs } from '@bufbuild/protobuf/wkt';
import type { Balancer } from '../../client/balancer.ts';
import { KeyBalancerError } from '../../client/errors.ts';
import type { ServerStats } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { VERSION } from '../../server/version.ts';
import { milliseconds } from '../words.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/** Longest time for one answer. */
export const PATIENCE_MS = 5_000;
/** Clocks that differ by more show wrong times to people; by much more, days of quota begin at wrong times. */
const SKEW_TOLD_MS = 2_000;
const SKEW_WRONG_MS = 300_000;

/** Of a server that answers: its version, its clock, and what it lets this caller do. */
export async function examineServer(
  balancer: Balancer,
  { server, roundTripMs }: { server: ServerStats | undefined; roundTripMs: number },
  signal: AbortSignal,
): Promise<Finding[]> {
  const found = `${balancer.where} answers in ${milliseconds(Math.max(1, roundTripMs))}`;
  return [
    ok('server', found),
    versionFinding(server?.version ?? ''),
    await clockFinding(balancer, roundTripMs, signal),
    await accessFinding(balancer, signal),
  ];
}

function versionFinding(theirs: string): Finding {
  const found = `the server is ${theirs || 'of an unknown version'}, this program ${VERSION}`;
  if (theirs === VERSION) return ok('version', found);
  return warning('version', found, 'use the same version on both sides: the older one does not know all of the other');
}

/** By the time that the server puts on what it tells watchers. */
async function clockFinding(balancer: Balancer, roundTripMs: number, signal: AbortSignal): Promise<Finding> {
  const request = { skipSnapshot: true, heartbeatInterval: durationFromMs(1_000) };
  try {
    for await (const { eventTime } of balancer.watchHealth(request, { signal, timeoutMs: PATIENCE_MS })) {
      if (eventTime === undefined) continue;
      return skewFinding(timestampMs(eventTime) - (Date.now() - roundTripMs / 2));
    }
  } catch (error) {
    if (signal.aborted || !(error instanceof KeyBalancerError)) throw error;
    return warning(
      'clock',
      `WatchHealth failed: ${error.message}`,
      'watchers need a stream: look at proxies in between',
    );
  }
  return warning('clock', 'the server told no time', 'compare the clocks by hand');
}

/** `skewMs`: how far the server's clock is ahead. */
export function skewFinding(skewMs: number): Finding {
  const far = Math.abs(skewMs);
  const found = `the server's clock is ${milliseconds(Math.round(far))} ${skewMs < 0 ? 'behind' : 'ahead of'} this one`;
  if (far <= SKEW_TOLD_MS) return ok('clock', "the server's clock and this one agree");
  const advice = 'set both clocks by NTP: cooldowns and days of quota end by the clock of the server';
  return far > SKEW_WRONG_MS ? problem('clock', found, advice) : warning('clock', found, advice);
}

async function accessFinding(balancer: Balancer, signal: AbortSignal): Promise<Finding> {
  try {
    await balancer.keyAdmin.listPools({ pageSize: 1 }, { signal, timeoutMs: PATIENCE_MS });
    return ok('access', 'statistics and administration are allowed');
  } catch (error) {
    if (signal.aborted || !(error instanceof KeyBalancerError)) throw error;
    if (error.code === 'PERMISSION_DENIED' || error.code === 'UNAUTHENTICATED') {
      return warning(
        'access',
        `administration is refused: ${error.message}`,
        'use a token with that scope to administer',
      );
    }
    return problem('access', `ListPools failed: ${error.message}`, 'look into the log of the server');
  }
}
