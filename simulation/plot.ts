import type { Report } from './account.ts';
import { drawChart, linearScale, linearTicks, logScale, logTicks } from './chart.ts';
import { HOUR_MS, KEYS, MODELS, PROJECTS, type World } from './world.ts';

const WIDTH = 920;
const HEIGHT = 620;
const LEFT = 80;
const INNER = WIDTH - LEFT - 24;
const UPPER = { left: LEFT, top: 130, width: INNER, height: 190 };
const LOWER = { left: LEFT, top: 380, width: INNER, height: 170 };
const BOTTOM = LOWER.top + LOWER.height;
const HOURS_BETWEEN_TICKS = 3;

const STYLE = `
    .page { fill: #ffffff; }
    .title { fill: #1f2328; font-size: 18px; font-weight: 600; }
    .name { fill: #1f2328; font-weight: 600; }
    .text { fill: #1f2328; }
    .tick, .note { fill: #59636e; font-size: 12px; }
    .grid { stroke: #d1d9e0; fill: none; }
    .mark { stroke: #59636e; stroke-dasharray: 4 4; fill: none; }
    .band { fill: #818b98; opacity: 0.18; }
    .series { fill: none; stroke-width: 1.6; stroke-linejoin: round; }
    .style-0 { stroke: #818b98; stroke-width: 4; }
    .style-1 { stroke: #bc4c00; }
    .style-2 { stroke: #0969da; }
    @media (prefers-color-scheme: dark) {
      .page { fill: #0d1117; }
      .title, .name, .text { fill: #f0f6fc; }
      .tick, .note { fill: #9198a1; }
      .grid { stroke: #3d444d; }
      .mark { stroke: #9198a1; }
      .style-0 { stroke: #656c76; }
      .style-1 { stroke: #f0883e; }
      .style-2 { stroke: #4493f8; }
    }`;

/** The day as SVG: calls answered above, 429s below. The first report is the oracle's, which lies under the others. */
export function plotOf(world: World, reports: readonly Report[]): string {
  const answered = linearTicks(largestOf(reports.map(({ answeredByTime }) => answeredByTime)));
  const tooMany = logTicks(largestOf(reports.map(({ tooManyByTime }) => tooManyByTime)));
  const upper = drawChart({
    ...UPPER,
    title: 'Calls answered, each ten minutes by their arrival',
    ticks: answered,
    scale: linearScale(answered.at(-1)!),
    series: reports.map(({ answeredByTime }, index) => ({ style: `style-${index}`, values: answeredByTime })),
  });
  const lower = drawChart({
    ...LOWER,
    title: '429s, each ten minutes (logarithmic)',
    ticks: tooMany,
    scale: logScale(tooMany.at(-1)!),
    series: reports.map(({ tooManyByTime }, index) => ({ style: `style-${index}`, values: tooManyByTime })),
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-labelledby="title desc" font-family="system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif" font-size="13">
  <title id="title">A simulated day</title>
  <desc id="desc">Calls answered and 429s of each ten minutes, by scheduler. ${reports.map(summary).join(' ')}</desc>
  <style>${STYLE}
  </style>
  <rect class="page" width="${WIDTH}" height="${HEIGHT}" rx="10"/>
  <text class="title" x="20" y="36">A simulated day: ${KEYS} keys in ${PROJECTS} projects, ${MODELS} models</text>
  <g>
    ${legend(reports)}
  </g>
  <g>
    ${marks(world)}
  </g>
  <g>
    ${upper}
  </g>
  <g>
    ${lower}
  </g>
  <g text-anchor="middle">
    ${hours(world)}
  </g>
</svg>
`;
}

function summary({ name, answered, tooMany }: Report): string {
  return `${name}: ${answered.toLocaleString('en-US')} calls answered, ${tooMany.toLocaleString('en-US')} 429s.`;
}

function legend(reports: readonly Report[]): string {
  const column = (WIDTH - 40) / reports.length;
  return reports
    .map((report, index) => {
      const x = Math.round(20 + index * column);
      return (
        `<path class="series style-${index}" d="M${x} 62h22"/><text class="name" x="${x + 30}" y="66">${report.name}</text>` +
        `<text class="note" x="${x + 30}" y="84">${report.answered.toLocaleString('en-US')} answered, ` +
        `${report.tooMany.toLocaleString('en-US')} 429s</text>`
      );
    })
    .join('\n    ');
}

/** What befell Gemini, across both charts. */
function marks(world: World): string {
  const { overload, midnight } = world;
  const from = placeOf(world, overload.from);
  const until = placeOf(world, overload.until);
  const height = BOTTOM - UPPER.top;
  return [
    `<rect class="band" x="${from}" y="${UPPER.top}" width="${until - from}" height="${height}"/>`,
    `<path class="mark" d="M${placeOf(world, midnight)} ${UPPER.top}v${height}"/>`,
    `<text class="note" x="20" y="${HEIGHT - 14}">Grey: one model is overloaded. Dashed: midnight in Los Angeles, quotas of a day start anew.</text>`,
  ].join('\n    ');
}

function hours(world: World): string {
  const clock = new Intl.DateTimeFormat('en-GB', {
    timeZone: 'America/Los_Angeles',
    hour: '2-digit',
    minute: '2-digit',
  });
  const ticks: string[] = [];
  for (let time = world.start; time <= world.end; time += HOURS_BETWEEN_TICKS * HOUR_MS) {
    ticks.push(`<text class="tick" x="${placeOf(world, time)}" y="${BOTTOM + 20}">${clock.format(time)}</text>`);
  }
  return ticks.join('\n    ');
}

function placeOf(world: World, time: number): number {
  return Math.round(LEFT + ((time - world.start) / (world.end - world.start)) * INNER);
}

function largestOf(series: readonly (readonly number[])[]): number {
  return Math.max(...series.map((values) => Math.max(...values)));
}
