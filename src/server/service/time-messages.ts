import type { Duration, Timestamp } from '@bufbuild/protobuf/wkt';

/** google.protobuf.Duration of milliseconds, which may be fractions. Plain literals: this is on the path of every acquire. */
export function durationMessage(ms: number): Duration {
  const micros = Math.round(ms * 1000);
  const seconds = Math.floor(micros / 1e6);
  return { $typeName: 'google.protobuf.Duration', seconds: BigInt(seconds), nanos: (micros - seconds * 1e6) * 1000 };
}

/** google.protobuf.Timestamp of wall-clock milliseconds. */
export function timestampMessage(ms: number): Timestamp {
  const whole = Math.floor(ms);
  const seconds = Math.floor(whole / 1000);
  return { $typeName: 'google.protobuf.Timestamp', seconds: BigInt(seconds), nanos: (whole - seconds * 1000) * 1e6 };
}

export function optionalTimestamp(ms: number | undefined): Timestamp | undefined {
  return ms === undefined ? undefined : timestampMessage(ms);
}
