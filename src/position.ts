/**
 * Positions: `(epoch, commit end LSN, index)`, the total order of the events of a channel.
 *
 * `index` counts a channel's frames within one commit from 1, so that it does not depend on any
 * other channel and comes out the same when Postgres sends the commit again after a restart.
 * COMMIT_END_INDEX says "all of this commit, whatever the channel": the index of heads and
 * heartbeats. Messages by pg_notify, which have no LSN of their own, take the indexes after it at
 * the LSN of the head.
 */
import { formatLsn, type Lsn, parseLsn } from './lsn.ts';

export interface Position {
  readonly lsn: Lsn;
  readonly index: number;
}

/**
 * The index that stands after every frame of a commit, and before any pg_notify message at the same
 * LSN.
 */
export const COMMIT_END_INDEX = 2 ** 31;

/** Negative, zero or positive as `a` lies before, at or after `b`; both of one epoch. */
export function comparePositions(a: Position, b: Position): number {
  return a.lsn - b.lsn || a.index - b.index;
}

/** The text that clients keep: `<epoch>:<lsn>:<index>`. Opaque to them. */
export function formatPosition(epoch: string, lsn: Lsn, index: number): string {
  return `${epoch}:${formatLsn(lsn)}:${index}`;
}

const POSITION = /^([0-9a-z]{1,16}-[0-9a-z]{1,8}-[0-9a-z]{1,8}):([0-9A-F/]{3,17}):(\d{1,12})$/;

/** Reads the result of `formatPosition`. Undefined for anything else. */
export function parsePosition(text: string): ({ readonly epoch: string } & Position) | undefined {
  const match = POSITION.exec(text);
  if (match === null) return undefined;
  const [, epoch, lsnText, indexText] = match as unknown as [string, string, string, string];
  const lsn = parseLsn(lsnText);
  if (lsn === undefined) return undefined;
  return { epoch, lsn, index: Number(indexText) };
}

/**
 * An epoch names one history of a slot: two histories never share one. Its text is `<system
 * identifier>-<timeline>-<slot generation>`, in base 36.
 */
export interface Epoch {
  readonly systemIdentifier: bigint;
  readonly timeline: number;
  readonly generation: number;
}

export function formatEpoch(epoch: Epoch): string {
  return `${epoch.systemIdentifier.toString(36)}-${epoch.timeline.toString(36)}-${epoch.generation.toString(36)}`;
}

/** Whether two epochs differ only in the slot generation: then the slot was lost. */
export function differsInGenerationOnly(a: string, b: string): boolean {
  return a !== b && a.slice(0, a.lastIndexOf('-')) === b.slice(0, b.lastIndexOf('-'));
}

/** The slot generation of an epoch's text. */
export function generationOf(epoch: string): number {
  return Number.parseInt(epoch.slice(epoch.lastIndexOf('-') + 1), 36);
}
