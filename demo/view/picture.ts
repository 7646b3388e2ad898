import { PROJECTS } from '../keys.ts';
import { rateOf, type Scene, type SceneBackend, type SceneKey } from '../scene.ts';
import { amount, causeInWords, figure, time } from '../words.ts';
import { bar, curve, type Line, type Span, type Style, span } from './text.ts';

/** How a key looks: serves every model, rests for some, rests for all of those called, or was refused for itself. */
type Look = 'serves' | 'restsForSome' | 'rests' | 'refused';

const LOOKS: Record<Look, { sign: string; style: Style; words: string }> = {
  serves: { sign: '●', style: 'good', words: 'serves' },
  restsForSome: { sign: '◐', style: 'some', words: 'rests for a model' },
  rests: { sign: '○', style: 'rest', words: 'for all' },
  refused: { sign: '×', style: 'bad', words: 'key refused' },
};

const KEYS_A_ROW = 9;
const LABEL = 10;
const WEIGHTS = [2, 1, 0.5];
const BAR = 10;
const LEAST_EVENTS = 3;

/** The whole screen at this moment, `rows` lines at most. */
export function picture(scene: Scene, rows: number, now: number): Line[] {
  const above = [
    title(scene, now),
    [],
    [span('strong', 'KEYS      '), ...legend()],
    ...PROJECTS.flatMap((project) => projectRows(scene, project, now)),
    [],
    [
      span('strong', 'BACKENDS  '),
      span('dim', `${'model'.padEnd(22)}${columns('calls', 'a second', 'retries', 'failed')}`),
    ],
    ...scene.backends.map(backendRow),
    totalRow(scene),
    [],
    picksRow(scene),
    [],
    [span('strong', 'NEWS      '), span('dim', `${amount(scene.changes, 'change')} by WatchHealth`)],
  ];
  const room = Math.max(LEAST_EVENTS, rows - above.length);
  return [...above, ...scene.events.slice(-room).map((event) => eventRow(event, scene))].slice(0, rows);
}

function title({ phase, startedAt, seconds }: Scene, now: number): Line {
  const name = span('strong', 'KeyBalancer demo  ');
  if (startedAt === undefined) return [name, `${phase} ...`];
  const gone = Math.min(seconds, (now - startedAt) / 1000);
  const width = 20;
  const full = bar(gone / seconds, width);
  return [
    name,
    span('good', full),
    span('dim', '·'.repeat(width - full.length)),
    `  ${gone.toFixed(0)} of ${seconds} s`,
    span('dim', phase === 'running' ? '   Ctrl-C ends it' : `   ${phase} ...`),
  ];
}

function legend(): Line {
  return Object.values(LOOKS).flatMap(({ sign, style, words }) => [span(style, sign), span('dim', ` ${words}   `)]);
}

function projectRows(scene: Scene, project: string, now: number): Line[] {
  const keys = [...scene.keys.values()].filter((key) => key.project === project).sort((a, b) => a.number - b.number);
  const rows: Line[] = [];
  for (let at = 0; at < Math.max(1, keys.length); at += KEYS_A_ROW) {
    const shown = keys.slice(at, at + KEYS_A_ROW);
    const label = at > 0 ? '' : project === '' ? 'single' : project;
    const gap = ' '.repeat((KEYS_A_ROW - shown.length) * 4);
    const why = project === '' ? [] : [gap, ...reasonOf(shown[0], now)];
    rows.push([span('dim', label.padEnd(LABEL)), ...shown.flatMap((key) => cell(key, scene, now)), ...why]);
  }
  return rows;
}

function cell(key: SceneKey, scene: Scene, now: number): Span[] {
  const { sign, style } = LOOKS[lookOf(key, scene, now)];
  return [span(style, `${String(key.number).padStart(2, '0')}${sign}`), span('plain', ' ')];
}

function lookOf({ health }: SceneKey, scene: Scene, now: number): Look {
  if (health === undefined) return 'serves';
  if (health.state !== 'AVAILABLE') return 'refused';
  const resting = scene.models.filter((model) => health.rests.some((rest) => rest.model === model && rest.until > now));
  if (resting.length === 0) return 'serves';
  return resting.length === scene.models.length ? 'rests' : 'restsForSome';
}

/** Why a project rests, and until when. */
function reasonOf(key: SceneKey | undefined, now: number): Span[] {
  const rests = (key?.health?.rests ?? []).filter((rest) => rest.until > now);
  const first = rests[0];
  if (first === undefined) return [];
  const left = Math.min(...rests.map(({ until }) => until)) - now;
  return [span('dim', `${causeInWords(first.cause)}, ${time(left)}`)];
}

function backendRow(backend: SceneBackend): Line {
  const { part, counts } = backend;
  const { calls, retries, failed } = counts;
  return [
    part.name.padEnd(LABEL),
    span('dim', part.model.padEnd(22)),
    columns(figure(calls), figure(Math.round(rateOf(backend))), figure(retries), figure(failed)),
  ];
}

function totalRow(scene: Scene): Line {
  const total = (of: (backend: SceneBackend) => number): string =>
    figure(Math.round(scene.backends.reduce((sum, backend) => sum + of(backend), 0)));
  const figures = columns(
    total(({ counts }) => counts.calls),
    total(rateOf),
    total(({ counts }) => counts.retries),
    total(({ counts }) => counts.failed),
  );
  return [span('dim', 'together'.padEnd(LABEL)), span('good', curve(scene.sparks, 20).padEnd(22)), figures];
}

function picksRow(scene: Scene): Line {
  const picks = WEIGHTS.map((weight) => {
    const { keys, picks } = scene.picksOfWeight(weight);
    return keys === 0 ? 0 : picks / keys;
  });
  const most = Math.max(1, ...picks);
  return [
    span('strong', 'A KEY GOT '),
    ...WEIGHTS.flatMap((weight, at) => {
      const filled = bar((picks[at] ?? 0) / most, BAR);
      const tail = `${figure(Math.round(picks[at] ?? 0))}`.padEnd(5);
      return [span('dim', `weight ${weight} `), span('good', filled), ` ${tail} `];
    }),
  ];
}

function eventRow({ at, text }: Scene['events'][number], { startedAt, seconds }: Scene): Line {
  const since =
    startedAt === undefined || at < startedAt ? '' : `${Math.min(seconds, (at - startedAt) / 1000).toFixed(1)} s`;
  return [span('dim', since.padStart(8)), `  ${text}`];
}

function columns(...texts: string[]): string {
  return texts.map((text) => text.padStart(10)).join('');
}
