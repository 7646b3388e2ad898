const NAME = '[a-zA-Z_:][a-zA-Z0-9_:]*';
const LABEL = /([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\[\\"n])*)"(?:,|$)/y;
const HELP = new RegExp(`^# HELP (${NAME}) (.+)$`);
const TYPE = new RegExp(`^# TYPE (${NAME}) (counter|gauge|histogram|summary|untyped)$`);
const SAMPLE = new RegExp(`^(${NAME})(?:\\{(.+)\\})? (NaN|[+-]Inf|-?\\d+(?:\\.\\d+)?(?:e[+-]?\\d+)?)$`);

export interface Scrape {
  text: string;
  families: Map<string, { help: string; type: string }>;
  has: (name: string, labels?: Record<string, string>) => boolean;
  value: (name: string, labels?: Record<string, string>) => number;
}

/**
 * Reads Prometheus' text format, version 0.0.4, and throws at anything that is not as its definition says: every
 * sample belongs to the family above it, families come once with help and type, and no series comes twice.
 */
export function parsePrometheus(text: string): Scrape {
  const families: Scrape['families'] = new Map();
  const samples = new Map<string, number>();
  let family = '';
  let help = '';
  if (!text.endsWith('\n')) throw new Error('the last line does not end');
  for (const line of text.slice(0, -1).split('\n')) {
    const helped = HELP.exec(line);
    if (helped !== null) {
      [, family = '', help = ''] = helped;
      if (families.has(family)) throw new Error(`${family} comes twice`);
      continue;
    }
    const typed = TYPE.exec(line);
    if (typed !== null) {
      if (typed[1] !== family) throw new Error(`type without help: ${line}`);
      families.set(family, { help, type: typed[2]! });
      continue;
    }
    const sample = SAMPLE.exec(line);
    if (sample === null) throw new Error(`not a line of the format: ${JSON.stringify(line)}`);
    const [, name = '', labels = '', value = ''] = sample;
    if (name !== family || !families.has(name)) throw new Error(`a sample outside its family: ${line}`);
    const id = seriesId(name, parseLabels(labels));
    if (samples.has(id)) throw new Error(`a series that comes twice: ${line}`);
    samples.set(id, value.endsWith('Inf') ? Infinity * (value.startsWith('-') ? -1 : 1) : Number(value));
  }
  return {
    text,
    families,
    has: (name, labels = {}) => samples.has(seriesId(name, labels)),
    value: (name, labels = {}) => {
      const found = samples.get(seriesId(name, labels));
      if (found === undefined) throw new Error(`no series ${seriesId(name, labels)} in\n${text}`);
      return found;
    },
  };
}

function parseLabels(text: string): Record<string, string> {
  const labels: Record<string, string> = {};
  LABEL.lastIndex = 0;
  while (LABEL.lastIndex < text.length) {
    const found = LABEL.exec(text);
    if (found === null) throw new Error(`not labels: {${text}}`);
    const [, name = '', value = ''] = found;
    if (name in labels) throw new Error(`a label that comes twice: {${text}}`);
    labels[name] = value.replace(/\\(.)/g, (_all, escaped: string) => (escaped === 'n' ? '\n' : escaped));
  }
  return labels;
}

function seriesId(name: string, labels: Record<string, string>): string {
  return name + JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)));
}
