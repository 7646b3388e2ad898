/** Told when the process is about to end for want of work. One listener for all: each client may have its own reports. */
const waiting = new Set<() => void>();

function tellAll(): void {
  for (const flush of [...waiting]) flush();
}

/** `flush` is called should the process come to its end. */
export function beforeExit(flush: () => void): void {
  if (waiting.size === 0) process.on('beforeExit', tellAll);
  waiting.add(flush);
}

export function notBeforeExit(flush: () => void): void {
  if (waiting.delete(flush) && waiting.size === 0) process.off('beforeExit', tellAll);
}
