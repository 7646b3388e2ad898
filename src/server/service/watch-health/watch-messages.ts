import { create } from '@bufbuild/protobuf';
import {
  type HealthEventKind,
  type KeyHealth,
  KeyHealthSchema,
  KeyState,
  type WatchHealthResponse,
} from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { KeyView, PoolStatsView, RemovedKey } from '../../../store/store.ts';
import { keyHealthMessage } from '../key-messages.ts';
import { poolStatsMessage } from '../stats-messages.ts';
import { timestampMessage } from '../time-messages.ts';
import type { PendingChange } from './pending-changes.ts';

/** What a watcher is told, as messages. */

export function snapshotMessage(
  resumeToken: string,
  page: { keys: readonly KeyView[]; pools: readonly PoolStatsView[]; more: boolean; reset: boolean },
): WatchHealthResponse {
  return response(resumeToken, Date.now(), {
    case: 'snapshot',
    value: {
      $typeName: 'keybalancer.v1.HealthSnapshot',
      keys: page.keys.map(keyHealthMessage),
      pools: page.pools.map(poolStatsMessage),
      more: page.more,
      reset: page.reset,
    },
  });
}

export function changeMessage(resumeToken: string, pending: PendingChange): WatchHealthResponse {
  const { change, kind, previousState, merged } = pending;
  const gone = change.keyId === '' ? undefined : goneKey(change);
  return response(resumeToken, change.time, {
    case: 'change',
    value: {
      $typeName: 'keybalancer.v1.HealthChange',
      kind,
      pool: change.pool,
      model: change.model,
      key: change.key === undefined ? gone : keyHealthMessage(change.key),
      previousState,
      merged: BigInt(merged),
    },
  });
}

/** A change that a resuming watcher missed: how the key stands now. What it was when the watcher last heard is not known. */
export function missedChangeMessage(
  resumeToken: string,
  kind: HealthEventKind,
  key: KeyView | RemovedKey,
): WatchHealthResponse {
  return response(resumeToken, Date.now(), {
    case: 'change',
    value: {
      $typeName: 'keybalancer.v1.HealthChange',
      kind,
      pool: key.pool,
      model: '',
      key: 'state' in key ? keyHealthMessage(key) : goneKey(key),
      previousState: KeyState.UNSPECIFIED,
      merged: 0n,
    },
  });
}

/** Whether a pool has available keys, told as if it had just come to that. */
export function poolConditionMessage(resumeToken: string, kind: HealthEventKind, pool: string): WatchHealthResponse {
  return response(resumeToken, Date.now(), {
    case: 'change',
    value: {
      $typeName: 'keybalancer.v1.HealthChange',
      kind,
      pool,
      model: '',
      previousState: KeyState.UNSPECIFIED,
      merged: 0n,
    },
  });
}

export function heartbeatMessage(resumeToken: string, total: PoolStatsView): WatchHealthResponse {
  return response(resumeToken, Date.now(), {
    case: 'heartbeat',
    value: { $typeName: 'keybalancer.v1.Heartbeat', total: poolStatsMessage(total) },
  });
}

function response(resumeToken: string, time: number, event: WatchHealthResponse['event']): WatchHealthResponse {
  return {
    $typeName: 'keybalancer.v1.WatchHealthResponse',
    resumeToken,
    eventTime: timestampMessage(time),
    event,
  };
}

/** Of a removed key only its name is left. */
function goneKey({ keyId, pool }: { keyId: string; pool: string }): KeyHealth {
  return create(KeyHealthSchema, { keyId, pool });
}
