/** The promise, or the signal's reason as soon as there is one: what becomes of the promise then is nobody's matter. */
export async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  const left = Promise.withResolvers<never>();
  const leave = (): void => left.reject(signal.reason);
  if (signal.aborted) leave();
  signal.addEventListener('abort', leave, { once: true });
  try {
    return await Promise.race([left.promise, promise]);
  } finally {
    signal.removeEventListener('abort', leave);
  }
}
