import {
  AlwaysOffSampler,
  AlwaysOnSampler,
  ParentBasedSampler,
  type Sampler,
  TraceIdRatioBasedSampler,
} from '@opentelemetry/sdk-trace';
import type { OtlpConfig } from '../config/otlp.ts';

/** Which calls are traced, and whether any are whose callers do not trace. */
export function samplerOf({ sampler, ratio }: Pick<OtlpConfig, 'sampler' | 'ratio'>): {
  sampler: Sampler;
  roots: boolean;
} {
  const own = sampler.replace('parentbased_', '');
  const root = rootSampler(own, ratio);
  return { sampler: own === sampler ? root : new ParentBasedSampler({ root }), roots: own !== 'always_off' };
}

function rootSampler(name: string, ratio: number): Sampler {
  if (name === 'always_on') return new AlwaysOnSampler();
  return name === 'always_off' ? new AlwaysOffSampler() : new TraceIdRatioBasedSampler(ratio);
}
