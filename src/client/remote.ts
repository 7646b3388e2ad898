import { KeyAdminService, KeyBalancerService } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import { parseAddresses } from './address.ts';
import { type Balancer, type InvokeUnary, unaryCalls } from './balancer.ts';
import { LONGEST_TIMER_MS, number, refuseUnknown } from './checks.ts';
import { type CredentialOptions, credentialsOf } from './credentials.ts';
import { Endpoints } from './endpoints.ts';
import { invalidOption } from './errors.ts';
import { GrpcCalls } from './grpc-calls.ts';
import { SessionCalls } from './session/session-calls.ts';

/** How a server is reached, and how long it is waited for. */
export interface RemoteOptions extends CredentialOptions {
  /** For a call that says nothing else, in milliseconds, 0 to 2147483647; one that may wait for a key gets its max_wait on top. Default: 30 s. */
  timeoutMs?: number | undefined;
  /**
   * How acquires, reports and renewals travel: on one Session stream, or each as a call of its own. Default: session, which
   * becomes unary by itself where streams do not get through.
   */
  transport?: 'session' | 'unary' | undefined;
}

const REMOTE_OPTIONS = ['timeoutMs', 'transport', 'tls', 'token'];
const TRANSPORTS = ['session', 'unary'];

/**
 * A KeyBalancer server at HOST:PORT or unix:PATH, or at several, tried in their order. Connects with the first call, and again
 * whenever it must. Nothing of it keeps the process alive but calls that run, and the stream for half a second after the last.
 */
export function connectRemote(address: string | readonly string[], options: RemoteOptions = {}): Balancer {
  refuseUnknown(options, REMOTE_OPTIONS, 'remote');
  const { transport = 'session' } = options;
  const timeoutMs = number('remote.timeoutMs', options.timeoutMs, 30_000, LONGEST_TIMER_MS);
  if (!TRANSPORTS.includes(transport)) throw invalidOption('transport', String(transport), TRANSPORTS.join(', '));
  const addresses = parseAddresses(address);
  const credentials = credentialsOf(options, addresses);
  const endpoints = new Endpoints(addresses, credentials);
  const { where } = endpoints;
  const calls = new GrpcCalls(endpoints, credentials.metadata, timeoutMs);
  const session =
    transport === 'session'
      ? new SessionCalls({ endpoints, metadata: credentials.metadata, timeoutMs, single: calls.single })
      : undefined;
  const invoke: InvokeUnary = (method, request, call) =>
    session?.carries(method, request) ? session.invoke(method, request, call) : calls.invoke(method, request, call);
  let closing: Promise<void> | undefined;

  return {
    keyBalancer: unaryCalls(KeyBalancerService, invoke),
    keyAdmin: unaryCalls(KeyAdminService, calls.invoke),
    watchHealth: calls.streaming(KeyBalancerService.method.watchHealth),
    testKeys: calls.streaming(KeyAdminService.method.testKeys),
    where,
    close() {
      closing ??= (async () => {
        calls.close();
        await session?.close();
        endpoints.close();
      })();
      return closing;
    },
  };
}
