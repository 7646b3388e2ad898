import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { classify } from '../../src/gemini/classify.ts';
import { ErrorClass, type ProviderError, ProviderErrorSchema } from '../../src/gen/keybalancer/v1/keybalancer_pb.ts';

export type ProviderErrorInit = MessageInitShape<typeof ProviderErrorSchema>;

export function providerError(init: ProviderErrorInit): ProviderError {
  return create(ProviderErrorSchema, init);
}

export function className(errorClass: ErrorClass): string {
  return Object.entries(ErrorClass).find(([, value]) => value === errorClass)?.[0] ?? `${errorClass}`;
}

/** The finding in words that a failed test can be read by, such as "RATE_LIMITED_MINUTE project-model". */
export function judged(init: ProviderErrorInit): string {
  const finding = classify(providerError(init));
  return `${className(finding.errorClass)} ${finding.scope}`;
}

/** A body as Gemini's REST API sends it. */
export function restBody(code: number, status: string, message: string, ...details: object[]): string {
  return JSON.stringify({ error: { code, message, status, ...(details.length === 0 ? {} : { details }) } });
}

export function errorInfo(reason: string, metadata: Record<string, string> = {}): object {
  return { '@type': 'type.googleapis.com/google.rpc.ErrorInfo', reason, domain: 'googleapis.com', metadata };
}

export function quotaFailure(...violations: object[]): object {
  return { '@type': 'type.googleapis.com/google.rpc.QuotaFailure', violations };
}

export function retryInfo(retryDelay: unknown): object {
  return { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay };
}
