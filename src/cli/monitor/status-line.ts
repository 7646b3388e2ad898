import { enumToJson } from '@bufbuild/protobuf';
import { ErrorClassSchema, KeyStateSchema, type PoolStats } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
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
  const time = (ms: number | undefined): string | null => (ms === undefined ? null : new Date(ms).toISOString());
  return {
    time: time(now),
    reached: feed.lostSince === undefined,
    where,
    version: state.version,
    pools: state.pools.map(({ stats, rates = null }) => ({
      pool: stats.pool,
      totalKeys: Number(stats.totalKeys),
      availableKeys: Number(stats.availableKeys),
      coolingKeys: Number(stats.coolingKeys),
      quarantinedKeys: Number(stats.quarantinedKeys),
      disabledKeys: Number(stats.disabledKeys),
      activeLeases: Number(stats.activeLeases),
      waitingAcquires: Number(stats.waitingAcquires),
      rates,
    })),
    resting: state.resting().map(({ verification: _, ...group }) => ({
      ...group,
      state: enumToJson(KeyStateSchema, group.state),
      cause: enumToJson(ErrorClassSchema, group.cause),
      firstBack: time(group.firstBack),
      lastBack: time(group.lastBack),
      firstTry: time(group.firstTry),
    })),
    exhausted: [...state.exhausted].map(([pool, since]) => ({ pool, since: time(since) })),
  };
}
