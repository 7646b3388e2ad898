import type { Account } from './account.ts';
import type { Scene } from './scene.ts';
import { type Check, checksOf, type Figures, figuresOf } from './verdict.ts';
import { bar, type Line, span } from './view/text.ts';
import { amount, causeInWords, figure, percent } from './words.ts';

const STATE_WORDS: Record<string, string> = { DISABLED_AUTO: 'disabled', DISABLED_ADMIN: 'turned off' };

const BAR = 16;

/** What was shown, what failed and why, and whether everything agrees: for people. */
export function summaryOf(scene: Scene, account: Account, seconds: number): Line[] {
  const figures = figuresOf(account);
  return [
    headline(figures, account),
    ...whatRan(scene, account, seconds),
    ...whatFailed(figures, account),
    ...whoGotHowMuch(figures, account),
    ...keysAtTheEnd(figures, scene),
    ...whatAgrees(checksOf(account)),
  ];
}

function headline({ calls, succeeded, lostReports }: Figures, { keys }: Account): Line {
  const text = `${amount(calls, 'call')} of Gemini with ${keys.length} keys: ${figure(succeeded)} succeeded, ${figure(lostReports)} reports lost`;
  return [span('strong', text)];
}

function whatRan({ backends, changes }: Scene, { backends: { attempts } }: Account, seconds: number): Line[] {
  const each = backends.map(({ part, counts }) => `${part.name} ${figure(counts.calls)}`).join(', ');
  return [
    ...heading('What ran'),
    ['  a KeyBalancer server, all it knows in SQLite, and a fake Gemini'],
    [`  ${backends.length} backends, each a process: ${each} calls`],
    [`  ${figure(attempts)} leases: a key for each try, given by turns and reported after it`],
    [`  a watcher, which heard of ${amount(changes, 'change')} of keys by WatchHealth`],
    [`  ${seconds.toFixed(1)} s in all; every process has ended, and no file of it is left`],
  ];
}

function whatFailed({ failed, retries }: Figures, { backends, failuresByClass, keys }: Account): Line[] {
  // Each failed try was the last of a failed call, or was followed by another.
  const retried = Object.entries(failuresByClass).map(([name, count]): [string, number] => [
    name,
    count - (backends.failures[name] ?? 0),
  ]);
  const resting = keys.filter(({ blamed }) => blamed).length;
  return [
    ...heading('What failed'),
    [
      `  ${amount(failed, 'call')} failed, as seen by the caller${failed === 0 ? '' : '; some are meant to, as no key could help'}`,
    ],
    ...reasons(Object.entries(backends.failures)),
    [`  ${amount(retries, 'retry', 'retries')} with another key, unseen by the caller`],
    ...reasons(retried),
    [`  ${amount(resting, 'key')} refused, or with limits used up, rested while the others went on`],
  ];
}

function reasons(counts: [string, number][]): Line[] {
  return counts
    .filter(([, count]) => count > 0)
    .sort(([, a], [, b]) => b - a)
    .map(([name, count]) => [`  ${figure(count).padStart(8)}  `, causeInWords(name), span('dim', `  ${name}`)]);
}

function whoGotHowMuch({ shares }: Figures, { keys }: Account): Line[] {
  const healthy = keys.filter(({ stayedHealthy }) => stayedHealthy);
  const weights = Object.keys(shares).sort((a, b) => Number(b) - Number(a));
  const rows = weights.map((weight) => {
    const of = healthy.filter((key) => key.weight === Number(weight));
    const picks = of.reduce((sum, key) => sum + key.acquired, 0);
    return { weight, keys: of.length, each: picks / of.length, ...shares[weight]! };
  });
  const most = Math.max(1, ...rows.map(({ each }) => each));
  return [
    ...heading(`Leases by weight, of the ${healthy.length} keys that stayed healthy`),
    ...rows.map(
      ({ weight, keys, each, wanted, got }): Line => [
        `  weight ${weight.padEnd(4)}`,
        span('good', bar(each / most, BAR).padEnd(BAR)),
        ` ${figure(Math.round(each)).padStart(5)} a key; ${String(keys).padStart(2)} keys: ${percent(got)}, wanted ${percent(wanted)}`,
      ],
    ),
  ];
}

function keysAtTheEnd({ keysByState }: Figures, { keys, models }: Scene): Line[] {
  const now = Date.now();
  const partly = [...keys.values()].filter(
    ({ health }) =>
      health?.state === 'AVAILABLE' &&
      models.some((model) => health.rests.some((rest) => rest.model === model && rest.until > now)),
  ).length;
  const states = Object.entries(keysByState)
    .filter(([, count]) => count > 0)
    .map(([state, count]) => {
      const limited = state === 'AVAILABLE' && partly > 0 ? ` (${partly} not for every model now)` : '';
      return `${count} ${STATE_WORDS[state] ?? state.toLowerCase()}${limited}`;
    });
  return [...heading('Keys at the end'), [`  ${states.join(', ')}`]];
}

function whatAgrees(checks: readonly Check[]): Line[] {
  return [
    ...heading('Checked'),
    ...checks.flatMap(({ claim, problems }): Line[] => [
      problems.length === 0 ? [span('good', '  yes '), claim] : [span('bad', '  NO  '), claim],
      ...problems.map((problem): Line => [span('bad', `        ${problem}`)]),
    ]),
  ];
}

function heading(text: string): Line[] {
  return [[], [span('strong', text)]];
}
