import type { Noticed } from './event.ts';

/** The same, behind a gap that says so where some of it stands for changes that are not told one by one. */
export function withMergedGap(noticed: readonly Noticed[], found: (changes: number) => void): readonly Noticed[] {
  const changes = noticed.reduce((sum, each) => sum + mergedInto(each), 0);
  if (changes === 0) return noticed;
  found(changes);
  return [{ told: { gap: { reason: 'merged', time: Date.now(), changes } }, resumeToken: '' }, ...noticed];
}

function mergedInto({ told }: Noticed): number {
  if (told === undefined || 'gap' in told || told.health.event.case !== 'change') return 0;
  return Number(told.health.event.value.merged);
}
