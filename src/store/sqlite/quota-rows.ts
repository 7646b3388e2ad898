import type { Changes } from '../../engine/changes.ts';
import type { Engine } from '../../engine/engine.ts';
import type { Project } from '../../engine/key.ts';
import { isEmpty, type Limits } from '../../engine/quota/limits.ts';
import type { Moment } from '../../engine/quota/moment.ts';
import type { QuotaRow, Rows } from './journal.ts';
import { ownerOf } from './judged-rows.ts';

/** Quotas as rows: limits that were set, and what was used and learned. What no longer is in force has to be deleted. */
export class QuotaRows {
  readonly #engine: Engine;
  /** Projects and models that may have stored rows. */
  readonly #stored = new Map<Project, Set<string>>();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  know(project: Project, model: string): void {
    const models = this.#stored.get(project);
    if (models === undefined) this.#stored.set(project, new Set([model]));
    else models.add(model);
  }

  add(changes: Changes, rows: Rows, at: Moment): void {
    rows.quotas = [];
    rows.meters = [];
    rows.endedQuotas = [];
    rows.endedMeters = [];
    for (const project of changes.defaults) this.#limits(project, '', project.defaults, rows);
    for (const gate of changes.gates) {
      const { project, model, meter } = gate;
      const isInForce = project.gates?.get(model) === gate && this.#isLiving(project);
      this.#limits(project, model, isInForce ? meter.setLimits : {}, rows);
      if (isInForce && meter.isLimited) {
        rows.meters.push({ ...ownerOf(project), model, ...meter.snapshot(at) });
        this.know(project, model);
      } else if (this.#stored.get(project)?.has(model)) {
        rows.endedMeters.push({ ...ownerOf(project), model });
      }
    }
  }

  #limits(project: Project, model: string, limits: Limits, rows: Rows): void {
    if (!isEmpty(limits) && this.#isLiving(project)) {
      rows.quotas!.push(quotaRow(project, model, limits));
      this.know(project, model);
    } else if (this.#stored.get(project)?.has(model)) {
      rows.endedQuotas!.push({ ...ownerOf(project), model });
    }
  }

  #isLiving(project: Project): boolean {
    if (project.name !== '') return this.#engine.projects.get(project.name) === project;
    const [only] = project.keys;
    return only?.project === project;
  }
}

export function quotaRow(project: Project, model: string, limits: Limits): QuotaRow {
  return {
    ...ownerOf(project),
    model,
    requestsPerMinute: limits.requestsPerMinute ?? null,
    inputTokensPerMinute: limits.inputTokensPerMinute ?? null,
    requestsPerDay: limits.requestsPerDay ?? null,
    tokensPerDay: limits.tokensPerDay ?? null,
  };
}

export function limitsOf(row: QuotaRow): Limits {
  return {
    ...(row.requestsPerMinute !== null && { requestsPerMinute: row.requestsPerMinute }),
    ...(row.inputTokensPerMinute !== null && { inputTokensPerMinute: row.inputTokensPerMinute }),
    ...(row.requestsPerDay !== null && { requestsPerDay: row.requestsPerDay }),
    ...(row.tokensPerDay !== null && { tokensPerDay: row.tokensPerDay }),
  };
}
