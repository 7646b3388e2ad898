import type { ErrorClass, TransportFailure } from '../gen/keybalancer/v1/keybalancer_pb.ts';
import type { Evidence } from './evidence.ts';
import type { Finding, Scope } from './finding.ts';
import type { BrokenLimit } from './quota-limit.ts';

/** One way in which Gemini fails. The first rule that applies decides. */
export interface Rule {
  name: string;
  /** For people: what the rule goes by, as the end of a sentence. */
  because: string;
  applies(evidence: Evidence, limit: BrokenLimit | undefined): boolean;
  errorClass: ErrorClass;
  scope: Scope | ((evidence: Evidence, limit: BrokenLimit | undefined) => Scope);
  beyond?: Finding['beyond'];
}

/** One condition of a rule. */
export type Test = (evidence: Evidence) => boolean;

export const reason =
  (...names: string[]): Test =>
  ({ reasons }) =>
    reasons.some((found) => names.includes(found));

export const httpStatus =
  (...statuses: number[]): Test =>
  (evidence) =>
    statuses.includes(evidence.httpStatus);

/** No error status, as of a closed live session or of mere words, or one of these. */
export const noStatusBut =
  (...statuses: number[]): Test =>
  (evidence) =>
    evidence.httpStatus < 400 || statuses.includes(evidence.httpStatus);

/** Matched at the start only: a 400 may repeat what the request said. */
export const begins =
  (pattern: RegExp): Test =>
  ({ message }) =>
    pattern.test(message);

/** For sentences that no 400 begins with, so that no words of a request are taken for one. */
export const beginsRefusal =
  (pattern: RegExp): Test =>
  ({ httpStatus, message }) =>
    httpStatus !== 400 && pattern.test(message);

/** For failures that repeat nothing of a request: a 400 repeats its fields, a 404 its names. */
export const leadSays =
  (...phrases: string[]): Test =>
  ({ httpStatus, lead }) =>
    httpStatus !== 400 && httpStatus !== 404 && phrases.some((phrase) => lead.includes(phrase));

export const closeCode =
  (...codes: number[]): Test =>
  (evidence) =>
    evidence.httpStatus < 400 && codes.includes(evidence.closeCode);

export const transport =
  (...failures: TransportFailure[]): Test =>
  ({ transportFailure }) =>
    failures.includes(transportFailure);

export const either =
  (...tests: Test[]): Test =>
  (evidence) =>
    tests.some((test) => test(evidence));

export const both =
  (...tests: Test[]): Test =>
  (evidence) =>
    tests.every((test) => test(evidence));

export const isHtml: Test = ({ message }) => message.startsWith('<');
/** Neither an error status nor a close code: the words of a JavaScript error are all there is. */
export const wordsOnly: Test = (evidence) => evidence.httpStatus < 400 && evidence.closeCode === 0;
