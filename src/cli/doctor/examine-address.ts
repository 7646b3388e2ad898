import { KeyBalancerError } from '../../client/errors.ts';
import { connectRemote } from '../../client/remote.ts';
import { parseHostPort } from '../../server/host-port.ts';
import { examineKeys } from './examine-keys.ts';
import { examineServer, PATIENCE_MS } from './examine-server.ts';
import { askForCertificate, certificateFindings, plaintextFinding } from './examine-tls.ts';
import { type Examined, ok, problem } from './finding.ts';

/** The server at an address, and its keys; or why it cannot be asked. */
export async function examineAddress(address: string, signal: AbortSignal): Promise<Examined> {
  const balancer = connectRemote(address, { transport: 'unary' });
  const tcp = parseHostPort(address);
  try {
    const began = performance.now();
    const { server, pools } = await balancer.keyBalancer.getStats({}, { signal, timeoutMs: PATIENCE_MS });
    const roundTripMs = performance.now() - began;
    const findings = [
      ...(await examineServer(balancer, { server, roundTripMs }, signal)),
      ...(tcp === undefined ? [] : [plaintextFinding(tcp)]),
      ...(await examineKeys(balancer, pools, signal)),
    ];
    return { findings, reached: true };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof KeyBalancerError)) throw error;
    return refused(error, address) ?? unreached(error, address);
  } finally {
    await balancer.close();
  }
}

/** Somebody answered, but not with what was asked for. */
function refused({ code, message }: KeyBalancerError, address: string): Examined | undefined {
  switch (code) {
    case 'UNAUTHENTICATED':
    case 'PERMISSION_DENIED': {
      const advice =
        'use a token that it takes, or run this on its machine with --data-dir, whose socket asks for none';
      return { findings: [ok('server', `${address} answers`), problem('access', message, advice)], reached: true };
    }
    case 'UNIMPLEMENTED':
    case 'INTERNAL': {
      const advice = 'look whether it is KeyBalancer, of a version that fits this program';
      return {
        findings: [problem('server', `${address} answers, but not as it should: ${message}`, advice)],
        reached: true,
      };
    }
    default:
      return undefined;
  }
}

async function unreached({ message }: KeyBalancerError, address: string): Promise<Examined> {
  const tcp = parseHostPort(address);
  const shown = tcp && (await askForCertificate(tcp));
  if (tcp === undefined || shown === undefined) {
    const advice =
      'look whether the server runs, whether the address is that of its gRPC door, and at firewalls in between';
    return { findings: [problem('server', message, advice)], reached: false };
  }
  const advice = 'commands speak plain text: run this on the machine of the server, or before the proxy';
  const findings = [problem('server', `${address} speaks TLS`, advice), ...certificateFindings(shown, tcp, Date.now())];
  return { findings, reached: false };
}
