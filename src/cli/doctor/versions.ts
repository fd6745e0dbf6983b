/**
 * Versions of Postgres whose logical decoding is known to lose changes. docs/operations.md has the
 * same list, with sources.
 */
import { type Outcome, ok, warn } from './finding.ts';

export interface KnownLoss {
  /**
   * By major version: the first minor version without the fault. Other major versions do not have
   * it.
   */
  readonly fixedIn: ReadonlyMap<number, number>;
  /** What may happen. */
  readonly what: string;
}

export const KNOWN_LOSSES: readonly KnownLoss[] = [
  {
    fixedIn: new Map([
      [15, 8],
      [16, 4],
    ]),
    what: 'can send a part of a transaction only, after the stream was opened again while the transaction was open',
  },
  {
    fixedIn: new Map([
      [15, 9],
      [16, 5],
      [17, 1],
    ]),
    what: 'can move the start of a slot back to WAL that is gone, so that the slot is lost',
  },
  {
    fixedIn: new Map([
      [15, 13],
      [16, 9],
      [17, 5],
    ]),
    what: 'can lose changes of a table that is published while a transaction is writing to it',
  },
];

export function versionText(version: number): string {
  return `${Math.floor(version / 10_000)}.${version % 10_000}`;
}

/** `version`: server_version_num. */
export function lossOutcomes(version: number): readonly Outcome[] {
  const major = Math.floor(version / 10_000);
  const minor = version % 10_000;
  const known = KNOWN_LOSSES.filter(({ fixedIn }) => minor < (fixedIn.get(major) ?? 0));
  if (known.length === 0) return [ok(`Postgres ${versionText(version)} is not known to lose changes`)];
  const newest = Math.max(...known.map(({ fixedIn }) => fixedIn.get(major) ?? 0));
  return known.map(({ what }) =>
    warn(
      `Postgres ${versionText(version)} ${what}`,
      `Upgrade to the newest minor version: ${major}.${newest} fixes this, and all that docs/operations.md lists.`,
    ),
  );
}
