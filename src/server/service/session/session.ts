import { BalancerError } from '../../../engine/errors.ts';
import type { SessionRequest, SessionResponse } from '../../../gen/keybalancer/v1/keybalancer_pb.ts';
import type { ServiceContext } from '../service-context.ts';
import type { CallContext } from '../service-functions.ts';
import { SessionStream } from './session-stream.ts';

/** Acquires, reports and renewals over one stream: see the proto's comments on Session and its messages. */
export async function* session(
  context: ServiceContext,
  requests: AsyncIterable<SessionRequest>,
  call: CallContext,
): AsyncGenerator<SessionResponse> {
  if (call.signal.aborted) return;
  if (context.draining.aborted) {
    throw new BalancerError(
      'DRAINING',
      'this server is shutting down; open the session on another, or here once it is back',
    );
  }
  const stream = new SessionStream(context, requests, call);
  try {
    yield* stream.messages();
  } finally {
    await stream.close();
  }
}
