import { ErrorClass, KeyState } from '../../gen/keybalancer/v1/keybalancer_pb.ts';
import { endInWords } from '../end-in-words.ts';
import { printable } from '../output.ts';
import type { RestingGroup } from '../resting.ts';
import { causeInWords, count, duration, localTime, milliseconds, stateInWords } from '../words.ts';
import type { Feed } from './feed.ts';
import type { MonitoredPool, MonitorState } from './monitor-state.ts';

/** Room for "2 h 59 min to 3 h". */
const LEFT = 18;

/** A line in one style. */
export interface Line {
  text: string;
  style?: 'bold' | 'dim' | 'red' | 'green' | 'yellow';
}

interface Cell {
  title: string;
  value: (pool: MonitoredPool) => string;
}

const rate = (value: number | undefined): string => (value === undefined ? '-' : String(Number(value.toPrecision(3))));

/** The first are the last to be left out where the terminal is narrow. */
const CELLS: readonly Cell[] = [
  { title: 'POOL', value: ({ stats }) => stats.pool },
  { title: 'KEYS', value: ({ stats }) => String(stats.totalKeys) },
  { title: 'AVAIL', value: ({ stats }) => String(stats.availableKeys) },
  { title: 'COOL', value: ({ stats }) => String(stats.coolingKeys) },
  { title: 'LEASE/S', value: ({ rates }) => rate(rates?.acquires) },
  { title: 'FAIL/S', value: ({ rates }) => rate(rates?.failures) },
  { title: 'QUAR', value: ({ stats }) => String(stats.quarantinedKeys) },
  { title: 'DISABLED', value: ({ stats }) => String(stats.disabledKeys) },
  { title: 'LEASES', value: ({ stats }) => String(stats.activeLeases) },
  { title: 'WAITING', value: ({ stats }) => String(stats.waitingAcquires) },
  { title: 'OK/S', value: ({ rates }) => rate(rates?.successes) },
  { title: 'REFUSED/S', value: ({ rates }) => rate(rates?.rejections) },
  { title: 'GEMINI P50', value: ({ stats }) => duration(stats.providerLatency?.p50) },
];

/** A screen of `rows` lines of at most `columns` characters, whatever that is. */
export function frame(
  state: MonitorState,
  { where, feed, now }: { where: string; feed: Feed; now: number },
  { rows, columns }: { rows: number; columns: number },
): Line[] {
  const lines = [heading(state, where, now), ...trouble(state, feed, now)];
  const room = (): number => rows - lines.length - 1;
  const pools = table(state.pools, columns);
  const [head, ...body] = pools;
  if (head !== undefined) lines.push({ text: head, style: 'bold' });
  lines.push(
    ...fitting(
      body.map((text) => ({ text })),
      Math.max(1, Math.floor(room() * 0.5)),
      'pool',
    ),
  );
  const resting = state.resting().map((group): Line => {
    const text = `${timeLeft(group, now).padEnd(LEFT)}  ${group.pool}: ${restInWords(group, now)}`;
    return { text, style: group.state === KeyState.AVAILABLE || group.state === KeyState.COOLING ? 'yellow' : 'red' };
  });
  if (room() > 2 && resting.length > 0) {
    lines.push({ text: '' }, { text: 'RESTING', style: 'bold' });
    lines.push(...fitting(resting, Math.max(1, Math.floor(room() * (state.events.length > 0 ? 0.6 : 1))), 'group'));
  }
  if (room() > 2 && state.events.length > 0) {
    lines.push({ text: '' }, { text: 'EVENTS', style: 'bold' });
    const newest = state.events.slice(-room()).reverse();
    lines.push(
      ...newest.map(({ time, text, mood }): Line => {
        const style = mood === 'bad' ? 'red' : mood === 'good' ? 'green' : 'dim';
        return { text: `${localTime(time, now)}  ${text}`, style };
      }),
    );
  }
  const cut = lines
    .slice(0, rows - 1)
    .map(({ text, ...rest }) => ({ text: printable(text).slice(0, columns), ...rest }));
  while (cut.length < rows - 1) cut.push({ text: '' });
  return [...cut, { text: 'q or Ctrl-C ends'.slice(0, columns), style: 'dim' }];
}

/** Such as "59 s to 1 min 5 s"; "-" for what no time ends. */
function timeLeft({ firstBack, lastBack }: RestingGroup, now: number): string {
  if (firstBack === undefined || lastBack === undefined) return '-';
  const [first, last] = [firstBack, lastBack].map((ms) => milliseconds(Math.max(1_000, ms - now)));
  return first === last ? last! : `${first} to ${last}`;
}

/** Such as "5 keys for gemini-2.5-flash, too many requests a minute". */
function restInWords(group: RestingGroup, now: number): string {
  const { keys, state, model, cause } = group;
  const parts = [`${count(keys, 'key')}${model === '' ? '' : ` for ${model}`}`];
  if (state !== KeyState.AVAILABLE && state !== KeyState.COOLING) parts.push(stateInWords(state));
  if (cause !== ErrorClass.UNSPECIFIED) parts.push(causeInWords(cause));
  if (state === KeyState.QUARANTINED) parts.push(endInWords(group, now));
  return parts.join(', ');
}

function heading({ version, startTime }: MonitorState, where: string, now: number): Line {
  const up = startTime === undefined ? '' : `, up ${milliseconds(Math.max(1000, now - startTime))}`;
  return { text: `KeyBalancer ${version} at ${where}${up}, ${localTime(now, now)}`, style: 'bold' };
}

function trouble({ exhausted }: MonitorState, { lostSince, trouble: why }: Feed, now: number): Line[] {
  const lines: Line[] = [];
  if (lostSince !== undefined) {
    const since = milliseconds(Math.max(1000, now - lostSince));
    lines.push({ text: `NOT REACHED for ${since}, trying again: ${why}`, style: 'red' });
  }
  for (const [pool, since] of exhausted) {
    const long = milliseconds(Math.max(1000, now - since));
    lines.push({ text: `EXHAUSTED: pool ${pool}, for ${long}`, style: 'red' });
  }
  return lines.length > 3 ? [...lines.slice(0, 2), { text: `and ${lines.length - 2} more`, style: 'red' }] : lines;
}

/** As many columns as there is room for, each as wide as it must be. */
function table(pools: readonly MonitoredPool[], columns: number): string[] {
  const all = CELLS.map(({ title, value }) => [title, ...pools.map(value)].map(printable));
  const widths = all.map((texts) => Math.max(...texts.map(({ length }) => length)));
  let shown = 0;
  for (let wide = -2; shown < all.length; shown++) {
    wide += 2 + widths[shown]!;
    if (wide > columns) break;
  }
  const lines = pools.length + 1;
  return Array.from({ length: lines }, (_, line) =>
    all
      .slice(0, Math.max(1, shown))
      .map((texts, i) => (i === 0 ? texts[line]!.padEnd(widths[i]!) : texts[line]!.padStart(widths[i]!)))
      .join('  '),
  );
}

/** The first of the lines, and how many there are beside them. */
function fitting(lines: readonly Line[], most: number, noun: string): Line[] {
  if (lines.length <= most) return [...lines];
  return [...lines.slice(0, most - 1), { text: `and ${count(lines.length - most + 1, `more ${noun}`)}`, style: 'dim' }];
}
