import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { OtlpConfig } from '../config/otlp.ts';
import type { CallTracing } from './watch-calls.ts';

/** Which calls are traced, and what of that can be told without asking it. */
export function samplerOf({ sampler, ratio }: Pick<OtlpConfig, 'sampler' | 'ratio'>): {
  sampler: Sampler;
} & Pick<CallTracing, 'roots' | 'parentDecides'> {
  const own = sampler.replace('parentbased_', '');
  const root = rootSampler(own, ratio);
  const parentDecides = own !== sampler;
  return {
    sampler: parentDecides ? new ParentBasedSampler({ root }) : root,
    roots: own !== 'always_off',
    parentDecides,
  };
}

function rootSampler(name: string, ratio: number): Sampler {
  if (name === 'always_on') return new AlwaysOnSampler();
  return name === 'always_off' ? new AlwaysOffSampler() : new TraceIdRatioBasedSampler(ratio);
}
