/** Reads one channel's rows, as payloads of limited size. */
import type { ResolvedChannel } from '../../channels/served/served.ts';
import { SnoError } from '../../errors.ts';
import type { Visibility } from '../../markers/visibility.ts';
import type { Payload } from '../../memory/payload.ts';
import { CopiedRow } from './copied-row.ts';
import { type CopyOptions, CopyRead } from './copy-read.ts';
import { RowPayloads } from './row-payloads.ts';

/** The destination of a snapshot's rows. */
export interface RowSink {
  /**
   * Called once, before the first piece, with the snapshot's visibility. False: the snapshot can't
   * be used, so no row is read.
   */
  begin(visibility: Visibility): boolean;
  /**
   * Receives the payload of a `snapshot` frame. The promise resolves when the next one may follow;
   * undefined: it may follow now.
   */
  piece(payload: Payload): Promise<void> | undefined;
}

/** A snapshot read in progress. */
export interface SnapshotRead {
  /**
   * Resolves when all rows were read. Rejects with `channel_unknown` if a value does not fit its
   * type, and with `try_again` if the database can't be queried. Rejects with any error if the read
   * was cancelled.
   */
  readonly done: Promise<void>;
  /** Cancels the query too. */
  cancel(): void;
}

/**
 * SQLSTATE classes for a value that does not fit its column's type: data exceptions, and
 * constraints of a domain.
 */
const DATA_EXCEPTION = /^2[23]/;

export function startSnapshot(options: CopyOptions, channel: ResolvedChannel, sink: RowSink): SnapshotRead {
  const { name, view, values } = channel;
  if (view === undefined) {
    const message = `the channel ${name} has no rows: it carries published messages only`;
    return { done: Promise.reject(new SnoError('snapshot_unavailable', message)), cancel: () => undefined };
  }
  const payloads = new RowPayloads();
  const row = new CopiedRow(false);
  const read = new CopyRead(options, {
    ...view.snapshot,
    values,
    begin: (visibility) => {
      payloads.begin(name);
      return sink.begin(visibility);
    },
    receive: (buffer, start, end) => {
      const payload = row.read(buffer, start, end) ? payloads.add(row) : undefined;
      return payload === undefined ? undefined : sink.piece(payload);
    },
    end: () => void sink.piece(payloads.last()),
  });
  const done = read.run().catch((error: unknown) => {
    throw snapshotError(name, error);
  });
  return { done, cancel: () => void read.cancel() };
}

/** Converts the error of a read into the error for the channel's clients. */
export function snapshotError(name: string, error: unknown): SnoError {
  if (error instanceof SnoError) return error;
  const { code } = error as { readonly code?: unknown };
  if (typeof code === 'string' && DATA_EXCEPTION.test(code))
    return new SnoError(
      'channel_unknown',
      `the channel ${name} does not exist: a value is not valid for its column's type`,
    );
  return new SnoError('try_again', `the snapshot of ${name} could not be read`, { cause: error });
}
