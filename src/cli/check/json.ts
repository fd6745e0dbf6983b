/** What `sno check --json` prints: docs/json.md. */
import { z } from 'zod';
import { VERSION } from '../../metrics/version.ts';
import type { ChannelReport } from './channel-report.ts';

export const CHECK_REPORT = z.strictObject({
  format: z.literal(1),
  version: z.string(),
  /** Whether no channel is refused. */
  ok: z.boolean(),
  counts: z.strictObject({ channels: z.int().nonnegative(), refused: z.int().nonnegative() }),
  channels: z.array(
    z.strictObject({
      pattern: z.string(),
      served: z.boolean(),
      /** Whether it has a presence view, and a send view. */
      presence: z.boolean(),
      send: z.boolean(),
      /** Null: the channel carries published messages only, or is refused. */
      table: z.string().nullable(),
      key: z.array(z.string()),
      identity: z.enum(['default', 'nothing', 'full', 'an index']).nullable(),
      evaluated_by: z.enum(['process', 'postgres']).nullable(),
      /** The path in words, with the reason. */
      path: z.string().nullable(),
      refusals: z.array(z.strictObject({ code: z.string(), message: z.string(), hint: z.string() })),
      warnings: z.array(z.string()),
    }),
  ),
});
type CheckReport = z.infer<typeof CHECK_REPORT>;

export function checkReport(reports: readonly ChannelReport[]): CheckReport {
  const refused = reports.filter(({ refusals }) => refusals.length > 0).length;
  return {
    format: 1,
    version: VERSION,
    ok: refused === 0,
    counts: { channels: reports.length, refused },
    channels: reports.map(({ pattern, isPresence, isSend, source, refusals, warnings }) => ({
      pattern,
      served: refusals.length === 0,
      presence: isPresence,
      send: isSend,
      table: source?.table ?? null,
      key: [...(source?.key ?? [])],
      identity: source?.identity ?? null,
      evaluated_by: source?.evaluatedBy ?? null,
      path: source?.path ?? null,
      refusals: [...refusals],
      warnings: [...warnings],
    })),
  };
}
