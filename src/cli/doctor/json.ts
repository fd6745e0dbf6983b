/** What `sno doctor --json` prints: docs/json.md. */
import { z } from 'zod';
import { VERSION } from '../../metrics/version.ts';
import { CHECKS, type CheckName, type Finding, type Outcome } from './finding.ts';

const count = z.int().nonnegative();

export const DOCTOR_REPORT = z.strictObject({
  format: z.literal(1),
  version: z.string(),
  /** Whether no check failed. */
  ok: z.boolean(),
  counts: z.strictObject({ ok: count, warn: count, fail: count }),
  findings: z.array(
    z.strictObject({
      check: z.enum(Object.keys(CHECKS) as [CheckName, ...CheckName[]]),
      level: z.enum(['ok', 'warn', 'fail']),
      message: z.string(),
      hint: z.string().nullable(),
    }),
  ),
});
type DoctorReport = z.infer<typeof DOCTOR_REPORT>;

export function countOf(findings: readonly Finding[], level: Outcome['level']): number {
  return findings.filter((finding) => finding.level === level).length;
}

export function doctorReport(findings: readonly Finding[]): DoctorReport {
  const counts = { ok: countOf(findings, 'ok'), warn: countOf(findings, 'warn'), fail: countOf(findings, 'fail') };
  return {
    format: 1,
    version: VERSION,
    ok: counts.fail === 0,
    counts,
    findings: findings.map(({ check, level, message, hint = null }) => ({ check, level, message, hint })),
  };
}
