import type { PoolStats } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { isoTime, poolCountsJson, restingJson } from '../health-json.ts';
import { printable } from '../output.ts';
import type { Feed } from './feed.ts';
import type { MonitorState } from './monitor-state.ts';

interface View {
  where: string;
  feed: Feed;
  /** Unix milliseconds. */
  now: number;
}

/** All pools in one line of logfmt. */
export function statusLine(state: MonitorState, { feed, now }: View): string {
  const time = new Date(now).toISOString();
  if (feed.lostSince !== undefined) {
    return `${time} reached=no since=${new Date(feed.lostSince).toISOString()} why=${JSON.stringify(printable(feed.trouble))}`;
  }
  const sum = (count: (stats: PoolStats) => bigint): bigint =>
    state.pools.reduce((total, { stats }) => total + count(stats), 0n);
  const perSecond = (name: 'acquires' | 'failures'): string => {
    const rates = state.pools.map(({ rates }) => rates?.[name]);
    if (rates.some((rate) => rate === undefined)) return '-';
    return String(Number(rates.reduce((total: number, rate) => total + rate!, 0).toPrecision(3)));
  };
  const fields: Record<string, string | bigint> = {
    reached: 'yes',
    keys: sum(({ totalKeys }) => totalKeys),
    available: sum(({ availableKeys }) => availableKeys),
    cooling: sum(({ coolingKeys }) => coolingKeys),
    quarantined: sum(({ quarantinedKeys }) => quarantinedKeys),
    disabled: sum(({ disabledKeys }) => disabledKeys),
    leases: sum(({ activeLeases }) => activeLeases),
    waiting: sum(({ waitingAcquires }) => waitingAcquires),
    'acquires/s': perSecond('acquires'),
    'failures/s': perSecond('failures'),
    exhausted: state.exhausted.size === 0 ? 'no' : JSON.stringify([...state.exhausted.keys()].join('; ')),
  };
  return `${time} ${Object.entries(fields)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ')}`;
}

export function statusRecord(state: MonitorState, { where, feed, now }: View): unknown {
  return {
    time: isoTime(now),
    reached: feed.lostSince === undefined,
    where,
    version: state.version,
    pools: state.pools.map(({ stats, rates = null }) => ({ ...poolCountsJson(stats), rates })),
    resting: state.resting().map(restingJson),
    exhausted: [...state.exhausted].map(([pool, since]) => ({ pool, since: isoTime(since) })),
  };
}
