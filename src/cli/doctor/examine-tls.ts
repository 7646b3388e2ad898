import { isIP } from 'node:net';
import { checkServerIdentity, connect, type PeerCertificate } from 'node:tls';
import { type HostPort, isLoopback } from '../../server/host-port.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

const PATIENCE_MS = 3_000;
const DAY_MS = 86_400_000;
/** Time enough to renew a certificate by hand. */
const SOON_DAYS = 14;

/** What somebody who speaks TLS showed. */
export interface Shown {
  certificate: PeerCertificate;
  /** Why it is not trusted; undefined: it is. */
  distrust: string | undefined;
}

/** Of a server that answered without TLS. */
export function plaintextFinding({ host }: HostPort): Finding {
  if (isLoopback(host)) return ok('TLS', 'none, and none is needed: what is sent stays on this machine');
  return warning(
    'TLS',
    'none: API keys cross the network in plain text',
    'put a proxy that does TLS before the server, or reach it through a tunnel or its unix socket',
  );
}

/** Asks for the certificate of whoever listens there; undefined: nobody who speaks TLS. Sends nothing else. */
export function askForCertificate({ host, port }: HostPort): Promise<Shown | undefined> {
  return new Promise((resolve) => {
    // An address is no name that could be asked for.
    const servername = isIP(host) === 0 ? host : '';
    const socket = connect({ host, port, servername, ALPNProtocols: ['h2'], rejectUnauthorized: false });
    const end = (shown: Shown | undefined): void => {
      socket.destroy();
      resolve(shown);
    };
    socket.setTimeout(PATIENCE_MS, () => end(undefined));
    socket.once('error', () => end(undefined));
    socket.once('secureConnect', () => {
      const distrust = socket.authorized ? undefined : String(socket.authorizationError);
      end({ certificate: socket.getPeerCertificate(), distrust });
    });
  });
}

/** Whether the certificate would be taken, now and for a while. */
export function certificateFindings({ certificate, distrust }: Shown, { host }: HostPort, now: number): Finding[] {
  const days = Math.floor((Date.parse(certificate.valid_to) - now) / DAY_MS);
  const until = `the certificate is valid until ${certificate.valid_to}`;
  const renew = 'renew it';
  const wrongName = checkServerIdentity(host, certificate);
  const findings = [
    days < 0
      ? problem('TLS', `${until}, which is past`, renew)
      : days < SOON_DAYS
        ? warning('TLS', `${until}, in ${days} days`, renew)
        : ok('TLS', `${until}, for ${days} days`),
  ];
  if (wrongName !== undefined) {
    findings.push(problem('TLS', `the certificate is not for ${host}: ${wrongName.message}`, 'use a name that it has'));
  }
  // What is out of date or of another name is told of above.
  if (distrust !== undefined && !/EXPIRED|ALTNAME/.test(distrust)) {
    findings.push(
      warning('TLS', `the certificate is not trusted here: ${distrust}`, 'give clients its CA by the option tls.ca'),
    );
  }
  return findings;
}
