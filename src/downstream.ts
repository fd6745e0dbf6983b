import type { Catalog } from './channels/catalog.ts';
import type { BatchSink } from './journal/commit-builder.ts';
import type { ResetReason } from './protocol.ts';

/** What the half that reads the WAL tells the half that faces clients, in the order of the stream. */
export interface Downstream extends BatchSink {
  /** A history begins, and the journal is empty: every subscription is void, for that reason. */
  begin(reason: ResetReason): void;
  /** The definitions are these from here on. */
  defined(catalog: Catalog): void;
  /** From here on it is known what the definitions are, or not. */
  known(isKnown: boolean): void;
  /** A marker has come. */
  marker(id: string): void;
  /** What came together has come: it is to be sent on. */
  flush(): void;
}
