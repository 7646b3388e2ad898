import { enumToJson } from '@bufbuild/protobuf';
import { timestampMs } from '@bufbuild/protobuf/wkt';
import { type Attributes, SeverityNumber } from '@opentelemetry/api';
import { ProtobufLogsSerializer } from '@opentelemetry/otlp-transformer';
import { detectResources, envDetector, type Resource, resourceFromAttributes } from '@opentelemetry/resources';
import type { ReadableLogRecord } from '@opentelemetry/sdk-logs';
import {
  ErrorClassSchema,
  type HealthChange,
  HealthEventKind,
  HealthEventKindSchema,
  type KeyHealth,
  KeyState,
  KeyStateSchema,
  type PoolStats,
} from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { VERSION } from '../../server/version.ts';
import type { BridgeEvent, Told } from './event.ts';
import { eventInWords } from './event-in-words.ts';
import type { Sink, SinkRequest } from './sink.ts';

const SCOPE = { name: 'keybalancer.bridge', version: VERSION };
/** Where a collector takes logs, below its base URL. */
const LOGS_PATH = 'v1/logs';

/** A collector that takes OpenTelemetry logs by OTLP over HTTP, in protobuf. docs/bridge.md lists names and attributes. */
export class OtlpLogs implements Sink {
  readonly url: URL;
  readonly #resource: Resource;

  /** `endpoint`: the base URL, as in OTEL_EXPORTER_OTLP_ENDPOINT, or that of its logs. `server`: which balancer it is. */
  constructor(endpoint: URL, { server }: { server: string }) {
    this.url = logsUrl(endpoint);
    // OTEL_RESOURCE_ATTRIBUTES and OTEL_SERVICE_NAME say otherwise, where they are set.
    this.#resource = resourceFromAttributes({ 'service.name': 'keybalancer', 'keybalancer.server': server }).merge(
      detectResources({ detectors: [envDetector] }),
    );
  }

  request(events: readonly BridgeEvent[]): SinkRequest {
    const body = ProtobufLogsSerializer.serializeRequest(events.map((event) => this.#record(event)));
    if (body === undefined) throw new Error('no request for a batch of events');
    return { headers: { 'content-type': 'application/x-protobuf' }, body };
  }

  /** What the protocol calls a partial success. */
  refused(body: Uint8Array): { count: number; why: string } | undefined {
    let answer: ReturnType<typeof ProtobufLogsSerializer.deserializeResponse>;
    try {
      answer = ProtobufLogsSerializer.deserializeResponse(body);
    } catch {
      // Some collectors answer in JSON, or with a page of their own; the status says that they have it.
      return undefined;
    }
    const { rejectedLogRecords, errorMessage } = answer.partialSuccess ?? {};
    const count = Number(rejectedLogRecords ?? 0);
    return count > 0 ? { count, why: errorMessage ?? '' } : undefined;
  }

  #record({ id, told, observedTime }: BridgeEvent): ReadableLogRecord {
    const { eventName, severityNumber, attributes } = describe(told);
    return {
      hrTime: hrTime(timeOf(told) ?? observedTime),
      hrTimeObserved: hrTime(observedTime),
      eventName,
      severityNumber,
      severityText: SeverityNumber[severityNumber]!,
      body: eventInWords(told),
      attributes: { 'keybalancer.event.id': id, ...attributes },
      droppedAttributesCount: 0,
      resource: this.#resource,
      instrumentationScope: SCOPE,
    };
  }
}

interface Description {
  eventName: string;
  severityNumber: SeverityNumber;
  attributes: Attributes;
}

function describe(told: Told): Description {
  if ('gap' in told) {
    const { reason, changes } = told.gap;
    return {
      eventName: 'keybalancer.gap',
      severityNumber: SeverityNumber.WARN,
      attributes: { 'keybalancer.gap.reason': reason, 'keybalancer.gap.changes': changes },
    };
  }
  const { event } = told.health;
  if (event.case === 'change') return describeChange(event.value);
  const [key] = event.case === 'snapshot' ? event.value.keys : [];
  const [pool] = event.case === 'snapshot' ? event.value.pools : [];
  return {
    eventName: key === undefined ? 'keybalancer.pool.snapshot' : 'keybalancer.key.snapshot',
    severityNumber: SeverityNumber.INFO,
    attributes: { ...(key && keyAttributes(key)), ...(pool && poolAttributes(pool)) },
  };
}

