import type { Report } from './account.ts';

/** Something that KeyBalancer has to reach, and whether it did. */
export interface Claim {
  claim: string;
  figure: string;
  holds: boolean;
}

/** 429s by call, lessons and probes apart, stay below this. */
const MOST_TOO_MANY = 0.01;
/** Calls answered, of those that the oracle answers. */
const LEAST_THROUGHPUT = 0.95;

export function throughput(report: Report, oracle: Report): number {
  return report.answered / oracle.answered;
}

export function asked(report: Report, oracle: Report): Claim[] {
  const share = throughput(report, oracle);
  return [
    {
      claim: `429s below ${percent(MOST_TOO_MANY)} of calls, first lessons and probes apart`,
      figure: percent(report.tooManyShare),
      holds: report.tooManyShare < MOST_TOO_MANY,
    },
    {
      claim: 'no healthy key disabled',
      figure: String(report.healthyKeysDisabled),
      holds: report.healthyKeysDisabled === 0,
    },
    {
      claim: 'no dead key picked again after its verification',
      figure: String(report.verifiedDeadPicks),
      holds: report.verifiedDeadPicks === 0,
    },
    {
      claim: `at least ${percent(LEAST_THROUGHPUT)} of the oracle's answers`,
      figure: percent(share),
      holds: share >= LEAST_THROUGHPUT,
    },
  ];
}

/** With two decimals, cut off, so that nothing looks like more than it is. */
export function percent(share: number): string {
  return `${(Math.floor(share * 10_000 + 1e-6) / 100).toFixed(2)} %`;
}
