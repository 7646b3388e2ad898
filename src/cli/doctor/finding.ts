/** One thing that was looked at. */
export interface Finding {
  /** What was looked at: "server", "permissions". */
  check: string;
  verdict: 'ok' | 'warning' | 'problem';
  /** A sentence, never with a secret. */
  found: string;
  /** What to do about it; undefined: nothing. */
  advice?: string;
}

/** What was found in one place. */
export interface Examined {
  findings: Finding[];
  /** There is a server or a data dir to speak of. */
  reached: boolean;
}

export function ok(check: string, found: string): Finding {
  return { check, verdict: 'ok', found };
}

export function warning(check: string, found: string, advice: string): Finding {
  return { check, verdict: 'warning', found, advice };
}

export function problem(check: string, found: string, advice: string): Finding {
  return { check, verdict: 'problem', found, advice };
}