function describeChange({ kind, pool, model, key, previousState, merged }: HealthChange): Description {
  const name = wordOf(enumToJson(HealthEventKindSchema, kind), 'HEALTH_EVENT_KIND_');
  return {
    // Such as keybalancer.key.changed.
    eventName: `keybalancer.${name.replace('_', '.')}`,
    severityNumber: severityOf(kind, key),
    attributes: {
      'keybalancer.pool': pool,
      ...(model !== '' && { 'gen_ai.request.model': model }),
      ...(key && (kind === HealthEventKind.KEY_REMOVED ? { 'keybalancer.key_id': key.keyId } : keyAttributes(key))),
      ...(previousState !== KeyState.UNSPECIFIED && { 'keybalancer.key.previous_state': stateWord(previousState) }),
      ...(merged > 0n && { 'keybalancer.merged': Number(merged) }),
    },
  };
}

function severityOf(kind: HealthEventKind, key: KeyHealth | undefined): SeverityNumber {
  if (kind === HealthEventKind.POOL_EXHAUSTED) return SeverityNumber.ERROR;
  if (kind !== HealthEventKind.KEY_CHANGED) return SeverityNumber.INFO;
  switch (key?.state) {
    case KeyState.DISABLED_AUTO:
      return SeverityNumber.ERROR;
    case KeyState.COOLING:
    case KeyState.QUARANTINED:
      return SeverityNumber.WARN;
    default:
      return SeverityNumber.INFO;
  }
}

function keyAttributes(key: KeyHealth): Attributes {
  const { keyId, pool, project, state, cooldowns, weight, effectiveWeight, consecutiveFailures, lastErrorClass } = key;
  const rests = cooldowns.length > 0;
  const cause = cooldowns[0]?.cause ?? lastErrorClass;
  const until = cooldowns.flatMap(({ untilTime }) => (untilTime === undefined ? [] : [timestampMs(untilTime)]));
  return {
    'keybalancer.key_id': keyId,
    'keybalancer.pool': pool,
    ...(project !== '' && { 'keybalancer.project': project }),
    'keybalancer.key.state': stateWord(state),
    'keybalancer.key.weight': weight,
    'keybalancer.key.effective_weight': effectiveWeight,
    'keybalancer.key.consecutive_failures': consecutiveFailures,
    ...(cause !== 0 &&
      (rests || state !== KeyState.AVAILABLE) && {
        'error.type': String(enumToJson(ErrorClassSchema, cause)).replace('ERROR_CLASS_', ''),
      }),
    ...(rests && { 'keybalancer.cooldown.models': cooldowns.map(({ model }) => model) }),
    ...(until.length > 0 && {
      'keybalancer.cooldown.until': new Date(Math.max(...until)).toISOString(),
    }),
  };
}

function poolAttributes(stats: PoolStats): Attributes {
  return {
    'keybalancer.pool': stats.pool,
    'keybalancer.keys.total': Number(stats.totalKeys),
    'keybalancer.keys.available': Number(stats.availableKeys),
    'keybalancer.keys.cooling': Number(stats.coolingKeys),
    'keybalancer.keys.quarantined': Number(stats.quarantinedKeys),
    'keybalancer.keys.disabled': Number(stats.disabledKeys),
  };
}

function stateWord(state: KeyState): string {
  return wordOf(enumToJson(KeyStateSchema, state), 'KEY_STATE_');
}

function wordOf(name: unknown, prefix: string): string {
  return String(name).replace(prefix, '').toLowerCase();
}

/** In unix milliseconds. */
function timeOf(told: Told): number | undefined {
  if ('gap' in told) return told.gap.time;
  return told.health.eventTime && timestampMs(told.health.eventTime);
}

/** Seconds and nanoseconds of unix milliseconds. */
function hrTime(ms: number): [number, number] {
  return [Math.floor(ms / 1000), Math.round((ms % 1000) * 1e6)];
}

function logsUrl(endpoint: URL): URL {
  const url = new URL(endpoint);
  if (!url.pathname.endsWith(`/${LOGS_PATH}`)) url.pathname = `${url.pathname.replace(/\/$/, '')}/${LOGS_PATH}`;
  return url;
}
