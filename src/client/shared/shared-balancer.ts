import { performance } from 'node:perf_hooks';
import type { DescService } from '@bufbuild/protobuf';
import { KeyAdminService, KeyBalancerService } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Balancer, CallOptions, UnaryCalls } from '../balancer.ts';
import type { Member, SharedDir } from './member.ts';
import { Membership } from './membership.ts';
import { resumedWatch } from './resumed-watch.ts';

/** A call that finds no owner waits so long for the next one; then it rejects UNAVAILABLE, and may be made again. */
const CALL_PATIENCE_MS = 3_000;
const WATCH_PATIENCE_MS = 30_000;

/**
 * A data dir that several processes use: one of them owns it and lets the others join, and when it goes another takes its place.
 * A call that was under way then rejects UNAVAILABLE; one made while there is no owner waits for the next. WatchHealth goes on.
 */
export async function openShared(dir: SharedDir): Promise<Balancer> {
  const membership = await Membership.begin(dir);
  return {
    keyBalancer: forwarded(KeyBalancerService, membership, (balancer) => balancer.keyBalancer),
    keyAdmin: forwarded(KeyAdminService, membership, (balancer) => balancer.keyAdmin),
    watchHealth: (request, options = {}) =>
      resumedWatch(async (call) => (await membership.next(call, WATCH_PATIENCE_MS)).balancer, request, options),
    async *testKeys(request, options = {}) {
      const { balancer } = await membership.next(options, CALL_PATIENCE_MS);
      yield* balancer.testKeys(request, options);
    },
    get where() {
      return membership.where;
    },
    get inProcess() {
      return membership.current?.role === 'owner';
    },
    close: () => membership.close(),
  };
}

type Call = (request: unknown, options?: CallOptions) => Promise<unknown>;

/** The unary calls of whatever balancer there is. */
function forwarded<S extends DescService>(
  service: S,
  membership: Membership,
  callsOf: (balancer: Balancer) => object,
): UnaryCalls<S> {
  const calls: Record<string, Call> = {};
  for (const method of service.methods) {
    if (method.methodKind !== 'unary') continue;
    const name = method.localName;
    const make = (member: Member, request: unknown, options: CallOptions | undefined): Promise<unknown> => {
      const call = (callsOf(member.balancer) as Record<string, Call>)[name]!;
      return membership.answer(member, call(request, options));
    };
    const wait: Call = async (request, options = {}) => {
      const startedAt = performance.now();
      const member = await membership.next(options, CALL_PATIENCE_MS);
      const { timeoutMs } = options;
      if (timeoutMs === undefined) return make(member, request, options);
      const leftMs = Math.max(1, Math.ceil(timeoutMs - (performance.now() - startedAt)));
      return make(member, request, { ...options, timeoutMs: leftMs });
    };
    calls[name] = (request, options) => {
      const { current } = membership;
      return current === undefined ? wait(request, options) : make(current, request, options);
    };
  }
  // The descriptors that built the calls are the same that their types come from.
  return calls as UnaryCalls<S>;
}
