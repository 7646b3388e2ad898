/** One try of a call, for whoever reads an error: names the key by its id, never by itself. */
export interface Attempt {
  keyId: string;
  /** ErrorClass name, such as "RATE_LIMITED_MINUTE"; "UNKNOWN" when the balancer could not be told of it. */
  errorClass: string;
  latencyMs: number;
}

/** Hangs the attempts on what is about to be thrown, if it is an object that takes them. */
export function attachAttempts(thrown: unknown, attempts: readonly Attempt[]): void {
  if (typeof thrown !== 'object' || thrown === null) return;
  // False where the object is frozen.
  Reflect.defineProperty(thrown, 'attempts', {
    value: [...attempts],
    enumerable: true,
    configurable: true,
    writable: true,
  });
}
