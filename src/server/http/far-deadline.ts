/** Longest time that a timer of Node can wait, some 24 days; one for longer fires at once. */
const LONGEST_TIMER_MS = 2 ** 31 - 1;

const GRPC_UNIT_MS: Record<string, number> = { H: 3_600_000, M: 60_000, S: 1000 };

/** Takes a deadline that is farther than a timer can wait for out of the headers: Connect would end the call at once. */
export function dropFarDeadline(headers: Headers): void {
  if (Number(headers.get('connect-timeout-ms')) > LONGEST_TIMER_MS) headers.delete('connect-timeout-ms');
  const [, digits, unit] = /^(\d+)([HMS])$/.exec(headers.get('grpc-timeout') ?? '') ?? [];
  if (Number(digits) * GRPC_UNIT_MS[unit ?? '']! > LONGEST_TIMER_MS) headers.delete('grpc-timeout');
}
