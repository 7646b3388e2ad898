const CAUSES: Record<string, string> = {
  KEY_INVALID: 'not valid',
  KEY_SUSPENDED: 'suspended or leaked',
  RATE_LIMITED_MINUTE: 'requests a minute used up',
  RATE_LIMITED_TOKENS: 'tokens a minute used up',
  QUOTA_EXHAUSTED_DAY: 'requests a day used up',
  OVERLOADED: 'the model was overloaded',
  NOT_FOUND: 'the call named a model that does not exist',
};

/** What the demo makes happen, in words; what it does not, by name. */
export function causeInWords(name: string): string {
  return CAUSES[name] ?? name;
}

/** Such as "6,031". */
export function figure(value: number): string {
  return value.toLocaleString('en');
}

/** Such as "1 key", "2 keys". */
export function amount(value: number, noun: string, plural = `${noun}s`): string {
  return `${figure(value)} ${value === 1 ? noun : plural}`;
}

/** Such as "44.4 %". */
export function percent(share: number): string {
  return `${(share * 100).toFixed(1)} %`;
}

/** Such as "4 s" or "8 h". */
export function time(ms: number): string {
  return ms > 3_600_000 ? `${Math.round(ms / 3_600_000)} h` : `${Math.max(1, Math.ceil(ms / 1000))} s`;
}
