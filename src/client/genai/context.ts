import type { Balancer } from '../balancer.ts';
import type { ClientEvent } from '../events.ts';
import type { Reports } from '../reports.ts';
import type { ResourceOrigins } from './resource-origins.ts';

/** A share of requests that may be tried again, so that an outage does not multiply the load. */
export interface RetryBudget {
  /** Whether another try may be made now; if so, it is paid for. */
  spend(): boolean;
  /** A request ended well, which earns a part of a retry. */
  earn(): void;
}

/** How requests are leased and tried again. Times in milliseconds. */
export interface LeaseSettings {
  /** "": the default one. */
  pool: string;
  /** Tries of one request after the first, less those that follow a failure of a key's own. */
  maxRetries: number;
  /** Least pause where waiting helps. */
  retryDelay: number;
  /** All waiting for a free key, in one request; undefined: maxRetries x retryDelay. */
  maxWait: number | undefined;
  /**
   * Requests of the same are made with the same key while it is free and well; chats have one each. For those who make files, stores and
   * caches apart that shall be in one project. Default: none, so that the load is spread.
   */
  affinityKey?: string | undefined;
  /** Projects in which a file or another resource of unknown origin is looked for, the first included. Default 8. */
  maxProjects?: number | undefined;
}

/** What a leased client stands on. */
export interface GenAIContext {
  /** The balancer, connected when it is first needed; rejects when the client is closed. */
  connected(): Promise<{ balancer: Balancer; reports: Reports }>;
  /** Told of each request as it begins, until the headers of its answer: whoever closes waits for it. Never throws. */
  running?(request: Promise<unknown>): void;
  settings: LeaseSettings;
  origins: ResourceOrigins;
  /** What it throws is dropped. */
  notify(event: ClientEvent): void;
  spend?: RetryBudget;
}
