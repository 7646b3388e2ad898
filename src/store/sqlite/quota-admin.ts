import { serveWaiting } from '../../engine/acquire.ts';
import { claimGate, setDefaults, setLimits } from '../../engine/gates.ts';
import { type Key, keyId, ordinalOf, type Project } from '../../engine/key.ts';
import { isEmpty, isRemembered, LIMIT_NAMES, type Limits } from '../../engine/quota/limits.ts';
import { Meter } from '../../engine/quota/meter.ts';
import type { LimitView, Page, QuotaOrder, QuotaView } from '../store.ts';
import type { AdminContext } from './admin-context.ts';
import { ownerOf } from './judged-rows.ts';
import { quotaRow } from './quota-rows.ts';

/** Between project and model in the place of a page; no name has it. */
const SEPARATOR = '\n';

/** Limits of (project, model) as administrators see and set them. A key of unknown project goes by its key id. */
export class QuotaAdmin {
  readonly #context: AdminContext;

  constructor(context: AdminContext) {
    this.#context = context;
  }

  list({ project, after, limit }: { project: string; after: string; limit: number }): Page<QuotaView> {
    const { engine, clock } = this.#context;
    const at = engine.moment(clock.now());
    const found: [place: string, Project, string][] = [];
    for (const each of project === '' ? this.#all() : [this.#find(project)]) {
      if (each === undefined) continue;
      const name = nameOf(each);
      const add = (model: string): void => {
        const place = `${name}${SEPARATOR}${model}`;
        if (place > after) found.push([place, each, model]);
      };
      if (!isEmpty(each.defaults)) add('');
      for (const { model, meter } of each.gates?.values() ?? []) {
        const isLearned = LIMIT_NAMES.some((name) => isRemembered(meter.learned[name], at));
        if (isLearned || !isEmpty(meter.setLimits)) add(model);
      }
    }
    found.sort(([a], [b]) => (a < b ? -1 : 1));
    const items = found.slice(0, limit).map(([, each, model]) => this.#view(each, model));
    return { items, next: found.length > limit ? found[limit - 1]![0] : '' };
  }

  async set({ project: name, model, limits }: QuotaOrder): Promise<QuotaView> {
    const { engine, committer, clock } = this.#context;
    let project!: Project;
    await committer.exclusive({
      plan: () => {
        project = this.#find(name) ?? engine.project(name);
        // What is stored must be there afterwards.
        claimGate(engine, project, model);
        const set = { ...this.#limits(project, model), ...limits };
        return {
          rows: { quotas: [quotaRow(project, model, set)] },
          apply: () => this.#apply(project, model, set, clock.now()),
        };
      },
      refused: () => engine.tidyProject(project),
    });
    return this.#view(project, model);
  }

  async delete({ project: name, model }: { project: string; model: string }): Promise<void> {
    const { engine, committer, clock } = this.#context;
    await committer.exclusive({
      plan: () => {
        const project = this.#find(name);
        if (project === undefined) return { rows: {}, apply: () => {} };
        const row = { ...ownerOf(project), model };
        return {
          rows: { endedQuotas: [row], endedMeters: [row] },
          apply: () => {
            const gate = project.gates?.get(model);
            if (gate === undefined && model !== '') return;
            gate?.meter.restoreLessons({});
            this.#apply(project, model, {}, clock.now());
            engine.tidyProject(project);
          },
        };
      },
    });
  }

  #apply(project: Project, model: string, limits: Limits, now: number): void {
    const { engine } = this.#context;
    if (model === '') setDefaults(engine, project, limits, now);
    else setLimits(engine, project, model, limits, now);
    for (const pool of new Set(project.places.map((place) => place.pool))) serveWaiting(engine, pool, now);
  }

  #limits(project: Project, model: string): Limits {
    return model === '' ? project.defaults : (project.gates?.get(model)?.meter.setLimits ?? {});
  }

  #find(name: string): Project | undefined {
    const { engine } = this.#context;
    const known = engine.projects.get(name);
    if (known !== undefined) return known;
    const key = engine.keys.get(ordinalOf(name) ?? -1);
    return key !== undefined && keyId(key.ordinal) === name && key.project.name === '' ? key.project : undefined;
  }

  *#all(): Generator<Project> {
    const { engine } = this.#context;
    yield* engine.projects.values();
    for (const { project } of engine.keys.values()) {
      if (project.name === '' && (project.gates !== undefined || !isEmpty(project.defaults))) yield project;
    }
  }

  #view(project: Project, model: string): QuotaView {
    const { engine, clock } = this.#context;
    const at = engine.moment(clock.now());
    const meter = project.gates?.get(model)?.meter ?? new Meter(model);
    const limits: QuotaView['limits'] = {};
    for (const name of LIMIT_NAMES) {
      const value = model === '' ? project.defaults[name] : undefined;
      const limit = value === undefined ? meter.limit(name, at) : { value, origin: 'set' as const };
      if (limit === undefined) continue;
      const used = model === '' ? 0 : meter.used(name, at);
      const resetTime = used > 0 ? meter.resetTime(name, at) + at.wallOffset : undefined;
      limits[name] = { ...limit, used, resetTime } satisfies LimitView;
    }
    return { project: nameOf(project), model, limits };
  }
}

function nameOf(project: Project): string {
  if (project.name !== '') return project.name;
  const [only] = project.keys as Set<Key>;
  return keyId(only!.ordinal);
}
