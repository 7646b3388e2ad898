import { formatHostPort, type HostPort, isLoopback } from '../host-port.ts';

/** A door that others could read along at. */
export class ExposureError extends Error {
  override readonly name = 'ExposureError';
}

export interface Doors {
  grpc: HostPort | undefined;
  http: HostPort | undefined;
}

/** The doors that other machines can reach, as they were asked for: "--grpc 0.0.0.0:50051". */
export function exposedDoors(doors: Doors): string[] {
  return (['grpc', 'http'] as const).flatMap((name) => {
    const address = doors[name];
    return address === undefined || isLoopback(address.host) ? [] : [`--${name} ${formatHostPort(address)}`];
  });
}

/** Refuses a door that is open to other machines in plain text: it hands out API keys. Throws an ExposureError. */
export function checkExposure({ insecure, ...doors }: Doors & { insecure: boolean }): void {
  const exposed = exposedDoors(doors);
  if (insecure || exposed.length === 0) return;
  throw new ExposureError(
    `${exposed.join(' and ')} can be reached from other machines, and without TLS everyone on the way could read the API keys; ` +
      'use a loopback address behind a proxy that does TLS, or --insecure if the network is trusted',
  );
}
