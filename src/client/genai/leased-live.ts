import { performance } from 'node:perf_hooks';
import { durationFromMs } from '@bufbuild/protobuf/wkt';
import type { GoogleGenAI, LiveServerMessage } from '@google/genai';
import { describeThrown } from '../../gemini/describe-thrown.ts';
import { normalizeModel } from '../../gemini/model-name.ts';
import { type Lease, Outcome, type ReportResultResponse } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { attachAttempts } from '../attempts.ts';
import { KeyBalancerError } from '../errors.ts';
import { HeldLease } from '../held-lease.ts';
import { maskKeys } from '../mask-keys.ts';
import type { Reports } from '../reports.ts';
import { tokenUsage } from '../token-usage.ts';
import type { GenAIContext } from './context.ts';
import { LeaseSearch } from './lease-search.ts';
import { type LineCallbacks, LiveLine } from './live-line.ts';
import { liveWithKey } from './live-socket.ts';
import { classOf, Retries, toldInTime } from './retries.ts';

interface LiveSession {
  close(): void;
}

/** Closes that end a session in good order: done, going away, without a word. */
const WELL = new Set([1000, 1001, 1005]);

/**
 * Makes each live session with a lease of its own, which lasts as long as the session. Another key is tried while the session is
 * not set up.
 */
export function leaseSessions({ live }: GoogleGenAI, context: GenAIContext): void {
  const { connect } = live;
  live.connect = (params) =>
    running(
      context,
      connected(context, 'live.connect', params, params.config?.sessionResumption?.handle, (apiKey, inner) =>
        connect.call(liveWithKey(live, apiKey), inner),
      ),
    );
  const { music } = live;
  const { connect: connectMusic } = music;
  music.connect = (params) =>
    running(
      context,
      connected(context, 'live.music.connect', params, undefined, (apiKey, inner) =>
        connectMusic.call(liveWithKey(music, apiKey), inner),
      ),
    );
}

function running<S>(context: GenAIContext, connecting: Promise<S>): Promise<S> {
  context.running?.(connecting);
  return connecting;
}

async function connected<P, S extends LiveSession>(
  context: GenAIContext,
  method: string,
  params: P & { model: string; callbacks?: unknown },
  handle: string | undefined,
  connect: (apiKey: string, params: P) => Promise<S>,
): Promise<S> {
  const { balancer, reports } = await context.connected();
  const model = normalizeModel(params.model) ?? '';
  const notify: ConstructorParameters<typeof Retries>[3] = (event) => {
    try {
      context.notify({ ...event, method, model });
    } catch {
      // A listener's mistake is no reason to fail a session.
    }
  };
  const { pool, maxWait, maxRetries, retryDelay, affinityKey = '' } = context.settings;
  const wanted = { pool, model, estimatedTokens: 0n, affinityKey };
  const waitMs = maxWait ?? maxRetries * retryDelay;
  const patience = { waitMs, signal: undefined };
  const leases = new LeaseSearch(balancer, wanted, patience);
  const retries = new Retries(context, leases, patience, notify);
  if (handle !== undefined) leases.boundTo = context.origins.of([resumption(handle)]);
  const apiKeys: string[] = [];
  let failure: { thrown: unknown } | undefined;
  let line: LiveLine | undefined;
  const ending = (): unknown => {
    line?.flush();
    const masked = maskKeys(failure?.thrown, apiKeys);
    attachAttempts(masked, retries.attempts);
    return masked;
  };
  for (;;) {
    let lease: Lease;
    const askedAt = performance.now();
    try {
      lease = await leases.next();
    } catch (error) {
      if (error instanceof KeyBalancerError) {
        const { reason, retryAfterMs } = error;
        notify({ type: 'exhausted', reason, retryAfterMs, attempts: retries.attempts.length });
      }
      throw failure === undefined ? error : ending();
    }
    const { keyId, project, apiKey } = lease;
    const startedAt = performance.now();
    notify({ type: 'lease', keyId, project, waitedMs: startedAt - askedAt, attempt: retries.attempts.length });
    apiKeys.push(apiKey);
    const held = new HeldLease(balancer, lease);
    line = new LiveLine(params.callbacks as LineCallbacks | undefined);
    const current = line;
    const report = (error: unknown): Promise<ReportResultResponse | undefined> =>
      reportSession(reports, lease, error, performance.now() - startedAt, current.usage, notify);
    try {
      const opening = connect(apiKey, { ...params, callbacks: current.callbacks });
      // One kind of session never learns that its connection failed.
      const session = await Promise.race([opening, current.failedToOpen]);
      const close = session.close.bind(session);
      session.close = () => {
        current.leave();
        close();
      };
      current.onHandle = (newHandle) => context.origins.remember([resumption(newHandle)], lease);
      current.open((event) => {
        held.letGo();
        const well = current.left || WELL.has(event.code);
        void report(well ? undefined : { code: event.code, reason: event.reason });
      });
      return session;
    } catch (thrown) {
      held.letGo();
      failure = { thrown };
      const startedMs = performance.now() - startedAt;
      const told = await report(thrown);
      retries.attempts.push({ keyId, errorClass: classOf(told), latencyMs: Math.round(startedMs) });
      if (!(await retries.follow(told, keyId, 0))) throw ending();
    }
  }
}

/** `error`: what ended it; undefined: it ended well. */
async function reportSession(
  reports: Reports,
  { leaseId, keyId, apiKey }: Lease,
  error: unknown,
  latencyMs: number,
  usageMetadata: LiveServerMessage['usageMetadata'],
  notify: ConstructorParameters<typeof Retries>[3],
): Promise<ReportResultResponse | undefined> {
  const usage = tokenUsage({
    usageMetadata: usageMetadata && { ...usageMetadata, candidatesTokenCount: usageMetadata.responseTokenCount },
  });
  const described = error === undefined ? undefined : describeThrown(error, { apiKey });
  // What is not Gemini's, such as a mistake in the parameters, is no fault of the key; nor was it used.
  const outcome = error === undefined ? Outcome.SUCCESS : described === undefined ? Outcome.UNUSED : Outcome.FAILURE;
  const sending = reports.send(
    {
      leaseId,
      outcome,
      latency: durationFromMs(Math.round(latencyMs)),
      ...(described === undefined ? {} : { error: described }),
      ...(usage === undefined ? {} : { usage }),
    },
    keyId,
  );
  const told = await toldInTime(sending);
  notify({
    type: 'report',
    keyId,
    outcome: outcome === Outcome.SUCCESS ? 'success' : outcome === Outcome.FAILURE ? 'failure' : 'unused',
    errorClass: outcome === Outcome.FAILURE ? classOf(told) : '',
    httpStatus: described?.httpStatus ?? 0,
    latencyMs,
    inputTokens: Number(usage?.inputTokens ?? 0),
    outputTokens: Number(usage?.outputTokens ?? 0),
  });
  return told;
}

/** A handle to go on with a session is good in the project of the session. */
function resumption(handle: string): string {
  return `live/${handle.slice(-256)}`;
}
