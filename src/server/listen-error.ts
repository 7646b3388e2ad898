const REASONS: Record<string, string> = {
  EADDRINUSE: 'the port is in use by another program',
  EACCES: 'permission denied; ports below 1024 need a privilege',
  EADDRNOTAVAIL: 'this machine has no such address',
  ENOTFOUND: 'there is no host of that name',
};

/** A door that cannot be opened, with the reason in words. */
export class ListenError extends Error {
  override readonly name = 'ListenError';

  constructor(target: string, cause: Error) {
    // grpc-js puts the code into its message alone.
    const code = (cause as NodeJS.ErrnoException).code ?? /\b(E[A-Z]+)\b/.exec(cause.message)?.[1] ?? '';
    super(`cannot listen on ${target}: ${REASONS[code] ?? cause.message}`, { cause });
  }
}
