import type { CallCounts } from './messages.ts';
import { percent } from './words.ts';

/** One key's counts, as each side has them. */
export interface KeyEvidence {
  number: number;
  weight: number;
  /** Whether Gemini refused it, or a key of its project, for what it is or has used up. */
  blamed: boolean;
  /** Whether WatchHealth never told that it rested or lost weight. */
  stayedHealthy: boolean;
  /** Name of its KeyState at the end, by ListKeys and as the watcher last heard. */
  state: string;
  watchedState: string;
  /** By the server: what became of its leases. */
  acquired: number;
  succeeded: number;
  failed: number;
  unused: number;
  active: number;
  /** By Gemini: requests with the key that were answered well, and refused. */
  answered: number;
  refused: number;
}

/** What each part of the demo says of itself, after all has ended. */
export interface Evidence {
  keys: readonly KeyEvidence[];
  /** How many models were called: each has its own turns. */
  models: number;
  /** All calls of all backends. */
  backends: CallCounts;
  /** Names of the states that a key can be in. */
  states: readonly string[];
  /** Requests without a key of the demo, or without an answer. */
  strayRequests: number;
  /** The server's exit code after SIGTERM. */
  serverExit: number;
}

/** What `--json` prints. */
export interface Figures {
  /** calls = succeeded + failed. */
  calls: number;
  succeeded: number;
  failed: number;
  /** Tries beyond a call's first, each with another key. */
  retries: number;
  /** Leases that the server gave and nobody reported, whatever became of them. */
  lostReports: number;
  /** By weight: shares of the picks of keys that stayed healthy, 0 to 1. */
  shares: Record<string, Share>;
  /** Keys in each state at the end. */
  keysByState: Record<string, number>;
}

export interface Share {
  wanted: number;
  got: number;
}

/** A statement that was looked into. */
export interface Check {
  claim: string;
  /** What does not agree; empty: it holds. */
  problems: string[];
}

/**
 * Shares may be off by so much. By more only where picks are so few that one turn makes a difference: for each model a key of
 * any weight may be one turn ahead of what its weight gives, as all are after the first round.
 */
const SHARE_TOLERANCE = 0.02;
const MOST_PROBLEMS = 5;

export function figuresOf({ keys, backends, states }: Evidence): Figures {
  const { calls, succeeded, failed, retries } = backends;
  const keysByState = Object.fromEntries(states.map((state) => [state, 0]));
  for (const { state } of keys) keysByState[state] = (keysByState[state] ?? 0) + 1;
  const lostReports = sum(keys, (key) => key.acquired - key.succeeded - key.failed - key.unused);
  return { calls, succeeded, failed, retries, lostReports, shares: sharesOf(keys), keysByState };
}

/** What the demo claims, and whether all sides' counts bear it out. */
export function checksOf(evidence: Evidence): Check[] {
  const { keys, backends, strayRequests, serverExit } = evidence;
  const figures = figuresOf(evidence);
  const acquired = sum(keys, (key) => key.acquired);
  const each = (problem: (key: KeyEvidence) => string | undefined): string[] =>
    keys.flatMap((key) => {
      const text = problem(key);
      return text === undefined ? [] : [`key ${key.number}: ${text}`];
    });
  return [
    check('every lease was reported, none is left open', [
      ...differ('leases nobody reported', figures.lostReports, 0),
      ...each((key) => (key.active === 0 ? undefined : `${key.active} leases still open`)),
    ]),
    check('every call ended, in success or in a failure that its caller saw', [
      ...differ('calls', backends.calls, backends.succeeded + backends.failed),
      ...(backends.calls > 0 ? [] : ['no call was made']),
    ]),
    check('what reached Gemini is what the server counted, key by key', [
      ...each(({ succeeded, answered }) => differ('leases that succeeded', succeeded, answered)[0]),
      ...each(({ failed, refused }) => differ('leases that failed', failed, refused)[0]),
      ...differ('requests without a known key or without an answer', strayRequests, 0),
    ]),
    check('the backends tried as often as the server gave a lease', [
      ...differ('tries', backends.attempts, acquired),
      ...differ(
        'calls that succeeded',
        backends.succeeded,
        sum(keys, (key) => key.succeeded),
      ),
    ]),
    check(
      'the watcher ends with the state that the server has',
      each(({ state, watchedState }) =>
        state === watchedState ? undefined : `the watcher last heard ${watchedState}, and it is ${state}`,
      ),
    ),
    check(
      'a key rested if, and only if, Gemini had refused it or its project',
      each(({ blamed, stayedHealthy }) =>
        blamed !== stayedHealthy
          ? undefined
          : blamed
            ? 'never rested, though Gemini refused it'
            : 'rested, though Gemini never refused it',
      ),
    ),
    check('leases were given in proportion to weight', shareProblems(evidence, figures)),
    check('the server ended in good order', differ('its exit code', serverExit, 0)),
  ];
}

function shareProblems({ keys, models }: Evidence, { shares }: Figures): string[] {
  const healthy = keys.filter(({ stayedHealthy }) => stayedHealthy);
  const picks = sum(healthy, ({ acquired }) => acquired);
  return Object.entries(shares).flatMap(([weight, { wanted, got }]) => {
    const ahead = models * healthy.filter((key) => key.weight === Number(weight)).length;
    const othersAhead = wanted * models * healthy.length;
    if (Math.abs(wanted - got) <= Math.max(SHARE_TOLERANCE, ahead / picks, othersAhead / picks)) return [];
    return [`weight ${weight} got ${percent(got)} in place of ${percent(wanted)}`];
  });
}

function sharesOf(keys: readonly KeyEvidence[]): Record<string, Share> {
  const healthy = keys.filter(({ stayedHealthy }) => stayedHealthy);
  const weights = sum(healthy, ({ weight }) => weight);
  const picks = sum(healthy, ({ acquired }) => acquired);
  const shares: Record<string, Share> = {};
  for (const { weight, acquired } of healthy) {
    const { wanted, got } = shares[weight] ?? { wanted: 0, got: 0 };
    shares[weight] = { wanted: wanted + weight / weights, got: got + (picks === 0 ? 0 : acquired / picks) };
  }
  return Object.fromEntries(
    Object.entries(shares).map(([weight, { wanted, got }]) => [weight, { wanted: rounded(wanted), got: rounded(got) }]),
  );
}

function check(claim: string, problems: string[]): Check {
  const more = problems.length - MOST_PROBLEMS;
  return { claim, problems: more > 0 ? [...problems.slice(0, MOST_PROBLEMS), `and ${more} more`] : problems };
}

function differ(what: string, is: number, wanted: number): string[] {
  return is === wanted ? [] : [`${what}: ${is}, and not ${wanted}`];
}

function sum<T>(items: readonly T[], of: (item: T) => number): number {
  return items.reduce((total, item) => total + of(item), 0);
}

/** To four places, as adding up leaves dust behind. */
function rounded(share: number): number {
  return Math.round(share * 10_000) / 10_000;
}
