/** One try of a call, for whoever reads an error: names the key by its id, never by itself. */
export interface Attempt {
  /** The key's id; "fallback": the fallback key. */
  keyId: string;
  /** ErrorClass name, such as "RATE_LIMITED_MINUTE"; "UNKNOWN" when the balancer could not be told of it. */
  errorClass: string;
  /** Milliseconds from the request until it failed. */
  latencyMs: number;
}

/** Errors around errors that are looked through. */
const DEEPEST_CAUSE = 6;
/** What calls ended with: known by itself, since others write a property of that name, too, and frozen errors take none. */
const ended = new WeakSet<object>();

/** Hangs the attempts on what is about to be thrown, if it is an object that takes them. */
export function attachAttempts(thrown: unknown, attempts: readonly Attempt[]): void {
  if (!isObject(thrown)) return;
  ended.add(thrown);
  try {
    // False where the object is frozen.
    Reflect.defineProperty(thrown, 'attempts', {
      value: [...attempts],
      enumerable: true,
      configurable: true,
      writable: true,
    });
  } catch {
    // A proxy that takes nothing.
  }
}

/** Whether a call with leases of its own ended with this, or with what caused it: its leases were told of it. */
export function carriesAttempts(thrown: unknown): boolean {
  let error = thrown;
  for (let depth = 0; isObject(error) && depth < DEEPEST_CAUSE; depth++) {
    if (ended.has(error)) return true;
    try {
      error = (error as { cause?: unknown }).cause;
    } catch {
      return false;
    }
  }
  return false;
}

function isObject(value: unknown): value is object {
  return (typeof value === 'object' && value !== null) || typeof value === 'function';
}
