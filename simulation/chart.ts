/** One line of a chart: a value for each step of time. */
export interface Series {
  /** CSS class. */
  style: string;
  values: readonly number[];
}

export interface Chart {
  title: string;
  /** Place of the plotted area in the picture. */
  left: number;
  top: number;
  width: number;
  height: number;
  /** Values that get a line across, the largest last. */
  ticks: readonly number[];
  /** 0 to 1 for each value up to the largest tick. */
  scale: (value: number) => number;
  series: readonly Series[];
}

/** Room for large and small counts and for 0, which has no logarithm. */
export function logScale(largest: number): (value: number) => number {
  return (value) => Math.log10(1 + value) / Math.log10(1 + largest);
}

export function linearScale(largest: number): (value: number) => number {
  return (value) => value / largest;
}

/** Round numbers from 0 to the first that is not below `largest`. */
export function linearTicks(largest: number): number[] {
  const rough = Math.max(1, largest) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => each >= rough)!;
  return Array.from({ length: Math.ceil(largest / step) + 1 }, (_, index) => index * step);
}

/** 0, 10, 100 and so on to the first that is not below `largest`. */
export function logTicks(largest: number): number[] {
  const ticks = [0, 10];
  while (ticks.at(-1)! < largest) ticks.push(ticks.at(-1)! * 10);
  return ticks;
}

/** Title, values along the left, and the lines, each value over the whole of its step. */
export function drawChart(chart: Chart): string {
  const { title, left, top, width, height, ticks, scale, series } = chart;
  const y = (value: number): number => round(top + height - scale(value) * height);
  const grid = ticks.map(
    (tick) =>
      `<path class="grid" d="M${left} ${y(tick)}h${width}"/>` +
      `<text class="tick" x="${left - 8}" y="${y(tick) + 4}" text-anchor="end">${tick.toLocaleString('en-US')}</text>`,
  );
  const lines = series.map(({ style, values }) => {
    const step = width / values.length;
    const points = values.map((value, index) => `${round(left + (index + 0.5) * step)} ${y(value)}`);
    return `<path class="series ${style}" d="M${points.join('L')}"/>`;
  });
  return [`<text class="name" x="${left}" y="${top - 14}">${title}</text>`, ...grid, ...lines].join('\n    ');
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
