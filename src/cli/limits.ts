import type { LimitName } from '../gemini/finding.ts';

/** Each limit as the API and as the command line call it, and in words. */
export const LIMITS: readonly { name: LimitName; flag: string; words: string }[] = [
  { name: 'requestsPerMinute', flag: '--requests-per-minute', words: 'requests a minute' },
  { name: 'inputTokensPerMinute', flag: '--input-tokens-per-minute', words: 'input tokens a minute' },
  { name: 'requestsPerDay', flag: '--requests-per-day', words: 'requests a day' },
  { name: 'tokensPerDay', flag: '--tokens-per-day', words: 'tokens a day' },
];

/** Such as "10 requests a minute". */
export function limitInWords(name: LimitName, value: number | bigint): string {
  const words = LIMITS.find((limit) => limit.name === name)?.words ?? name;
  return `${value} ${words}`;
}
